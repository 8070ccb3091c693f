import type { Offset, ShardId } from '@robustmq/core';
import type { RecordCursor } from '@robustmq/record-batch';

/**
 * A committed batch of records, ready to be read. It is one object that is used again and again:
 * it and everything behind it is valid only during the call that hands it out; copy what stays.
 */
export interface DecodedBatch {
  readonly shardId: ShardId;
  /** Offset to which the cursor's `offsetDelta` is relative. */
  readonly baseOffset: Offset;
  /** Offset after the batch's last one. */
  readonly nextOffset: Offset;
  /** When the leader appended it, ms since 1970 on the leader's clock. */
  readonly appendTimeMs: number;
  /** -1 without a producer id. */
  readonly producerId: number;
  /** Writer epoch it was appended with; 0 in shards with many writers. */
  readonly writerEpoch: number;
  /**
   * Stands before the first record that concerns the reader: `while (cursor.next())` reads exactly
   * those, in the order of their offsets (with gaps where compaction removed some). `cursor.timestampMs`
   * is the record's own time.
   */
  readonly cursor: RecordCursor;
}

/** A batch that could not be read and was left out whole. */
export interface BrokenBatch {
  readonly shardId: ShardId;
  readonly baseOffset: Offset;
  /** Offset after its last one: where reading went on. */
  readonly nextOffset: Offset;
  /** What was wrong with it. */
  readonly reason: string;
}

/** Told of each broken batch: counts it and logs shard and offset. */
export type BrokenBatchListener = (broken: BrokenBatch) => void;
