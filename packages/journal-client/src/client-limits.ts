import { limits } from '@robustmq/core';

const KIB = 1024;
const MIB = 1024 * KIB;

/** Bounds of a journal client. Configuration may lower or raise them. */
export interface ClientLimits {
  /** A batch that gathers records is closed when it reaches this; one large record may exceed it. */
  readonly batchBytesMax: number;
  /** Gathered and unacknowledged bytes of one shard's appender. */
  readonly shardBytesMax: number;
  /** Gathered and unacknowledged bytes of the whole client. */
  readonly clientBytesMax: number;
  /** Batches of one appender that may be unacknowledged. */
  readonly appendsInFlightMax: number;
  /** Batch bytes in one AppendRequest; one large batch may exceed it. */
  readonly requestBytesMax: number;
  /** Bytes of frames that one journal may send ahead on the tail stream. */
  readonly tailCreditBytes: number;
  /** Bytes of one read of a tail that catches up in sealed segments. */
  readonly tailReadBytes: number;
  /** How long a read, or a question for offsets, is tried elsewhere before it fails. */
  readonly patienceMs: number;
  /** How long a tail does not believe that its shard ends before what it has read. */
  readonly cutBelievedAfterMs: number;
  /** How long a call waits for a journal before placement is asked where the shard is now. */
  readonly askPlacementAfterMs: number;
  /** Shards whose older segments are remembered. */
  readonly segmentCacheShards: number;
  /** Producer ids that are taken from placement at a time. */
  readonly producerIdBlock: number;
}

export const defaultClientLimits: ClientLimits = {
  batchBytesMax: MIB,
  shardBytesMax: 8 * MIB,
  clientBytesMax: 256 * MIB,
  appendsInFlightMax: limits.appendsInFlightMax,
  requestBytesMax: 512 * KIB,
  tailCreditBytes: 8 * MIB,
  tailReadBytes: MIB,
  patienceMs: 10_000,
  cutBelievedAfterMs: 30_000,
  askPlacementAfterMs: 1_000,
  segmentCacheShards: 1_000,
  producerIdBlock: 1_000,
};

/** A frame's header and filter stand before the batch and count towards the frame's limit. */
const frameOverheadBytesMax = KIB + 4 * limits.filterTokensMax;

/** The largest batch that fits in a frame. */
export const batchBytesHardMax = limits.batchBytesMax - frameOverheadBytesMax;
