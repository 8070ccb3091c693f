import { seededRandom } from '@robustmq/core';
import { MemoryDisk, turns } from '@robustmq/testkit';
import { expect, it } from 'vitest';
import type { JournalStorage } from './storage.ts';
import { segmentPath } from './segment-file.ts';
import { manifest, nextFrame, openOn, replicaOf, segment } from './storage-fixture.ts';
import { walPath } from './wal/wal-files.ts';

const REPLICAS = [1, 2, 3, 4, 5];

/** A storage of five replicas whose disk is at rest. */
async function atRest(disk: MemoryDisk): Promise<JournalStorage> {
  const { storage } = await openOn(disk, { flushBytes: 1 << 20 });
  await storage.create(REPLICAS.map(manifest));
  while (!disk.paths().includes(walPath(2))) await turns(1);
  await turns(20);
  return storage;
}

function appendToAll(storage: JournalStorage): void {
  for (const n of REPLICAS) {
    const replica = replicaOf(storage, n);
    storage.append(replica, nextFrame(replica));
  }
}

it('what comes in one turn is one write and one sync, whatever the replica', async () => {
  const disk = new MemoryDisk();
  const storage = await atRest(disk);
  const { writes, syncs } = disk;
  for (let times = 0; times < 20; times++) appendToAll(storage);
  await storage.sync();
  expect([disk.writes - writes, disk.syncs - syncs]).toEqual([1, 1]);
  expect(replicaOf(storage, 5).durableLength).toBe(20);
});

it('what comes while a sync runs is one more, and nothing is durable before its own', async () => {
  const disk = new MemoryDisk();
  const storage = await atRest(disk);
  const told: number[] = [];
  storage.onDurable = (grown) => told.push(grown.length);
  const { writes, syncs } = disk;
  disk.faults.holdSyncs = true;
  appendToAll(storage);
  await turns(20);
  for (let times = 0; times < 9; times++) {
    appendToAll(storage);
    await turns(3);
  }
  expect([disk.writes - writes, told]).toEqual([1, []]);
  expect(replicaOf(storage, 1).durableLength).toBe(0);
  disk.releaseSyncs();
  await storage.sync();
  expect([disk.writes - writes, disk.syncs - syncs]).toEqual([2, 2]);
  expect(told).toEqual([5, 5]);
  expect(replicaOf(storage, 1).durableLength).toBe(10);
});

it('a segment file is synced as it is filled, long before its log file is wanted again', async () => {
  for (const seed of [1, 2, 3]) {
    const disk = new MemoryDisk();
    const { storage } = await openOn(disk, { walBytesMax: 1 << 20, syncBytes: 32 * 1024 });
    await storage.create([manifest(1)]);
    const replica = replicaOf(storage, 1);
    while (replica.sizeBytes < 80 * 1024) {
      storage.append(replica, nextFrame(replica, { valueBytes: 4_000 }));
      await storage.sync();
    }
    await turns(200);
    const written = disk.content(segmentPath(segment(1)));
    disk.crash(seededRandom(seed));
    const kept = disk.content(segmentPath(segment(1)));
    expect(kept.subarray(0, 64 * 1024)).toEqual(written.subarray(0, 64 * 1024));
  }
});
