import type { Offset, ShardId } from '@robustmq/core';
import type { DecodedBatch } from './decoded-batch.ts';

export interface LogReadOptions {
  readonly fromOffset: Offset;
  /** Ask the journal for about so many bytes; one whole batch is always given. Default 1 MiB. */
  readonly bytesMax?: number;
  /** How long to wait for the first data, ms. Default 0: does not wait. */
  readonly waitMs?: number;
  /** Only batches whose key filter has one of these tokens; batches without a filter always come. */
  readonly filterTokens?: readonly number[];
  readonly signal?: AbortSignal;
}

/** Where a read has stopped. */
export interface LogReadStep {
  /** Where to go on. */
  readonly nextOffset: Offset;
  /** First offset that was not committed when the journal answered; that may have been a while ago. */
  readonly highWatermark: Offset;
  /** Readers stop before it: first offset of an open transaction, or the high watermark. */
  readonly lastStableOffset: Offset;
}

/** Takes a batch; false stops the read in front of it. */
export type BatchVisitor = (batch: DecodedBatch) => boolean;

/**
 * Reads records of shards, read committed: control batches and aborted transactions are left out,
 * compressed batches decompressed (above 64 KiB outside the event loop), broken ones skipped and
 * reported.
 */
export interface LogReader {
  /**
   * Reads once and gives every batch from `fromOffset` on to `visit`, in order, all in one turn.
   * Rejects like JournalClient.read:
   * OFFSET_OUT_OF_RANGE (hint: earliest), NOT_FOUND, CANCELLED, the signal's reason.
   */
  read(shardId: ShardId, options: LogReadOptions, visit: BatchVisitor): Promise<LogReadStep>;
}
