import { epoch, incarnation, nodeId, offset, seededRandom } from '@robustmq/core';
import { MemoryDisk } from '@robustmq/testkit';
import { describe, expect, it } from 'vitest';
import {
  bytesOf,
  manifest,
  nextFrame,
  nextSnapshot,
  openOn,
  readAll,
  replicaOf,
  segment,
} from './storage-fixture.ts';

describe('openStorage', () => {
  it('makes a folder, and finds it again with the next incarnation', async () => {
    const disk = new MemoryDisk();
    const first = (await openOn(disk)).storage;
    expect(first.incarnation).toBe(1);
    await first.adoptCluster('cluster-a', 3);
    await first[Symbol.asyncDispose]();
    const second = (await openOn(disk)).storage;
    expect(second.incarnation).toBe(2);
    expect(second.nodeId).toBe(first.nodeId);
    expect(second.diskUuid).toBe(first.diskUuid);
    expect([second.clusterId, second.placementEpoch]).toEqual(['cluster-a', 3]);
    await expect(second.adoptCluster('cluster-b', 4)).rejects.toMatchObject({
      code: 'WRONG_CLUSTER',
    });
    await expect(second.adoptCluster('cluster-a', 2)).rejects.toMatchObject({ code: 'FENCED' });
  });

  it('makes its incarnation a higher one durably, and never once it has led', async () => {
    const disk = new MemoryDisk();
    const { storage } = await openOn(disk);
    await storage.raiseIncarnation(incarnation(7));
    await storage.raiseIncarnation(incarnation(4));
    expect(storage.incarnation).toBe(7);
    await storage.adoptCluster('cluster-a', 3);
    disk.crash(seededRandom(1));
    const again = (await openOn(disk)).storage;
    expect([again.incarnation, again.placementEpoch]).toEqual([8, 3]);
    await again.create([manifest(1)]);
    again.activate(replicaOf(again, 1), offset(0));
    expect(() => again.raiseIncarnation(incarnation(20))).toThrow('keeps its incarnation');
  });

  it('reads back after a crash what was synced, from memory and from files', async () => {
    const disk = new MemoryDisk();
    const { storage } = await openOn(disk);
    await storage.create([manifest(1), manifest(2)]);
    const one = replicaOf(storage, 1);
    storage.activate(one, offset(500));
    const frames: Buffer[] = [];
    for (let mark = 0; mark < 300; mark++) {
      const frame = nextFrame(one, { records: 3, valueBytes: 200, mark });
      frames.push(bytesOf(frame));
      storage.append(one, frame);
      if (mark % 20 === 0) await storage.sync();
    }
    await storage.fence([{ replica: replicaOf(storage, 2), epoch: epoch(9) }]);
    expect(one.durableLength).toBe(900);
    expect(storage.stats.segmentBytesWritten).toBeGreaterThan(0);
    expect(await readAll(storage, one)).toEqual(frames);
    disk.crash(seededRandom(1));

    const again = (await openOn(disk)).storage;
    const found = replicaOf(again, 1);
    expect(found.damaged).toBe(false);
    expect([found.length, found.durableLength, found.chain]).toEqual([900, 900, one.chain]);
    expect(found.sizeBytes).toBe(one.sizeBytes);
    expect([found.baseOffset, found.activatedBy]).toEqual([offset(500), incarnation(1)]);
    expect(replicaOf(again, 2).fencedEpoch).toBe(9);
    expect(await readAll(again, found)).toEqual(frames);
    expect(await readAll(again, found, 1)).toEqual(frames);
  });

  it('keeps sealed lengths, footers and producer snapshots, and forgets what was deleted', async () => {
    const disk = new MemoryDisk();
    const { storage } = await openOn(disk);
    await storage.create([manifest(1), manifest(2)]);
    const one = replicaOf(storage, 1);
    const frames: Buffer[] = [];
    const add = (frame: ReturnType<typeof nextFrame>): void => {
      frames.push(bytesOf(frame));
      storage.append(one, frame);
    };
    for (let mark = 0; mark < 40; mark++) {
      if (mark % 15 === 10) add(nextSnapshot(one, Buffer.from(`snapshot ${mark}`)));
      add(nextFrame(one, { valueBytes: 1_000, timestampMs: 1_000 + mark, mark }));
    }
    await storage.seal([{ replica: one, length: one.length }]);
    await storage.delete([segment(2)]);
    await storage[Symbol.asyncDispose]();

    const again = (await openOn(disk)).storage;
    expect(again.replica(segment(2))).toBeUndefined();
    const found = replicaOf(again, 1);
    expect(found.sealedLength).toBe(40);
    expect(await readAll(again, found)).toEqual(frames);
    expect(await again.indexByTime(found, 1_017)).toBe(17);
    expect(await again.indexByTime(found, 5_000)).toBeUndefined();
    const seen: Buffer[] = [];
    await again.scan(found, { fromLastSnapshot: true }, (frame) => seen.push(Buffer.from(frame)));
    expect(seen).toEqual(frames.slice(26));
  });

  it('refuses a folder of another node and one that is in use', async () => {
    const disk = new MemoryDisk();
    await openOn(disk);
    await expect(openOn(disk)).rejects.toThrow('in use');
    disk.kill();
    const { openStorage } = await import('./open-storage.ts');
    const { silentLogger, systemClock } = await import('@robustmq/core');
    const options = {
      disk: disk.mount(),
      clock: systemClock(),
      random: seededRandom(1),
      logger: silentLogger(),
      onFatal: () => {},
      nodeId: nodeId('somebody-else'),
    };
    await expect(openStorage(options)).rejects.toThrow('belongs to node');
  });
});
