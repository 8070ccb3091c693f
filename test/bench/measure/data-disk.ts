import { closeSync, fdatasyncSync, openSync, rmSync, statfsSync, writeSync } from 'node:fs';
import { join } from 'node:path';

import { quantileOf } from './statistics.ts';

/** File systems in memory, by the magic number of statfs: a sync there says nothing. */
const memoryFileSystems: ReadonlyMap<number, string> = new Map([
  [0x01021994, 'tmpfs'],
  [0x858458f6, 'ramfs'],
]);

/** Throws when `folder` is in memory. */
export function refuseMemoryDisk(folder: string): void {
  const name = memoryFileSystems.get(statfsSync(folder).type);
  if (name !== undefined) {
    throw new Error(
      `${folder} is on ${name}: syncing there costs nothing; give --data-dir a folder on a disk`,
    );
  }
}

export interface SyncLatency {
  readonly p50Ms: number;
  readonly p99Ms: number;
}

const rounds = 200;

/** How long a write of 4 KiB at the end of a file with its fdatasync takes in `folder`. */
export function measureSync(folder: string): SyncLatency {
  const path = join(folder, 'fdatasync.probe');
  const file = openSync(path, 'w');
  const block = Buffer.alloc(4096, 1);
  try {
    const timesMs = Array.from({ length: rounds }, () => {
      const begin = performance.now();
      writeSync(file, block);
      fdatasyncSync(file);
      return performance.now() - begin;
    });
    return { p50Ms: quantileOf(timesMs, 0.5), p99Ms: quantileOf(timesMs, 0.99) };
  } finally {
    closeSync(file);
    rmSync(path);
  }
}
