import { epoch, incarnation, offset, OperatingError, seededRandom } from '@robustmq/core';
import { MemoryDisk, turns, VirtualClock } from '@robustmq/testkit';
import { describe, expect, it } from 'vitest';
import { segmentPath } from './segment-file.ts';
import type { JournalStorage, StoredReplica } from './storage.ts';
import {
  bytesOf,
  manifest,
  nextFrame,
  openOn,
  readAll,
  replicaOf,
  segment,
} from './storage-fixture.ts';
import { walPath } from './wal/wal-files.ts';

const KIB = 1024;

/** Appends frames until one is refused, and returns them with the reason. */
async function appendUntilRefused(
  storage: JournalStorage,
  replica: StoredReplica,
  valueBytes: number,
  pace: 'synced' | 'at once',
): Promise<{ frames: Buffer[]; error: OperatingError }> {
  const frames: Buffer[] = [];
  for (let mark = 0; mark < 10_000; mark++) {
    const frame = nextFrame(replica, { valueBytes, mark });
    const bytes = bytesOf(frame);
    try {
      storage.append(replica, frame);
    } catch (error) {
      if (error instanceof OperatingError) return { frames, error };
      throw error;
    }
    frames.push(bytes);
    if (pace === 'synced') await storage.sync();
  }
  throw new Error('nothing was refused');
}

function storeCopy(storage: JournalStorage): Promise<void> {
  const copy = { placementEpoch: 1, revision: 1, instance: Buffer.alloc(16), bytes: Buffer.of(1) };
  return storage.catalog.store(copy, 1);
}

describe('a disk that fails', () => {
  it.each(['failingSyncs', 'failingWrites'] as const)(
    'ends the storage without acknowledging the group: %s',
    async (fault) => {
      const disk = new MemoryDisk();
      const { storage, fatal } = await openOn(disk);
      await storage.create([manifest(1)]);
      const replica = replicaOf(storage, 1);
      // The spare file is ready: no other sync is under way.
      while (!disk.paths().includes(walPath(2))) await turns(1);
      await turns(20);
      const promised: string[] = [];
      storage.onDurable = () => promised.push('durable');
      disk.faults[fault] = 1;
      storage.append(replica, nextFrame(replica));
      storage.fence([{ replica, epoch: epoch(5) }]).then(
        () => promised.push('fenced'),
        () => promised.push('refused'),
      );
      while (fatal.length === 0) await turns(1);
      await turns(50);
      expect(promised).toEqual([]);
      expect(fatal).toHaveLength(1);
      expect(replica.durableLength).toBe(0);
      expect(() => storage.append(replica, nextFrame(replica))).toThrow('has ended');
      disk.crash(seededRandom(3));
      const again = (await openOn(disk)).storage;
      expect(replicaOf(again, 1).damaged).toBe(false);
    },
  );

  it.each([
    ['the placement epoch', (storage: JournalStorage) => storage.adoptCluster('cluster-a', 2)],
    ['its cluster', (storage: JournalStorage) => storage.adoptCluster('cluster-b', 1)],
    ['its incarnation', (storage: JournalStorage) => storage.raiseIncarnation(incarnation(9))],
    ['the copy of the catalog', storeCopy],
  ])(
    'ends the storage that cannot store %s, and is no bug to whoever asked',
    async (what, store) => {
      for (const fault of ['failingSyncs', 'failingWrites'] as const) {
        const disk = new MemoryDisk();
        const { storage, fatal } = await openOn(disk);
        if (what === 'the placement epoch') await storage.adoptCluster('cluster-a', 1);
        // The spare file is ready: no other sync is under way.
        while (!disk.paths().includes(walPath(2))) await turns(1);
        await turns(20);
        disk.faults[fault] = 1;
        await expect(store(storage)).rejects.toMatchObject({ code: 'UNAVAILABLE' });
        expect(fatal.map(({ message }) => message)).toEqual([
          fault === 'failingSyncs' ? 'EIO: fdatasync' : 'EIO: write',
        ]);
        await expect(storage.create([manifest(1)])).rejects.toThrow('has ended');
      }
    },
  );

  it('ends the storage when a segment file cannot be synced; the log has it all', async () => {
    const disk = new MemoryDisk();
    const { storage, fatal } = await openOn(disk);
    await storage.create([manifest(1)]);
    const replica = replicaOf(storage, 1);
    while (!disk.paths().includes(walPath(2))) await turns(1);
    const frames: Buffer[] = [];
    for (let mark = 0; mark < 20; mark++) {
      const frame = nextFrame(replica, { valueBytes: 900, mark });
      frames.push(bytesOf(frame));
      storage.append(replica, frame);
    }
    await turns(20);
    await storage.seal([{ replica, length: 20 }]);
    // The log is at rest: the next sync is that of the finished file.
    disk.faults.failingSyncs = 1;
    while (fatal.length === 0) await turns(1);
    expect(fatal.map(({ message }) => message)).toEqual(['a segment file could not be synced']);
    expect(() => storage.append(replica, nextFrame(replica))).toThrow('has ended');
    disk.crash(seededRandom(5));
    const again = (await openOn(disk)).storage;
    expect(await readAll(again, replicaOf(again, 1))).toEqual(frames);
  });

  it('bounds what waits for a sync, and takes nothing of what it refuses', async () => {
    const disk = new MemoryDisk();
    const limits = { unflushedBytesMax: 256 * KIB, recentBytesMax: 64 * KIB };
    const { storage } = await openOn(disk, limits);
    await storage.create([manifest(1)]);
    const replica = replicaOf(storage, 1);
    disk.faults.holdSyncs = true;
    const { frames, error } = await appendUntilRefused(storage, replica, 1_000, 'at once');
    expect(error.code).toBe('RESOURCE_EXHAUSTED');
    expect([error.retriable, error.hint.retryAfterMs]).toEqual([true, 100]);
    expect(storage.stats.unflushedBytes).toBeLessThanOrEqual(320 * KIB);
    expect(replica.length).toBe(frames.length);
    disk.releaseSyncs();
    await storage.sync();
    while (storage.stats.unflushedBytes > 128 * KIB) await turns(1);
    const frame = nextFrame(replica, { valueBytes: 1_000 });
    frames.push(bytesOf(frame));
    storage.append(replica, frame);
    expect(await readAll(storage, replica)).toEqual(frames);
  });
});

describe('a full disk', () => {
  it('refuses appends below the reserve, goes on with the rest, and recovers', async () => {
    const clock = new VirtualClock();
    const disk = new MemoryDisk({ capacityBytes: 1_024 * KIB });
    const { storage } = await openOn(disk, { reserveBytes: 256 * KIB }, clock);
    await storage.create([manifest(1), manifest(2), manifest(3)]);
    const replica = replicaOf(storage, 1);
    storage.activate(replica, offset(0));
    const { frames, error } = await appendUntilRefused(storage, replica, 4_000, 'synced');
    expect(error.code).toBe('DISK_FULL');
    expect(error.retriable).toBe(true);
    expect(error.message).toMatch(/\d+ bytes free, its reserve is 262144/);
    expect(storage.stats.readOnly).toBe(true);
    expect(disk.usedBytes).toBeLessThan(1_024 * KIB - 200 * KIB);

    await storage.fence([{ replica: replicaOf(storage, 2), epoch: epoch(4) }]);
    await storage.seal([{ replica: replicaOf(storage, 3), length: 0 }]);
    await storage.delete([segment(2)]);
    expect(await readAll(storage, replica)).toEqual(frames);

    disk.capacityBytes = 2_048 * KIB;
    await clock.advance(1_500);
    expect(storage.stats.readOnly).toBe(false);
    const frame = nextFrame(replica);
    frames.push(bytesOf(frame));
    storage.append(replica, frame);
    await storage.sync();
    disk.crash(seededRandom(9));
    const again = (await openOn(disk)).storage;
    expect(await readAll(again, replicaOf(again, 1))).toEqual(frames);
    expect(again.replica(segment(2))).toBeUndefined();
    expect(replicaOf(again, 3).sealedLength).toBe(0);
  });

  it('goes on in the prepared file when the log cannot grow, and waits when that is full', async () => {
    const clock = new VirtualClock();
    const disk = new MemoryDisk();
    const { storage, fatal } = await openOn(disk, { flushBytes: 1 << 20 }, clock);
    await storage.create([manifest(1)]);
    const replica = replicaOf(storage, 1);
    while (!disk.paths().includes(walPath(2))) await turns(1);
    await turns(20);
    // The first file was not filled beforehand; the storage believes that there is space.
    disk.capacityBytes = Number.MAX_SAFE_INTEGER - 1;
    disk.capacityBytes = disk.usedBytes;
    const frames: Buffer[] = [];
    const append = (mark: number): void => {
      const frame = nextFrame(replica, { valueBytes: 4_000, mark });
      frames.push(bytesOf(frame));
      storage.append(replica, frame);
    };
    append(0);
    await storage.sync();
    expect(replica.durableLength).toBe(1);
    expect(storage.stats.readOnly).toBe(true);

    disk.capacityBytes = Number.MAX_SAFE_INTEGER - 1;
    await clock.advance(1_500);
    disk.capacityBytes = disk.usedBytes;
    for (let mark = 1; mark < 40; mark++) {
      append(mark);
      await turns(8);
      if (storage.stats.readOnly) break;
    }
    const { durableLength } = replica;
    expect(durableLength).toBeLessThan(replica.length);
    await clock.advance(500);
    expect(replica.durableLength).toBe(durableLength);
    expect(fatal).toEqual([]);

    disk.capacityBytes = Number.MAX_SAFE_INTEGER;
    await clock.advance(2_000);
    expect(replica.durableLength).toBe(replica.length);
    disk.crash(seededRandom(4));
    const again = (await openOn(disk)).storage;
    expect(replicaOf(again, 1).damaged).toBe(false);
    expect(await readAll(again, replicaOf(again, 1))).toEqual(frames);
  });
});

describe('damage in a segment file', () => {
  async function sealedAndClosed(disk: MemoryDisk): Promise<Buffer[]> {
    const { storage } = await openOn(disk);
    await storage.create([manifest(1)]);
    const replica = replicaOf(storage, 1);
    const frames: Buffer[] = [];
    for (let mark = 0; mark < 60; mark++) {
      const frame = nextFrame(replica, { valueBytes: 900, timestampMs: mark, mark });
      frames.push(bytesOf(frame));
      storage.append(replica, frame);
    }
    await storage.seal([{ replica, length: 60 }]);
    const path = segmentPath(segment(1));
    const size = Buffer.concat(frames).length;
    while (!disk.paths().includes(path) || disk.content(path).length <= size) await turns(1);
    await storage[Symbol.asyncDispose]();
    return frames;
  }

  it('is found by whoever reads it, and stays known', async () => {
    const disk = new MemoryDisk();
    const frames = await sealedAndClosed(disk);
    // In the middle of the batch of frame 30.
    const before = Buffer.concat(frames.slice(0, 30)).length;
    disk.flipBit(segmentPath(segment(1)), (before + 500) * 8);
    const limits = { walBytesMax: 64 * KIB, recentBytesMax: 0 };
    const { storage } = await openOn(disk, limits);
    const replica = replicaOf(storage, 1);
    await storage.create([manifest(2)]);
    const other = replicaOf(storage, 2);
    // Until nothing of it comes from the log any more.
    for (let mark = 0; mark < 60; mark++) {
      storage.append(other, nextFrame(other, { valueBytes: 4_000 }));
      await storage.sync();
    }
    const read = (fromIndex: number): unknown =>
      storage.read(replica, { fromIndex, limitIndex: 60, bytesMax: 10 });
    expect(await read(29)).toMatchObject({ nextIndex: 30 });
    await expect(read(30)).rejects.toMatchObject({ code: 'DAMAGED' });
    expect(replica.damaged).toBe(true);
    expect(() => read(0)).toThrow('damaged on this node');
    await storage.sync();
    disk.kill();
    const again = (await openOn(disk)).storage;
    expect(replicaOf(again, 1).damaged).toBe(true);
  });

  it('in the footer costs a pass over the file, nothing else', async () => {
    const disk = new MemoryDisk();
    const frames = await sealedAndClosed(disk);
    const path = segmentPath(segment(1));
    const dataBytes = Buffer.concat(frames).length;
    const image = disk.content(path);
    for (let bit = dataBytes * 8; bit < image.length * 8; bit += 61) {
      disk.replace(path, image);
      disk.flipBit(path, bit);
      const { storage } = await openOn(disk);
      expect(await storage.indexByTime(replicaOf(storage, 1), 45)).toBe(45);
      disk.kill();
    }
    expect(image.length).toBeGreaterThan(dataBytes + 64);
  });
});
