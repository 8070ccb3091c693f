import { epoch } from '@robustmq/core';
import { seededRandom } from '@robustmq/core';
import { MemoryDisk } from '@robustmq/testkit';
import { describe, expect, it } from 'vitest';
import type { JournalStorage } from './storage.ts';
import { manifest, nextFrame, openOn, readAll, replicaOf, segment } from './storage-fixture.ts';

async function copyOf(storage: JournalStorage, frames: number): Promise<void> {
  const copy = await storage.createCopy(manifest(1), epoch(5));
  for (let n = 0; n < frames; n++) storage.append(copy, nextFrame(copy, { valueBytes: 900 }));
  await storage.sync();
}

describe('a copy that is being made', () => {
  it('is one after a crash, too, with what was durable; and a replica once it is sealed', async () => {
    const disk = new MemoryDisk();
    const first = await openOn(disk);
    await copyOf(first.storage, 5);
    disk.crash(seededRandom(1));
    const { storage } = await openOn(disk);
    const copy = replicaOf(storage, 1);
    expect(copy).toMatchObject({ isCopying: true, length: 5, fencedEpoch: 5 });
    storage.append(copy, nextFrame(copy));
    await storage.seal([{ replica: copy, length: 6 }]);
    expect(copy).toMatchObject({ isCopying: false, sealedLength: 6 });
    disk.crash(seededRandom(2));
    const last = await openOn(disk);
    expect(replicaOf(last.storage, 1)).toMatchObject({ isCopying: false, sealedLength: 6 });
    expect(await readAll(last.storage, replicaOf(last.storage, 1))).toHaveLength(6);
    await last.storage[Symbol.asyncDispose]();
  });

  it('is one after checkpoints', async () => {
    const disk = new MemoryDisk();
    const first = await openOn(disk);
    await copyOf(first.storage, 3);
    await first.storage[Symbol.asyncDispose]();
    const { storage } = await openOn(disk);
    expect(replicaOf(storage, 1)).toMatchObject({ isCopying: true, length: 3 });
    const copy = replicaOf(storage, 1);
    await storage.seal([{ replica: copy, length: 3 }]);
    await storage[Symbol.asyncDispose]();
    const again = await openOn(disk);
    expect(replicaOf(again.storage, 1)).toMatchObject({ isCopying: false, sealedLength: 3 });
    await again.storage[Symbol.asyncDispose]();
  });

  it('is never sealed before it has everything', async () => {
    const { storage } = await openOn(new MemoryDisk());
    await copyOf(storage, 2);
    const sealing = storage.seal([{ replica: replicaOf(storage, 1), length: 3 }]);
    await expect(sealing).rejects.toThrow('a copy is sealed when complete');
  });

  // The file of the first one must not be removed under the second one, nor its records be taken for its own.
  it.each([...Array.from({ length: 20 }).keys()])(
    'takes the place of one that was deleted, whatever a crash keeps (seed %i)',
    async (seed) => {
      const disk = new MemoryDisk();
      const { storage } = await openOn(disk);
      await copyOf(storage, 60);
      await storage.delete([segment(1)]);
      const copy = await storage.createCopy(manifest(1), epoch(6));
      for (let n = 0; n < 45; n++) {
        storage.append(copy, nextFrame(copy, { valueBytes: 700, mark: n }));
        if (n % 7 === seed % 7) await storage.sync();
      }
      const isSealed = seed % 2 === 0;
      if (isSealed) await storage.seal([{ replica: copy, length: 45 }]);
      const { durableLength } = copy;
      disk.crash(seededRandom(seed));
      const next = await openOn(disk);
      const found = replicaOf(next.storage, 1);
      expect(found.damaged).toBe(false);
      expect(found.isCopying).toBe(!isSealed);
      expect(found.length).toBeGreaterThanOrEqual(durableLength);
      expect(await readAll(next.storage, found)).toHaveLength(found.length);
      await next.storage[Symbol.asyncDispose]();
    },
  );
});
