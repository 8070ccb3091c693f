import { epoch, type Random, seededRandom } from '@robustmq/core';
import { MemoryDisk, turns } from '@robustmq/testkit';
import { describe, expect, it } from 'vitest';
import { ByteWriter } from './bytes.ts';
import { readCheckpoint, writeCheckpoint, writeEntry } from './checkpoint.ts';
import { QUARANTINE_FOLDER } from './quarantine.ts';
import { Replica } from './replica.ts';
import { segmentPath } from './segment-file.ts';
import type { JournalStorage } from './storage.ts';
import { manifest, nextFrame, openOn, readAll, replicaOf, segment } from './storage-fixture.ts';
import type { StorageLimits } from './storage-options.ts';

const FRAMES = 24;
const SEAL_EPOCH = epoch(5);
const path = segmentPath(segment(1));
/** So small that files are written, used again and checkpointed while a copy is made. */
const TINY: Partial<StorageLimits> = {
  walFileBytes: 32 * 1024,
  walBytesMax: 96 * 1024,
  flushBytes: 6 * 1024,
  slabBytes: 4 * 1024,
  recentBytesMax: 12 * 1024,
};

/** A disk with a sealed replica whose file has a flipped bit, which the log knows; and the frames it had. */
async function withDamage(): Promise<{ disk: MemoryDisk; frames: Buffer[]; content: Buffer }> {
  const disk = new MemoryDisk({ latency: () => 1 });
  const { storage } = await openOn(disk, TINY);
  await storage.create([manifest(1)]);
  const replica = replicaOf(storage, 1);
  for (let mark = 0; mark < FRAMES; mark++) append(storage, replica, mark);
  await storage.fence([{ replica, epoch: SEAL_EPOCH }]);
  await storage.seal([{ replica, length: FRAMES }]);
  const frames = await readAll(storage, replica);
  await storage[Symbol.asyncDispose]();
  disk.flipBit(path, 9_000 * 8);
  const again = (await openOn(disk, TINY)).storage;
  await expect(readAll(again, replicaOf(again, 1))).rejects.toThrow('cannot be read');
  await again[Symbol.asyncDispose]();
  return { disk, frames, content: disk.content(path) };
}

function append(
  storage: JournalStorage,
  replica: Parameters<JournalStorage['append']>[0],
  mark: number,
): void {
  storage.append(replica, nextFrame(replica, { valueBytes: 900, mark }));
}

/** Begins a copy or goes on with it, as an order to recover does; `onSealed` once it is one durably. */
async function rebuild(storage: JournalStorage, onSealed: () => void = () => {}): Promise<void> {
  const copy = storage.copyOf(segment(1)) ?? (await storage.createCopy(manifest(1), SEAL_EPOCH));
  while (copy.length < FRAMES) {
    append(storage, copy, copy.length);
    if (copy.length % 5 === 0) await storage.sync();
  }
  await storage.seal([{ replica: copy, length: FRAMES }]);
  onSealed();
}

function ignore(): void {}

function quarantined(disk: MemoryDisk): string[] {
  return disk.paths().filter((name) => name.startsWith(`${QUARANTINE_FOLDER}/`));
}

/** Either the damaged one or all of the new one; and what was damaged is somewhere, as it was. */
async function check(
  disk: MemoryDisk,
  storage: JournalStorage,
  { frames, content }: { frames: Buffer[]; content: Buffer },
): Promise<'damaged' | 'replaced'> {
  const replica = replicaOf(storage, 1);
  expect(replica.isCopying).toBe(false);
  expect(replica.fencedEpoch).toBe(SEAL_EPOCH);
  expect(replica.sealedLength).toBe(FRAMES);
  await turns(60);
  const kept = quarantined(disk);
  if (replica.damaged) {
    expect(kept).toEqual([]);
    expect(disk.content(path).equals(content)).toBe(true);
    return 'damaged';
  }
  expect(await readAll(storage, replica)).toEqual(frames);
  expect(storage.copyOf(segment(1))).toBeUndefined();
  expect(kept).toHaveLength(1);
  expect(kept[0]).toMatch(/Z-(damaged|unknown)-[0-9a-f]{32}\.log$/);
  expect(disk.content(kept[0] ?? '').equals(content)).toBe(true);
  expect(disk.paths()).not.toContain(path);
  return 'replaced';
}

/** Ends a life after so many turns of making a copy, and says what the next one finds. */
async function cutOff(
  made: { disk: MemoryDisk; frames: Buffer[]; content: Buffer },
  after: number,
  end: (disk: MemoryDisk, storage: JournalStorage) => Promise<void> | void,
): Promise<'damaged' | 'replaced'> {
  const disk = made.disk.clone();
  const { storage, fatal } = await openOn(disk, TINY);
  let isSealed = false;
  rebuild(storage, () => (isSealed = true)).catch(ignore);
  await turns(after);
  const wasSealed = isSealed;
  await end(disk, storage);
  expect(fatal).toEqual([]);
  const next = (await openOn(disk, TINY)).storage;
  const found = await check(disk, next, made);
  if (wasSealed) expect(found).toBe('replaced');
  // It is gone on with, and stays.
  if (found === 'damaged') await rebuild(next);
  expect(await check(disk, next, made)).toBe('replaced');
  await next[Symbol.asyncDispose]();
  const last = (await openOn(disk, TINY)).storage;
  expect(await check(disk, last, made)).toBe('replaced');
  await last[Symbol.asyncDispose]();
  expect(disk.paths().filter((name) => name.startsWith('seg/'))).toHaveLength(1);
  return found;
}

const ends: readonly (readonly [
  string,
  (random: Random) => (disk: MemoryDisk, storage: JournalStorage) => Promise<void> | void,
])[] = [
  ['loses power', (random) => (disk) => disk.crash(random)],
  ['is killed', () => (disk) => disk.kill()],
  ['ends in order', () => async (_disk, storage) => storage[Symbol.asyncDispose]()],
];

describe('a copy beside a damaged replica', () => {
  it.each(ends)(
    'replaces it whole or not at all, whenever the journal %s',
    async (_name, endWith) => {
      const made = await withDamage();
      const found = new Set<string>();
      for (let after = 0; after < 160; after++) {
        found.add(await cutOff(made, after, endWith(seededRandom(after))));
      }
      // Both sides of the swap were seen.
      expect(found).toEqual(new Set(['damaged', 'replaced']));
    },
    60_000,
  );

  it.each(['failingSyncs', 'failingWrites'] as const)(
    'replaces it whole or not at all, whichever of the disk operations fails: %s',
    async (fault) => {
      const made = await withDamage();
      const found = new Set<string>();
      for (let after = 0; after < 120; after++) {
        const disk = made.disk.clone();
        const { storage, fatal } = await openOn(disk, TINY);
        let isSealed = false;
        rebuild(storage, () => (isSealed = true)).catch(ignore);
        await turns(after);
        disk.faults[fault] = 1;
        await turns(150);
        // What was promised before the process ends is kept; after that nothing is promised.
        const wasSealed = isSealed;
        if (fatal.length > 0) found.add('failed');
        disk.faults[fault] = 0;
        disk.crash(seededRandom(after));
        const next = (await openOn(disk, TINY)).storage;
        const state = await check(disk, next, made);
        found.add(state);
        if (wasSealed) expect(state).toBe('replaced');
        if (state === 'damaged') await rebuild(next);
        expect(await check(disk, next, made)).toBe('replaced');
        await next[Symbol.asyncDispose]();
      }
      expect(found).toEqual(new Set(['failed', 'damaged', 'replaced']));
    },
    60_000,
  );

  it('waits on a full disk with the damaged one where it is, and goes on when there is room', async () => {
    const made = await withDamage();
    const { disk } = made;
    const { storage, fatal } = await openOn(disk, TINY);
    disk.capacityBytes = disk.usedBytes;
    const outcome = rebuild(storage).then(
      () => 'sealed',
      () => 'refused',
    );
    await turns(400);
    expect(replicaOf(storage, 1).damaged).toBe(true);
    disk.capacityBytes = Number.MAX_SAFE_INTEGER;
    if ((await outcome) === 'refused') {
      while (storage.stats.readOnly) await turns(10);
      await rebuild(storage);
    }
    expect(fatal).toEqual([]);
    expect(await check(disk, storage, made)).toBe('replaced');
    await storage[Symbol.asyncDispose]();
  });

  it('is unknown until then, and the damaged one is what readers are told of', async () => {
    const { disk } = await withDamage();
    const { storage } = await openOn(disk, TINY);
    const copy = await storage.createCopy(manifest(1), SEAL_EPOCH);
    append(storage, copy, 0);
    expect(storage.copyOf(segment(1))).toBe(copy);
    expect(replicaOf(storage, 1)).toMatchObject({ damaged: true, isCopying: false });
    expect([...storage.replicas()]).toEqual([replicaOf(storage, 1)]);
    const sealing = storage.seal([{ replica: copy, length: 1 }]);
    expect(replicaOf(storage, 1).damaged).toBe(true);
    await sealing;
    expect(replicaOf(storage, 1)).toBe(copy);
    expect(storage.quarantined.files).toBeLessThanOrEqual(1);
    await storage[Symbol.asyncDispose]();
    expect(storage.quarantined).toMatchObject({ files: 1 });
  });

  it('keeps a fence that comes while it is being sealed', async () => {
    const { disk } = await withDamage();
    const { storage } = await openOn(disk, TINY);
    const damaged = replicaOf(storage, 1);
    await storage.fence([{ replica: damaged, epoch: epoch(6) }]);
    const copy = await storage.createCopy(manifest(1), SEAL_EPOCH);
    for (let mark = 0; mark < FRAMES; mark++) append(storage, copy, mark);
    const sealing = storage.seal([{ replica: copy, length: FRAMES }]);
    expect(copy.fencedEpoch).toBe(6);
    await Promise.all([sealing, storage.fence([{ replica: damaged, epoch: epoch(7) }])]);
    disk.crash(seededRandom(1));
    const again = (await openOn(disk, TINY)).storage;
    expect(replicaOf(again, 1)).toMatchObject({ damaged: false, fencedEpoch: 7 });
  });

  it('stays the replica when a log that lost the swap brings the damaged one back', async () => {
    const made = await withDamage();
    const { disk } = made;
    const { storage } = await openOn(disk, TINY);
    await rebuild(storage);
    await storage[Symbol.asyncDispose]();
    const before = await readCheckpoint(disk.mount());
    if (before === undefined) throw new Error('there is a checkpoint');
    for (const isFirst of [true, false]) {
      const damaged = Object.assign(new Replica(manifest(1)), { damaged: true, sealedLength: 24 });
      const entries = new ByteWriter();
      const [copy] = before.replicas;
      if (copy === undefined) throw new Error('it has the copy');
      Object.assign(copy, { length: FRAMES });
      for (const one of isFirst ? [damaged, copy] : [copy, damaged]) writeEntry(entries, one);
      const other = disk.clone();
      await writeCheckpoint(other.mount(), { ...before, number: before.number + 1 }, entries, 2);
      const again = (await openOn(other, TINY)).storage;
      expect([...again.replicas()]).toHaveLength(1);
      expect(replicaOf(again, 1).damaged).toBe(false);
      expect(await readAll(again, replicaOf(again, 1))).toEqual(made.frames);
      await again[Symbol.asyncDispose]();
      expect((await readCheckpoint(other.mount()))?.replicas).toHaveLength(1);
    }
  });

  it('is given up alone when it is damaged itself', async () => {
    const made = await withDamage();
    const { storage } = await openOn(made.disk, TINY);
    const copy = await storage.createCopy(manifest(1), SEAL_EPOCH);
    append(storage, copy, 0);
    await storage.abandonCopy(copy);
    expect(storage.copyOf(segment(1))).toBeUndefined();
    expect(await check(made.disk, storage, made)).toBe('damaged');
    await rebuild(storage);
    expect(await check(made.disk, storage, made)).toBe('replaced');
    await storage[Symbol.asyncDispose]();
  });

  it('goes with the damaged one when the segment is deleted, at any moment', async () => {
    const made = await withDamage();
    for (let after = 0; after < 120; after += 3) {
      const disk = made.disk.clone();
      const { storage } = await openOn(disk, TINY);
      rebuild(storage).catch(ignore);
      await turns(after);
      const before = quarantined(disk);
      await storage.delete([segment(1)]);
      await turns(300);
      const { storage: again } = await reopened(disk, storage);
      expect([again.replica(segment(1)), again.copyOf(segment(1))]).toEqual([undefined, undefined]);
      expect(disk.paths().filter((name) => name.startsWith('seg/'))).toEqual([]);
      expect(quarantined(disk).length).toBeLessThanOrEqual(before.length + 1);
    }
  });
});

async function reopened(
  disk: MemoryDisk,
  storage: JournalStorage,
): Promise<{ storage: JournalStorage }> {
  await storage.sync();
  disk.crash(seededRandom(3));
  const opened = await openOn(disk, TINY);
  await turns(300);
  return opened;
}

describe('files that nobody knows', () => {
  it('go into quarantine at a start, with what and when in their names', async () => {
    const { disk, content } = await withDamage();
    const stray = segmentPath(segment(77));
    disk.replace(stray, Buffer.from('not ours'));
    disk.replace('seg/ab/notes.txt', Buffer.from('not even named like ours'));
    const { storage } = await openOn(disk);
    while (storage.quarantined.files < 2) await turns(10);
    const names = quarantined(disk);
    expect(names).toHaveLength(2);
    expect(names.join()).toMatch(/\d{8}T\d{6}Z-unknown-notes\.txt/);
    expect(names.join()).toContain(`Z-unknown-${segment(77)}.log`);
    expect(storage.quarantined).toMatchObject({ files: 2, bytes: 32 });
    expect(disk.content(path).equals(content)).toBe(true);
    await storage[Symbol.asyncDispose]();
    const again = (await openOn(disk)).storage;
    expect(again.quarantined).toMatchObject({ files: 2, bytes: 32 });
  });
});
