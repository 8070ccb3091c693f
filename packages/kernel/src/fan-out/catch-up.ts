import type { Offset, ShardId } from '@robustmq/core';
import type { BatchVisitor, LogReadStep } from '../log/log-reader.ts';

/**
 * A position of somebody who reads a partition at a pace of their own, for example a session that
 * lags. Reading leaves nothing behind in memory. One read at a time.
 */
export interface CatchUpCursor {
  readonly shardId: ShardId;
  /** First offset not yet taken. */
  readonly position: Offset;
  /** Goes on from there at the next read. Not while a read runs. */
  seek(position: Offset): void;
  /**
   * Waits for its turn among all cursors, reads about `bytesMax` bytes and gives the batches to
   * `visit`, in order, in one turn. The position is then behind the last batch that was taken: where
   * `visit` returned false it is that batch's first offset for this cursor, and the rest is dropped
   * (a reader that stops within a batch seeks to where it stopped).
   *
   * To join live reading: when `position` is at or above the live frontier after a read, the cursor's
   * owner is complete up to `position` and takes live records from there on; both happen in one turn,
   * so there is neither gap nor repeat. Rejects like LogReader.read, and with CANCELLED after close.
   */
  read(bytesMax: number, visit: BatchVisitor): Promise<LogReadStep>;
  close(): void;
}

/** Reads for those who lag: at most a few reads at a time, each cursor in turn. */
export interface CatchUp {
  cursor(shardId: ShardId, position: Offset): CatchUpCursor;
}
