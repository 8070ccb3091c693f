import type { Clock, Logger, NodeId, Random } from '@robustmq/core';
import type { Disk } from './disk.ts';

const KIB = 1024;
const MIB = 1024 * KIB;

export interface StorageOptions {
  /** The data folder; {@link NodeDisk} is the real one. */
  readonly disk: Disk;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  /**
   * The log cannot be written or synced, or memory and disk disagree: the process has to end, at once
   * and without trying to save anything. Nothing is acknowledged any more.
   */
  readonly onFatal: (error: Error) => void;
  /** Refused when the folder belongs to another node; made up in a new folder when not given. */
  readonly nodeId?: NodeId | undefined;
  readonly limits?: Partial<StorageLimits> | undefined;
}

/** Every bound of the storage. */
export interface StorageLimits {
  /** Size of a log file; 1 MiB at least outside of tests. */
  readonly walFileBytes: number;
  /** Log files together; above it the oldest are emptied into segment files and used again. */
  readonly walBytesMax: number;
  /** A segment with so many bytes in memory is written to its file. */
  readonly flushBytes: number;
  /**
   * A segment file with so many bytes that are not synced is synced, long before its log file is used again: the
   * log's own syncs would have to wait for all of it at once then.
   */
  readonly syncBytes: number;
  /** Memory for what is not yet in segment files; appends beyond are refused. */
  readonly unflushedBytesMax: number;
  /** Memory for what is in segment files too, kept for readers of the tail. */
  readonly recentBytesMax: number;
  /** Piece in which that memory is taken and let go. */
  readonly slabBytes: number;
  /** Free space below which appends are refused; undefined: amendment 9's default. */
  readonly reserveBytes: number | undefined;
  /** Segment files kept open for reading; far below the process's limit of descriptors. */
  readonly openFilesMax: number;
  /** Reads of segment files at once; fewer than the threads that the log's syncs share with them. */
  readonly readsAtOnceMax: number;
  /** Each sealed replica is read again within so long. */
  readonly scrubPeriodMs: number;
  /** At most so many bytes of them in a second. */
  readonly scrubBytesPerSecondMax: number;
}

export const defaultStorageLimits: StorageLimits = {
  walFileBytes: 64 * MIB,
  walBytesMax: 512 * MIB,
  flushBytes: 512 * KIB,
  syncBytes: 8 * MIB,
  unflushedBytesMax: 512 * MIB,
  recentBytesMax: 64 * MIB,
  slabBytes: MIB,
  reserveBytes: undefined,
  openFilesMax: 1024,
  readsAtOnceMax: 4,
  scrubPeriodMs: 7 * 24 * 3_600_000,
  scrubBytesPerSecondMax: 16 * MIB,
};
