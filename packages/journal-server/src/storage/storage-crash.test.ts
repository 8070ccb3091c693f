import { epoch, OperatingError, type Random, randomInteger, seededRandom } from '@robustmq/core';
import { fastClock, MemoryDisk, turns } from '@robustmq/testkit';
import { assert, asyncProperty, integer } from 'fast-check';
import { describe, expect, it } from 'vitest';
import { segmentPath } from './segment-file.ts';
import type { FrameToAppend, JournalStorage, StoredReplica } from './storage.ts';
import {
  bytesOf,
  manifest,
  nextFrame,
  nextSnapshot,
  openOn,
  readAll,
  segment,
} from './storage-fixture.ts';
import type { StorageLimits } from './storage-options.ts';

/** So small that files are recycled, memory is let go and checkpoints are written all the time. */
const TINY: Partial<StorageLimits> = {
  walFileBytes: 32 * 1024,
  walBytesMax: 96 * 1024,
  flushBytes: 6 * 1024,
  syncBytes: 14 * 1024,
  slabBytes: 4 * 1024,
  recentBytesMax: 12 * 1024,
  unflushedBytesMax: 256 * 1024,
};
const REPLICAS = 6;
/** Each is one disk through four crashes. */
const LIVES = Number(process.env['STORAGE_LIVES'] ?? 40);

/** What was asked of a replica, and what the storage has promised about it. */
class Expected {
  /** All frames that were accepted, with the records up to their ends. */
  readonly frames: { readonly bytes: Buffer; readonly end: number }[] = [];
  /** Records that were reported as durable. */
  durableLength = 0;
  isCreated = false;
  fenceAsked = 0;
  fencePromised = 0;
  sealAsked: number | undefined;
  sealPromised: number | undefined;
  deleteAsked = false;
  deletePromised = false;

  get length(): number {
    return this.frames.at(-1)?.end ?? 0;
  }
}

class Model {
  readonly replicas = new Map<number, Expected>();
  #next = 1;
  #mark = 0;
  readonly #random: Random;

  constructor(random: Random) {
    this.#random = random;
  }

  pick(): [number, Expected] | undefined {
    const all = [...this.replicas].filter(([, expected]) => !expected.deleteAsked);
    return all[randomInteger(this.#random, all.length)];
  }

  step(storage: JournalStorage): void {
    const dice = this.#random.next();
    const alive = [...this.replicas.values()].filter((expected) => !expected.deleteAsked);
    if (alive.length < REPLICAS && (dice < 0.1 || alive.length === 0)) return this.create(storage);
    if (dice < 0.85) return this.append(storage);
    if (dice < 0.9) return this.fence(storage);
    if (dice < 0.94) return this.seal(storage);
    if (dice < 0.96) return this.delete(storage);
    if (dice < 0.97) storage.sync().catch(ignore);
  }

  create(storage: JournalStorage): void {
    const n = this.#next++;
    const expected = new Expected();
    this.replicas.set(n, expected);
    storage.create([manifest(n)]).then(() => (expected.isCreated = true), ignore);
  }

  append(storage: JournalStorage): void {
    const [n, expected] = this.pick() ?? [];
    const replica = n === undefined ? undefined : storage.replica(segment(n));
    if (replica === undefined || expected === undefined || expected.sealAsked !== undefined) return;
    const isSnapshot = this.#random.next() < 0.05;
    const valueBytes = this.#random.next() < 0.05 ? 9_000 : 20 + randomInteger(this.#random, 900);
    const records = 1 + randomInteger(this.#random, 3);
    const frame = isSnapshot
      ? nextSnapshot(replica, this.#random.bytes(40))
      : nextFrame(replica, { records, valueBytes, mark: this.#mark++, timestampMs: this.#mark });
    const bytes = bytesOf(frame);
    if (!isTaken(storage, replica, frame)) return;
    expected.frames.push({ bytes, end: replica.length });
  }

  fence(storage: JournalStorage): void {
    const [n, expected] = this.pick() ?? [];
    const replica = n === undefined ? undefined : storage.replica(segment(n));
    if (replica === undefined || expected === undefined) return;
    const next = expected.fenceAsked + 1;
    expected.fenceAsked = next;
    const { length } = replica;
    const promise = (): void => {
      expected.fencePromised = Math.max(expected.fencePromised, next);
      // A fence is behind every append that was accepted before it.
      const kept = Math.min(length, expected.sealAsked ?? length);
      expected.durableLength = Math.max(expected.durableLength, kept);
    };
    storage.fence([{ replica, epoch: epoch(next) }]).then(promise, ignore);
  }

  seal(storage: JournalStorage): void {
    const [n, expected] = this.pick() ?? [];
    const replica = n === undefined ? undefined : storage.replica(segment(n));
    if (replica === undefined || expected === undefined || expected.sealAsked !== undefined) return;
    const ends = expected.frames.map((frame) => frame.end).filter((end) => end > 0);
    const cut =
      this.#random.next() < 0.4 ? ends[randomInteger(this.#random, ends.length)] : undefined;
    const length = cut ?? replica.length;
    expected.sealAsked = length;
    expected.durableLength = Math.min(expected.durableLength, length);
    storage.seal([{ replica, length }]).then(() => (expected.sealPromised = length), ignore);
  }

  delete(storage: JournalStorage): void {
    const [n, expected] = this.pick() ?? [];
    if (n === undefined || expected === undefined) return;
    expected.deleteAsked = true;
    storage.delete([segment(n)]).then(() => (expected.deletePromised = true), ignore);
  }

  note(storage: JournalStorage): void {
    storage.onDurable = (grown) => {
      for (const replica of grown) {
        for (const [n, expected] of this.replicas) {
          if (replica.manifest.segmentId !== segment(n)) continue;
          const most = expected.sealAsked ?? replica.durableLength;
          expected.durableLength = Math.max(
            expected.durableLength,
            Math.min(replica.durableLength, most),
          );
        }
      }
    };
  }

  /** Compares with what a new start found, and takes that as the truth for what comes next. */
  async check(storage: JournalStorage): Promise<void> {
    for (const [n, expected] of this.replicas) {
      const replica = storage.replica(segment(n));
      if (replica === undefined) {
        expect(expected.isCreated && !expected.deleteAsked, `replica ${n} is gone`).toBe(false);
        this.replicas.delete(n);
        continue;
      }
      expect(expected.deletePromised, `replica ${n} is there again`).toBe(false);
      expect(replica.damaged, `replica ${n} is damaged`).toBe(false);
      expect(replica.length).toBeGreaterThanOrEqual(expected.durableLength);
      expect(replica.durableLength).toBe(replica.length);
      const frames: Buffer[] = [];
      await storage.scan(replica, { fromLastSnapshot: false }, (frame) =>
        frames.push(Buffer.from(frame)),
      );
      const kept = expected.frames.slice(0, frames.length);
      expect(Buffer.concat(frames).equals(Buffer.concat(kept.map((frame) => frame.bytes)))).toBe(
        true,
      );
      expect(kept.at(-1)?.end ?? 0).toBe(replica.length);
      const batches = await readAll(storage, replica, 1 + randomInteger(this.#random, 5_000));
      // A snapshot at the very end is behind every record, so no read comes to it.
      expect(Buffer.concat(frames).indexOf(Buffer.concat(batches))).toBe(0);
      expect(replica.fencedEpoch).toBeGreaterThanOrEqual(expected.fencePromised);
      expect(replica.fencedEpoch).toBeLessThanOrEqual(expected.fenceAsked);
      if (expected.sealPromised !== undefined) {
        expect(replica.sealedLength).toBe(expected.sealPromised);
        expect(replica.length).toBe(expected.sealPromised);
      }
      this.adopt(expected, replica, kept);
    }
  }

  adopt(
    expected: Expected,
    replica: { length: number; fencedEpoch: number; sealedLength: number | undefined },
    kept: Expected['frames'],
  ): void {
    expected.isCreated = true;
    expected.deleteAsked = false;
    expected.frames.splice(0, expected.frames.length, ...kept);
    expected.durableLength = replica.length;
    expected.fenceAsked = replica.fencedEpoch;
    expected.fencePromised = replica.fencedEpoch;
    expected.sealAsked = replica.sealedLength;
    expected.sealPromised = replica.sealedLength;
  }
}

/** Appends one frame; false when the disk or memory is full, the only reasons to refuse. */
function isTaken(storage: JournalStorage, replica: StoredReplica, frame: FrameToAppend): boolean {
  try {
    storage.append(replica, frame);
    return true;
  } catch (error) {
    const code = error instanceof OperatingError ? error.code : undefined;
    if (code !== 'DISK_FULL' && code !== 'RESOURCE_EXHAUSTED') throw error;
    return false;
  }
}

/** What was cut off by a crash was never promised. */
function ignore(): void {}

async function life(seed: number): Promise<{ recycled: boolean; segmentBytes: number }> {
  const random = seededRandom(seed);
  const slowness = 1 + randomInteger(random, 8);
  const disk = new MemoryDisk({ latency: () => 1 + randomInteger(random, slowness) });
  const model = new Model(random);
  let segmentBytes = 0;
  for (let round = 0; round < 4; round++) {
    const { storage, fatal } = await openOn(disk, TINY, fastClock());
    await model.check(storage);
    model.note(storage);
    const steps = random.next() < 0.2 ? 0 : 20 + randomInteger(random, 200);
    for (let step = 0; step < steps; step++) {
      if (random.next() < 0.01) squeeze(disk, random);
      model.step(storage);
      if (random.next() < 0.5) await turns(1 + randomInteger(random, 6));
    }
    expect(fatal).toEqual([]);
    disk.capacityBytes = Number.MAX_SAFE_INTEGER;
    segmentBytes += storage.stats.segmentBytesWritten;
    const end = random.next();
    if (end < 0.15) await storage[Symbol.asyncDispose]();
    if (end < 0.4) disk.kill();
    else disk.crash(random);
    while (random.next() < 0.3) await crashWhileOpening(disk, random);
  }
  const { storage } = await openOn(disk, TINY);
  await model.check(storage);
  await storage[Symbol.asyncDispose]();
  const known = new Set(
    [...storage.replicas()].map((found) => segmentPath(found.manifest.segmentId)),
  );
  const orphans = disk.paths().filter((path) => path.startsWith('seg/') && !known.has(path));
  expect(orphans).toEqual([]);
  const recycled = !disk.paths().includes('wal/0000000000000001.wal');
  return { recycled, segmentBytes };
}

/** Sometimes the disk is full for a while, or nearly. */
function squeeze(disk: MemoryDisk, random: Random): void {
  disk.capacityBytes = Number.MAX_SAFE_INTEGER - 1;
  if (random.next() < 0.5) disk.capacityBytes = disk.usedBytes + randomInteger(random, 40_000);
}

async function crashWhileOpening(disk: MemoryDisk, random: Random): Promise<void> {
  // Its process is gone: it neither ends nor fails.
  void openOn(disk, TINY);
  await turns(randomInteger(random, 120));
  disk.crash(random);
}

describe('storage under crashes', () => {
  it('keeps every promise, and invents nothing, whatever a crash loses', async () => {
    let recycled = 0;
    let segmentBytes = 0;
    await assert(
      asyncProperty(integer({ min: 0, max: 0x7fffffff }), async (seed) => {
        const result = await life(seed);
        if (result.recycled) recycled++;
        segmentBytes += result.segmentBytes;
      }),
      { numRuns: LIVES, endOnFailure: true },
    );
    // The test walks the paths it is for.
    expect(recycled).toBeGreaterThan(5);
    expect(segmentBytes).toBeGreaterThan(100_000);
  });
});
