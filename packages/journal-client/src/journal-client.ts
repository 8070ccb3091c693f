import type { ErrorCode, Offset, OperatingError, ProducerId, ShardId } from '@robustmq/core';
import type { HeaderBlock } from '@robustmq/record-batch';
import type { AbortedTransaction } from '@robustmq/rpc';

/** When an append counts as done (docs/journal.md, section 2.4). */
export type AckLevel = 'none' | 'leader' | 'quorum' | 'all';

/**
 * A batch that gathers records of one shard during an event-loop turn, or is under way. Many
 * messages share it: what is done per message stays with the caller (the batch and an index).
 */
export interface PendingBatch {
  readonly shardId: ShardId;
  readonly state: 'gathering' | 'sent' | 'acknowledged' | 'failed';
  /** Offset of the first record, once acknowledged; record i of the batch has baseOffset + i. */
  readonly baseOffset: Offset;
  /** The leader's append time, ms since 1970, once acknowledged. */
  readonly appendTimeMs: number;
  /** Why it failed. INDETERMINATE is retried inside and never seen here while the client lives. */
  readonly error: OperatingError | undefined;
  /** Records so far: the next record gets this index. */
  readonly recordCount: number;
  /**
   * Tells `listener` once, when the batch is acknowledged or failed, in the order of the batches of a
   * shard. The same one twice in a row counts once. Who wants no acknowledgement adds none.
   */
  addListener(listener: BatchListener): void;
}

export interface BatchListener {
  batchSettled(batch: PendingBatch): void;
}

/** A record as bytes; nothing is kept after the call returns, so the object may be used again. */
export interface RecordToAppend {
  timestampMs: number;
  key: Uint8Array | null;
  value: Uint8Array | null;
  /** Encoded headers; `noHeaders` when there are none. */
  headers: HeaderBlock;
  /**
   * Key filter tokens (`tokensOfName`); empty: the whole batch matches everything. The same array
   * twice in a row costs nothing; it must not change while its batch gathers.
   */
  filterTokens: Uint32Array;
}

/**
 * Appends records of many clients to one shard as an idempotent producer: one batch per turn, at
 * most five unacknowledged, retried with the same sequence until the answer is known. Order of the
 * calls is order in the log.
 */
export interface RecordAppender {
  readonly shardId: ShardId;
  /**
   * Adds a record to the turn's batch and returns the batch; the record's index is the batch's
   * `recordCount` before the call. Undefined when {@link full}: nothing was taken. Throws
   * BATCH_TOO_LARGE, without a change, for a record that no batch can hold.
   *
   * Whatever the level, the batch is kept and sent again until the journal has committed it, so that
   * a lost record never leaves a hole in the sequence; `none` only says that nobody waits for it.
   */
  append(record: RecordToAppend, ackLevel: AckLevel): PendingBatch | undefined;
  /** The bound of gathered and unacknowledged bytes is reached. */
  readonly full: boolean;
  /** Calls once when `full` is false again. */
  onWritable(listener: () => void): void;
}

/** A whole batch with producer fields of its own (Kafka, coordinators, outbox). */
export interface BatchToAppend {
  readonly shardId: ShardId;
  /** Record batch magic 2; given away. */
  readonly batch: Buffer;
  /** Key filter; empty matches everything. */
  readonly filter: Buffer;
  readonly ackLevel: AckLevel;
  /** Fences lower ones from this batch on; 0 for shards with many writers. */
  readonly writerEpoch: number;
}

export interface BatchAppended {
  readonly baseOffset: Offset;
  readonly appendTimeMs: number;
  readonly duplicate: boolean;
}

export interface ReadOptions {
  readonly fromOffset: Offset;
  readonly bytesMax: number;
  /** Long poll, ms; 0 does not wait. */
  readonly waitMs: number;
  readonly readCommitted: boolean;
  readonly filterTokens?: readonly number[];
  readonly signal?: AbortSignal;
}

export interface ReadResult {
  /** Whole verified frames, one after the other; the first may begin before `fromOffset`. */
  readonly frames: Buffer;
  /** Where to go on. */
  readonly nextOffset: Offset;
  readonly highWatermark: Offset;
  readonly lastStableOffset: Offset;
  readonly aborted: readonly AbortedTransaction[];
}

/** What a follower of a shard is told, in order, without gap or repeat, across segments and failovers. */
export interface TailHandlers {
  /**
   * `frames` are whole and verified and hold only offsets from the last `nextOffset` on (a first
   * batch may begin before the asked offset). The buffer is a view of what was received: keeping it
   * keeps up to 16 MiB alive, and it must not be changed. Empty when nothing matched. Return false to pause the tail until {@link Tail.resume}.
   */
  frames(
    frames: Buffer,
    nextOffset: Offset,
    highWatermark: Offset,
    lastStableOffset: Offset,
    aborted: readonly AbortedTransaction[],
  ): boolean;
  /** The tail cannot go on: OFFSET_OUT_OF_RANGE (hint: earliest), NOT_FOUND (shard deleted). */
  failed(error: OperatingError): void;
}

export interface Tail {
  /** Everything before it was given to `frames`. */
  readonly nextOffset: Offset;
  resume(): void;
  close(): void;
}

/** The journal tier as brokers see it: routing, batching, pipelining and retry inside. */
export interface JournalClient extends AsyncDisposable {
  /** The appender of a shard; one per shard, made on first use. Closed when idle is the client's business. */
  appender(shardId: ShardId): RecordAppender;
  /**
   * Appends one batch. With a producer id it is retried with the same bytes until the answer is
   * known; without, an unknown result rejects with INDETERMINATE. Batches of one shard and producer
   * are sent in the order of the calls; the journal recognises a retry only if at most five of one
   * producer are unanswered. Rejects WRITER_FENCED, PRODUCER_FENCED, OUT_OF_ORDER_SEQUENCE, …
   */
  appendBatch(batch: BatchToAppend): Promise<BatchAppended>;
  /**
   * Reads once, from any full replica of a sealed segment or the leader of the open one; a result can
   * be empty and still move `nextOffset` (filters, ends of segments). Failures are tried elsewhere for
   * up to 10 s. Rejects OFFSET_OUT_OF_RANGE (hint: earliest), NOT_FOUND, the signal's reason.
   */
  read(shardId: ShardId, options: ReadOptions): Promise<ReadResult>;
  tail(
    shardId: ShardId,
    from: { fromOffset: Offset; readCommitted: boolean; filterTokens?: readonly number[] },
    handlers: TailHandlers,
  ): Tail;
  /** End offsets (high watermarks) as they are now at the leaders; asked once per turn for all. */
  endOffset(shardId: ShardId): Promise<Offset>;
  earliestOffset(shardId: ShardId): Promise<Offset>;
  /** First offset whose record has a time stamp of at least `timestampMs`; undefined: none. */
  offsetForTime(shardId: ShardId, timestampMs: number): Promise<Offset | undefined>;
  /** A producer id that nobody else has or had. */
  newProducerId(): Promise<ProducerId>;
  readonly stats: JournalClientStats;
}

export interface JournalClientStats {
  readonly appendedRecords: number;
  readonly appendedBatches: number;
  readonly inFlightBytes: number;
  readonly retries: Readonly<Partial<Record<ErrorCode, number>>>;
}
