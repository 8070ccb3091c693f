import { MemoryDisk } from '@robustmq/testkit';
import { expect, it } from 'vitest';
import { SlabPool } from './slab.ts';
import { bytesOf, manifest, nextFrame, openOn, readAll, replicaOf } from './storage-fixture.ts';

const slabBytes = 1024;

/** Takes so many slabs and fills each with its number. */
function fill(pool: SlabPool, slabs: number): (Buffer | undefined)[] {
  return Array.from({ length: slabs }, (_, number) => {
    const slab = pool.withRoom(slabBytes);
    slab.buffer?.fill(number);
    slab.used = slabBytes;
    return slab.buffer;
  });
}

it('the memory of an evicted slab is used again', () => {
  const pool = new SlabPool({ slabBytes, recentBytesMax: 4 * slabBytes });
  expect(new Set(fill(pool, 20)).size).toBe(4);
  expect(pool.bytes).toBe(4 * slabBytes);
});

it('memory that was lent is not', () => {
  const pool = new SlabPool({ slabBytes, recentBytesMax: 4 * slabBytes });
  const lent = pool.withRoom(slabBytes);
  const view = lent.buffer?.fill(0x61);
  lent.isLent = true;
  lent.used = slabBytes;
  fill(pool, 20);
  expect(lent.buffer).toBeUndefined();
  expect(view).toEqual(Buffer.alloc(slabBytes, 0x61));
});

it('memory is used again neither before its frames are in a file nor while something is written from it', () => {
  const pool = new SlabPool({ slabBytes, recentBytesMax: 2 * slabBytes });
  const unwritten = pool.withRoom(slabBytes);
  unwritten.unwrittenFrames = 1;
  unwritten.used = slabBytes;
  const inFlight = pool.withRoom(slabBytes);
  inFlight.groupsInFlight = 1;
  inFlight.used = slabBytes;
  const read = pool.withRoom(slabBytes);
  read.writesInFlight = 1;
  read.used = slabBytes;
  const others = fill(pool, 10);
  expect(others).not.toContain(unwritten.buffer);
  expect(others).not.toContain(inFlight.buffer);
  expect(others).not.toContain(read.buffer);
});

it.each([500, 40_000])('frames of %d bytes stay while memory comes round', async (valueBytes) => {
  const { storage } = await openOn(new MemoryDisk(), { slabBytes: 64 * 1024 });
  await storage.create([manifest(1), manifest(2)]);
  const expected = new Map([1, 2].map((n) => [n, [] as Buffer[]]));
  for (let mark = 0; mark < 600; mark++) {
    const n = 1 + (mark % 2);
    const replica = replicaOf(storage, n);
    const frame = nextFrame(replica, { mark, valueBytes });
    expected.get(n)?.push(bytesOf(frame));
    storage.append(replica, frame);
    if (mark % 20 === 0) await storage.sync();
  }
  await storage.sync();
  for (const [n, frames] of expected) {
    expect(await readAll(storage, replicaOf(storage, n))).toEqual(frames);
  }
  await storage[Symbol.asyncDispose]();
});
