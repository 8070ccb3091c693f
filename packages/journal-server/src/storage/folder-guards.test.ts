import { crc32c } from '@robustmq/record-batch';
import { MemoryDisk, turns } from '@robustmq/testkit';
import { expect, it } from 'vitest';
import { segmentPath } from './segment-file.ts';
import { manifest, nextFrame, openOn, replicaOf, segment } from './storage-fixture.ts';
import { WAL_FILE_VERSION, walFileHeader } from './wal/block.ts';
import { walPath } from './wal/wal-files.ts';

/** A folder whose replica lies in a segment file that was synced, with nothing of it in the log. */
async function emptiedFolder(): Promise<MemoryDisk> {
  const disk = new MemoryDisk();
  const { storage } = await openOn(disk);
  await storage.create([manifest(1), manifest(2)]);
  const [one, other] = [replicaOf(storage, 1), replicaOf(storage, 2)];
  for (let mark = 0; mark < 40; mark++) storage.append(one, nextFrame(one, { valueBytes: 900 }));
  for (let mark = 0; mark < 200; mark++) {
    storage.append(other, nextFrame(other, { valueBytes: 4_000 }));
    await storage.sync();
  }
  while (disk.paths().includes(walPath(1))) await turns(1);
  await storage[Symbol.asyncDispose]();
  return disk;
}

it('a log without node.json is not taken for a new folder', async () => {
  const disk = new MemoryDisk();
  disk.replace(walPath(1), Buffer.alloc(4096));
  await expect(openOn(disk)).rejects.toThrow('has log files and no node.json');
  expect(disk.paths()).toEqual([walPath(1)]);
});

it('a folder whose log is of another version is refused', async () => {
  const disk = new MemoryDisk();
  const { storage } = await openOn(disk);
  await storage[Symbol.asyncDispose]();
  const content = disk.content(walPath(1));
  const identity = { diskUuid: 'd', nodeId: 'n', clusterId: 'c' };
  const header = walFileHeader(identity, 1);
  header.writeUInt32LE(WAL_FILE_VERSION + 1, 4);
  const end = 16 + ['d', 'n', 'c'].length * 3;
  header.writeUInt32LE(crc32c(header, 0, end), end);
  header.copy(content);
  disk.replace(walPath(1), content);
  await expect(openOn(disk)).rejects.toMatchObject({ code: 'UNSUPPORTED' });
});

it('a segment file that is shorter than what was synced in it is damage, also when it is gone', async () => {
  for (const cutTo of ['short', 'gone'] as const) {
    const disk = await emptiedFolder();
    const path = segmentPath(segment(1));
    if (cutTo === 'short') disk.replace(path, disk.content(path).subarray(0, 20_000));
    else await disk.mount().unlink(path);
    const { storage } = await openOn(disk);
    expect(replicaOf(storage, 1).damaged, cutTo).toBe(true);
    expect(replicaOf(storage, 2).damaged, cutTo).toBe(false);
    disk.kill();
    expect(replicaOf((await openOn(disk)).storage, 1).damaged, cutTo).toBe(true);
  }
});

it('every flipped bit of a frame in a segment file is found by whoever reads it', async () => {
  const disk = await emptiedFolder();
  const path = segmentPath(segment(1));
  const image = disk.content(path);
  const bits = image.readUInt32LE(0) * 8;
  const unnoticed: number[] = [];
  // Every bit of the frame's header, then some of each field and of the records.
  for (let bit = 0; bit < bits; bit += bit < 256 ? 1 : bit < 800 ? 7 : 97) {
    const copy = disk.clone();
    copy.flipBit(path, bit);
    const { storage } = await openOn(copy);
    const replica = replicaOf(storage, 1);
    const read = async (): Promise<unknown> =>
      storage.read(replica, { fromIndex: 0, limitIndex: 1, bytesMax: 1 });
    const code = await read().catch((error: { code: string }) => error.code);
    if (code !== 'DAMAGED' || !replica.damaged) unnoticed.push(bit);
    copy.kill();
  }
  expect(unnoticed).toEqual([]);
});
