import { epoch, offset, silentLogger } from '@robustmq/core';
import { MemoryDisk } from '@robustmq/testkit';
import { describe, expect, it } from 'vitest';
import { readCheckpoint } from './checkpoint.ts';
import { Flusher } from './flusher.ts';
import { readCookie } from './node-identity.ts';
import { recover, type Recovered } from './recovery.ts';
import { SegmentReader } from './segment-reader.ts';
import { SlabPool } from './slab.ts';
import type { StoredReplica } from './storage.ts';
import { manifest, nextFrame, openOn, replicaOf, segment, smallLimits } from './storage-fixture.ts';
import { blockSeed, readBlockHeader, SECTOR_BYTES } from './wal/block.ts';
import { walPath } from './wal/wal-files.ts';
import { systemClock } from '@robustmq/core';

const WAL = walPath(1);
const REPLICAS = [1, 2, 3];

/** What a replica promises: which records it has, and whom it refuses. */
interface Promise_ {
  readonly length: number;
  readonly chain: number;
  readonly fencedEpoch: number;
  readonly sealedLength: number | undefined;
}

function promiseOf(replica: StoredReplica): Promise_ {
  const { length, chain, fencedEpoch, sealedLength } = replica;
  return { length, chain, fencedEpoch, sealedLength };
}

interface SmallLog {
  readonly disk: MemoryDisk;
  /** What each replica promised after each group, by lsn; 0 is before the first. */
  readonly states: Map<number, Promise_>[];
  readonly blocks: { readonly position: number; readonly bytes: number }[];
}

/** A log of eight groups on three replicas, one of them fenced, one sealed, one with appends only. */
async function smallLog(isClean: boolean): Promise<SmallLog> {
  const disk = new MemoryDisk();
  const { storage } = await openOn(disk, { flushBytes: 1 << 20 });
  const states = [new Map<number, Promise_>()];
  const note = (): void => {
    const state = new Map<number, Promise_>();
    for (const n of REPLICAS) {
      const replica = storage.replica(segment(n));
      if (replica !== undefined) state.set(n, promiseOf(replica));
    }
    states.push(state);
  };
  const append = (n: number): void => {
    storage.append(replicaOf(storage, n), nextFrame(replicaOf(storage, n), { valueBytes: 8 }));
  };
  await storage.create([manifest(1), manifest(2)]);
  note();
  storage.activate(replicaOf(storage, 1), offset(100));
  append(1);
  append(2);
  await storage.sync();
  note();
  append(1);
  await storage.sync();
  note();
  await storage.create([manifest(3)]);
  note();
  append(2);
  append(3);
  await storage.sync();
  note();
  await storage.fence([{ replica: replicaOf(storage, 2), epoch: epoch(7) }]);
  note();
  await storage.seal([{ replica: replicaOf(storage, 3), length: 1 }]);
  note();
  append(1);
  await storage.sync();
  note();
  if (isClean) await storage[Symbol.asyncDispose]();
  else disk.kill();
  return { disk, states, blocks: await blocksOf(disk) };
}

async function blocksOf(disk: MemoryDisk): Promise<SmallLog['blocks']> {
  const cookie = await readCookie(disk.mount(), undefined);
  const seed = blockSeed(cookie?.diskUuid ?? '');
  const content = disk.content(WAL);
  const blocks: { position: number; bytes: number }[] = [];
  for (let position = SECTOR_BYTES; position < content.length; position += SECTOR_BYTES) {
    const header = readBlockHeader(content, position, 1, seed);
    if (header !== undefined) blocks.push({ position, bytes: 64 + header.bodyBytes });
  }
  return blocks;
}

/** Recovery alone, without the files that a running storage opens. */
async function recoverFrom(memory: MemoryDisk): Promise<Recovered> {
  const disk = memory.mount();
  const slabs = new SlabPool({ slabBytes: 4096, recentBytesMax: 1 << 20 });
  const reader = new SegmentReader({
    disk,
    openFilesMax: 4,
    readsAtOnceMax: 1,
    onDamage: () => {},
    onIndexed: () => {},
  });
  const flusher = new Flusher({
    disk,
    slabs,
    reader,
    clock: systemClock(),
    syncBytes: 64 * 1024,
    onWritten: () => {},
    onNoSpace: () => {},
    onFatal: () => {},
  });
  const cookie = await readCookie(disk, undefined);
  const checkpoint = await readCheckpoint(disk);
  if (cookie === undefined || checkpoint === undefined) throw new Error('no folder');
  return recover({
    disk,
    checkpoint,
    slabs,
    flusher,
    seed: blockSeed(cookie.diskUuid),
    walFileBytes: smallLimits.walFileBytes ?? 0,
    memoryBytesMax: 1 << 24,
    logger: silentLogger(),
  });
}

/**
 * What is wrong with a recovered state, given what was promised last and, if the last block may be
 * cut, just before it. A replica is intact, damaged, or unknown; never shorter, never different.
 */
function wrong(recovered: Recovered, log: SmallLog, mayBeCut: boolean): string | undefined {
  const before = log.states.at(-2);
  for (const [n, promised] of log.states.at(-1) ?? []) {
    const replica = recovered.replay.replicas.get(segment(n));
    if (replica === undefined || replica.damaged) continue;
    if (keeps(promised, replica)) continue;
    const earlier = before?.get(n);
    if (mayBeCut && earlier !== undefined && keeps(earlier, replica)) continue;
    return `replica ${n} promised ${JSON.stringify(promised)}, has ${JSON.stringify(promiseOf(replica))}`;
  }
  return undefined;
}

function keeps(promised: Promise_, replica: StoredReplica): boolean {
  return (
    replica.length === promised.length &&
    replica.chain === promised.chain &&
    replica.fencedEpoch >= promised.fencedEpoch &&
    replica.sealedLength === promised.sealedLength
  );
}

describe('recovery of a damaged log', () => {
  it('finds everything in an intact log', async () => {
    for (const isClean of [true, false]) {
      const log = await smallLog(isClean);
      expect(log.blocks).toHaveLength(8);
      const { replay } = await recoverFrom(log.disk);
      for (const n of REPLICAS) {
        expect(promiseOf(replay.replicas.get(segment(n)) ?? fail())).toEqual(
          log.states.at(-1)?.get(n),
        );
      }
      expect([...replay.replicas.values()].some((replica) => replica.damaged)).toBe(false);
    }
  });

  it.each([true, false])('every single flipped bit, after a clean stop: %s', async (isClean) => {
    const log = await smallLog(isClean);
    const content = log.disk.content(WAL);
    const faults: string[] = [];
    let findings = 0;
    for (const [at, block] of log.blocks.entries()) {
      // After a clean stop the checkpoint knows all: two blocks show it.
      if (isClean && at < log.blocks.length - 2) continue;
      for (let bit = block.position * 8; bit < (block.position + block.bytes) * 8; bit++) {
        const byte = content[bit >> 3] ?? 0;
        content[bit >> 3] = byte ^ (1 << (bit & 7));
        log.disk.replace(WAL, content);
        content[bit >> 3] = byte;
        const recovered = await recoverFrom(log.disk);
        const mayBeCut = !isClean && at === log.blocks.length - 1;
        const fault = wrong(recovered, log, mayBeCut);
        if (fault !== undefined) faults.push(`bit ${bit} of block ${at}: ${fault}`);
        const { hasFindings } = recovered.replay;
        if (!hasFindings && !mayBeCut) faults.push(`bit ${bit} of block ${at} was not noticed`);
        if (hasFindings) findings++;
      }
    }
    expect(faults.slice(0, 3)).toEqual([]);
    expect(findings).toBeGreaterThan(1_000);
  });

  it('logs the byte range of what it cuts: a torn body, and a torn header', async () => {
    const { disk, blocks } = await smallLog(false);
    const last = blocks.at(-1);
    if (last === undefined) throw new Error('the log has blocks');
    const content = disk.content(WAL);
    for (const at of [last.position + SECTOR_BYTES - 1, last.position + 60, last.position + 8]) {
      const torn = disk.clone();
      const bytes = Buffer.from(content);
      bytes.writeUInt8(bytes.readUInt8(at) ^ 1, at);
      torn.replace(WAL, bytes);
      const cuts: object[] = [];
      const logger = { ...silentLogger(), warn: (fields: object) => cuts.push(fields) };
      const opened = await openOn(torn, {}, systemClock(), logger);
      // The zeros behind a body are covered by nothing.
      const isPadding = at === last.position + SECTOR_BYTES - 1;
      const range = { from: last.position, to: last.position + SECTOR_BYTES };
      expect(cuts).toEqual(isPadding ? [] : [expect.objectContaining(range)]);
      await opened.storage[Symbol.asyncDispose]();
    }
  });

  it.each([true, false])('cut at every byte of the last block, clean: %s', async (isClean) => {
    const log = await smallLog(isClean);
    const content = log.disk.content(WAL);
    const last = log.blocks.at(-1) ?? fail();
    const faults: string[] = [];
    for (let cut = last.position; cut < last.position + SECTOR_BYTES; cut++) {
      const torn = Buffer.from(content);
      torn.fill(0, cut);
      const images = cut % 8 === 0 ? [content.subarray(0, cut), torn] : [torn];
      for (const image of images) {
        log.disk.replace(WAL, image);
        const recovered = await recoverFrom(log.disk);
        const fault = wrong(recovered, log, !isClean);
        if (fault !== undefined) faults.push(`cut at ${cut}: ${fault}`);
        const isWhole = cut >= last.position + last.bytes;
        const found = recovered.replay.replicas.get(segment(1));
        // Nothing is given up that is there.
        if (isWhole && image.length > cut && found?.length !== 3) faults.push(`cut at ${cut}`);
      }
    }
    expect(faults.slice(0, 3)).toEqual([]);
  });

  it('damages what a lost block may have touched, and closes the old epochs', async () => {
    const log = await smallLog(false);
    const content = log.disk.content(WAL);
    // The group with the fence: nothing later names replica 2.
    const fence = log.blocks[5] ?? fail();
    content.fill(0, fence.position, fence.position + SECTOR_BYTES);
    log.disk.replace(WAL, content);
    const { replay } = await recoverFrom(log.disk);
    expect(replay.replicas.get(segment(2))?.damaged).toBe(true);
    // Replica 1 was appended to afterwards, replica 3 sealed: both lost nothing.
    expect(replay.replicas.get(segment(1))?.damaged).toBe(false);
    expect(replay.replicas.get(segment(1))?.fencedEpoch).toBe(2);
    expect(replay.replicas.get(segment(3))?.damaged).toBe(false);
    expect(replay.replicas.get(segment(3))?.sealedLength).toBe(1);
  });

  it('a torn last block still names the one before it as durable: that one is lost, not torn', async () => {
    const log = await smallLog(false);
    const content = log.disk.content(WAL);
    const [seal, last] = [log.blocks[6] ?? fail(), log.blocks[7] ?? fail()];
    content.fill(0, seal.position, seal.position + SECTOR_BYTES);
    content.fill(0, last.position + 64, last.position + SECTOR_BYTES);
    log.disk.replace(WAL, content);
    const { replay, lastLsn, current } = await recoverFrom(log.disk);
    expect(REPLICAS.map((n) => replay.replicas.get(segment(n))?.damaged)).toEqual([
      true,
      true,
      true,
    ]);
    expect([lastLsn, current]).toEqual([7, undefined]);
  });

  it('after a clean stop the last block is never torn, and its number never given again', async () => {
    const log = await smallLog(true);
    const content = log.disk.content(WAL);
    const last = log.blocks[7] ?? fail();
    content.fill(0, last.position, last.position + SECTOR_BYTES);
    log.disk.replace(WAL, content);
    const { replay, lastLsn, current } = await recoverFrom(log.disk);
    expect(replay.replicas.get(segment(1))?.damaged).toBe(true);
    expect(replay.replicas.get(segment(2))?.damaged).toBe(false);
    expect([lastLsn, current]).toEqual([8, undefined]);
  });

  it('remembers damage after the log that showed it is gone', async () => {
    const log = await smallLog(false);
    const content = log.disk.content(WAL);
    const fence = log.blocks[5] ?? fail();
    content.fill(0, fence.position, fence.position + SECTOR_BYTES);
    log.disk.replace(WAL, content);
    const first = await openOn(log.disk);
    expect(replicaOf(first.storage, 2).damaged).toBe(true);
    const one = replicaOf(first.storage, 1);
    for (let mark = 0; mark < 200; mark++) {
      first.storage.append(one, nextFrame(one, { valueBytes: 4_000, mark }));
      await first.storage.sync();
    }
    await first.storage[Symbol.asyncDispose]();
    expect(log.disk.paths()).not.toContain(WAL);
    const again = await openOn(log.disk);
    expect(replicaOf(again.storage, 2).damaged).toBe(true);
    expect(() => again.storage.append(replicaOf(again.storage, 2), nextFrame(one))).toThrow(
      'damaged on this node',
    );
    expect(replicaOf(again.storage, 1).length).toBe(203);
  });

  it('uses the older checkpoint when the newer one is damaged', async () => {
    const log = await smallLog(true);
    const newest = log.disk.paths().filter((path) => path.startsWith('checkpoint.'));
    expect(newest).toHaveLength(2);
    const image = log.disk.content('checkpoint.1');
    for (let bit = 0; bit < 128 * 8; bit += 7) {
      log.disk.replace('checkpoint.1', image);
      log.disk.flipBit('checkpoint.1', bit);
      const { replay } = await recoverFrom(log.disk);
      expect(promiseOf(replay.replicas.get(segment(1)) ?? fail())).toEqual(
        log.states.at(-1)?.get(1),
      );
    }
    log.disk.flipBit('checkpoint.0', 77);
    await expect(openOn(log.disk)).rejects.toMatchObject({ code: 'DAMAGED' });
  });
});

function fail(): never {
  throw new Error('missing');
}
