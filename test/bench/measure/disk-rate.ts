import { closeSync, fdatasyncSync, openSync, rmSync, writeSync } from 'node:fs';
import { join } from 'node:path';

const MIB = 1024 ** 2;
const writeBytes = 4 * MIB;
/** As the log's files are. */
const preparedBytes = 64 * MIB;
/** Bounds the file that is not prepared. */
const freshBytesMax = 1024 * MIB;

/** Bytes a second of sequential writes of 4 MiB in `folder`, each with its fdatasync. */
export interface DiskRate {
  /** Over a file of 64 MiB that was filled with zeros before, again and again: as the log is written. */
  readonly prepared: number;
  /** Into a new file, which the file system has to find room for. */
  readonly fresh: number;
}

/** Measures each kind for `seconds`. */
export function measureDiskRate(folder: string, seconds: number): DiskRate {
  return { prepared: rateOf(folder, seconds, true), fresh: rateOf(folder, seconds, false) };
}

function rateOf(folder: string, seconds: number, isPrepared: boolean): number {
  const path = join(folder, 'disk-rate.probe');
  const file = openSync(path, 'w');
  const block = Buffer.alloc(writeBytes, 1);
  const bytesMax = isPrepared ? Infinity : freshBytesMax;
  try {
    if (isPrepared) fillWithZeros(file);
    const begin = performance.now();
    let written = 0;
    do {
      writeSync(file, block, 0, writeBytes, isPrepared ? written % preparedBytes : written);
      fdatasyncSync(file);
      written += writeBytes;
    } while (performance.now() - begin < seconds * 1000 && written < bytesMax);
    return written / ((performance.now() - begin) / 1000);
  } finally {
    closeSync(file);
    rmSync(path);
  }
}

function fillWithZeros(file: number): void {
  const zeros = Buffer.alloc(writeBytes);
  for (let position = 0; position < preparedBytes; position += writeBytes) {
    writeSync(file, zeros, 0, writeBytes, position);
  }
  fdatasyncSync(file);
}
