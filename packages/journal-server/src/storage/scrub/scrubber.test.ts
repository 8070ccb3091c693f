import { type Logger, seededRandom, silentLogger } from '@robustmq/core';
import { MemoryDisk, turns, VirtualClock } from '@robustmq/testkit';
import { beforeEach, describe, expect, it } from 'vitest';
import { segmentPath } from '../segment-file.ts';
import type { JournalStorage } from '../storage.ts';
import { manifest, nextFrame, openOn, replicaOf, segment } from '../storage-fixture.ts';
import type { StorageLimits } from '../storage-options.ts';

const PERIOD_MS = 3_600_000;
const limits: Partial<StorageLimits> = { scrubPeriodMs: PERIOD_MS };

let disk: MemoryDisk;
let clock: VirtualClock;
let errors: object[];
const logger: Logger = { ...silentLogger(), error: (fields) => errors.push(fields) };
beforeEach(() => {
  disk = new MemoryDisk();
  clock = new VirtualClock();
  errors = [];
});

async function open(more: Partial<StorageLimits> = {}): Promise<JournalStorage> {
  return (await openOn(disk, { ...limits, ...more }, clock, logger)).storage;
}

/** Sealed replicas of 20 frames each, in their files. */
async function fill(storage: JournalStorage, count: number): Promise<void> {
  for (let n = 1; n <= count; n++) {
    await storage.create([manifest(n)]);
    const replica = replicaOf(storage, n);
    for (let mark = 0; mark < 20; mark++) {
      storage.append(replica, nextFrame(replica, { valueBytes: 900, mark }));
    }
    await storage.sync();
    await storage.seal([{ replica, length: 20 }]);
  }
  await turns(200);
}

/** Flips a bit in the middle of a segment file. */
function rot(n: number): void {
  const path = segmentPath(segment(n));
  disk.flipBit(path, disk.content(path).length * 4);
}

describe('the scrub', () => {
  it('finds a flipped bit within a period, and says in which bytes; a start later it is still known', async () => {
    const storage = await open();
    await fill(storage, 3);
    await clock.advance(120_000);
    rot(2);
    expect(replicaOf(storage, 2).damaged).toBe(false);
    await clock.advance(PERIOD_MS);
    expect([1, 2, 3].map((n) => replicaOf(storage, n).damaged)).toEqual([false, true, false]);
    expect(storage.scrub).toMatchObject({ isRunning: false, damaged: 1, replicas: 3, unread: 0 });
    const [damage] = storage.damages.last;
    expect(storage.damages.count).toBe(1);
    const file = segmentPath(segment(2));
    expect(damage).toMatchObject({ segmentId: segment(2), file });
    expect(errors).toEqual([expect.objectContaining({ segment: segment(2), file })]);
    const middle = disk.content(file).length / 2;
    expect(damage?.fromByte).toBeLessThanOrEqual(middle);
    expect(damage?.toByte).toBeGreaterThan(middle);
    await storage.sync();
    disk.crash(seededRandom(1));
    expect(replicaOf(await open(), 2).damaged).toBe(true);
  });

  it('begins at once when it is ordered to, and not twice', async () => {
    const storage = await open();
    await fill(storage, 2);
    rot(1);
    storage.beginScrub();
    const { pass } = storage.scrub;
    storage.beginScrub();
    expect(storage.scrub).toMatchObject({ pass, isRunning: true, replicas: 2 });
    await clock.advance(10_000);
    expect(storage.scrub).toMatchObject({ pass, isRunning: false, damaged: 1 });
    storage.beginScrub();
    await clock.advance(10_000);
    // What is known to be damaged is not read again.
    expect(storage.scrub).toMatchObject({ pass: pass + 1, replicas: 1, damaged: 0 });
  });

  it('reads no more in a second than it may', async () => {
    const storage = await open({ scrubBytesPerSecondMax: 1_000 });
    await fill(storage, 4);
    storage.beginScrub();
    const { bytes } = storage.scrub;
    for (let second = 1; second < 30; second++) {
      await clock.advance(1_000);
      // A replica of this size is one step.
      expect(storage.scrub.bytesRead).toBeLessThanOrEqual(second * 1_000 + bytes / 4);
    }
    await clock.advance(bytes);
    expect(storage.scrub).toMatchObject({ isRunning: false, bytesRead: bytes, replicasRead: 4 });
  });

  it('goes on after a start where it was', async () => {
    const slow = { scrubBytesPerSecondMax: 200 };
    const first = await open(slow);
    await fill(first, 6);
    await clock.advance(60_000 + 200_000);
    const { replicasRead } = first.scrub;
    expect(replicasRead).toBeGreaterThan(0);
    expect(replicasRead).toBeLessThan(6);
    await first[Symbol.asyncDispose]();
    const storage = await open(slow);
    await clock.advance(61_000);
    expect(storage.scrub).toMatchObject({ isRunning: true, replicas: 6 - replicasRead });
    await clock.advance(1_500_000);
    expect(storage.scrub.completedMs).toBeGreaterThan(0);
    await storage[Symbol.asyncDispose]();
    // What is complete is not begun again before its time.
    const last = await open(slow);
    expect(last.scrub.pass).toBe(0);
    await clock.advance(61_000);
    expect(last.scrub.pass).toBe(0);
  });

  it('takes a file that is gone or too short for damage', async () => {
    const storage = await open();
    await fill(storage, 2);
    disk.replace(segmentPath(segment(1)), disk.content(segmentPath(segment(1))).subarray(0, 5_000));
    storage.beginScrub();
    await clock.advance(10_000);
    expect([1, 2].map((n) => replicaOf(storage, n).damaged)).toEqual([true, false]);
    expect(storage.damages.last[0]).toMatchObject({ fromByte: 5_000 });
  });

  it('writes a footer again that is broken', async () => {
    const storage = await open();
    await fill(storage, 1);
    const path = segmentPath(segment(1));
    const intact = disk.content(path);
    disk.flipBit(path, (intact.length - 10) * 8);
    storage.beginScrub();
    await clock.advance(10_000);
    await turns(200);
    expect(replicaOf(storage, 1).damaged).toBe(false);
    expect(disk.content(path).equals(intact)).toBe(true);
  });

  it('is not disturbed by replicas that are deleted meanwhile', async () => {
    const storage = await open({ scrubBytesPerSecondMax: 20_000 });
    await fill(storage, 5);
    storage.beginScrub();
    await clock.advance(1_500);
    await Promise.all([storage.delete([segment(2), segment(4)]), clock.advance(100)]);
    await clock.advance(60_000);
    expect(storage.scrub).toMatchObject({ isRunning: false, damaged: 0, unread: 0 });
    expect(storage.damages.count).toBe(0);
  });
});
