import { MemoryDisk } from '@robustmq/testkit';
import { describe, expect, it } from 'vitest';
import type { Disk } from '../disk.ts';
import { WAL_FOLDER, WalFiles } from './wal-files.ts';

const fileBytes = 16 * 1024;

/** Files of a log of which the first `count` are used, without any background work. */
async function usedFiles(disk: Disk, count: number): Promise<WalFiles> {
  const files = new WalFiles(
    {
      disk,
      fileBytes,
      identity: () => ({ diskUuid: 'disk', nodeId: 'journal-1', clusterId: 'cluster' }),
      // No room for a spare beyond those that the test makes.
      hasSpace: () => false,
      charge: () => {},
      onFatal: (error) => {
        throw error;
      },
    },
    1,
  );
  for (let number = 1; number <= count; number++) {
    await files.advance();
    const { file } = files.current;
    const zeros = Buffer.alloc(fileBytes - 4096);
    await new Promise<void>((resolve, reject) => {
      file.write([zeros], 4096, (error) => (error === undefined ? resolve() : reject(error)));
    });
  }
  return files;
}

async function fileNumbers(disk: Disk): Promise<number[]> {
  const names = await disk.list(WAL_FOLDER);
  return names.map((name) => Number.parseInt(name, 16)).toSorted((one, other) => one - other);
}

describe('WalFiles', () => {
  it('keeps the files that are given up, and uses them in the order of their numbers', async () => {
    const disk = new MemoryDisk().mount();
    await disk.makeFolder(WAL_FOLDER);
    const files = await usedFiles(disk, 5);
    await files.recycle(5, 5);
    expect(await fileNumbers(disk)).toEqual([5, 6, 7, 8, 9]);
    const used: number[] = [];
    while (files.hasSpare) {
      await files.advance();
      used.push(files.current.sequence);
    }
    expect(used).toEqual([6, 7, 8, 9]);
    await files.close();
  });

  it('removes those beyond the bound, but never the only one that can be next', async () => {
    const disk = new MemoryDisk().mount();
    await disk.makeFolder(WAL_FOLDER);
    const files = await usedFiles(disk, 5);
    await files.recycle(4, 4);
    // Two of three are removed: 4 and 5 are used.
    expect(await fileNumbers(disk)).toEqual([4, 5, 6, 7]);
    await files.removeSpares();
    expect(await fileNumbers(disk)).toEqual([4, 5, 6]);
    await files.advance();
    await files.recycle(6, 0);
    expect(await fileNumbers(disk)).toEqual([6, 8]);
    await files.close();
  });
});
