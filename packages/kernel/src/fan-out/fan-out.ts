import type { Offset, OperatingError, ShardId } from '@robustmq/core';
import type { DecodedBatch } from '../log/decoded-batch.ts';

/** Reads everything of one partition from its start on. It is called from the event loop and must not throw. */
export interface FanOutReader {
  /**
   * Takes the next batch; `batch.cursor` stands before the first record for this reader. Every record
   * comes exactly once, in order. Afterwards the reader's frontier is `batch.nextOffset`, whatever is
   * returned. False: the reader is behind; nobody waits for it, it is detached at that frontier.
   */
  batch(batch: DecodedBatch): boolean;
  /**
   * Everything below `frontier` was given or did not concern the reader. Not called for batches. Also
   * called once with the start when that was not known at {@link FanOut.attach}.
   */
  frontier(frontier: Offset): void;
  /**
   * The attachment has ended at its frontier: `undefined` when `batch` returned false; else why
   * (OFFSET_OUT_OF_RANGE with the earliest offset as the hint, NOT_FOUND: the shard was deleted).
   * Not called after {@link Attachment.detach}.
   */
  detached(error: OperatingError | undefined): void;
}

/** A reader's place at a partition. */
export interface Attachment {
  readonly shardId: ShardId;
  /**
   * Everything below it was given to the reader or did not concern it. Undefined until the start is
   * known, which takes a question to the leader when no offset was asked for.
   */
  readonly frontier: Offset | undefined;
  /** Whether the reader gets what is committed as it is, instead of catching up with it. */
  readonly live: boolean;
  /** Ends it; the reader is not called again. */
  detach(): void;
}

export interface AttachOptions {
  /**
   * First offset wanted. Earlier than the shared tail's position: the reader catches up by reads of
   * its own and then joins, without gap or repeat. Later: what is before is left out. Absent: the
   * tail's position, or the end of the partition when there is no tail yet.
   */
  readonly fromOffset?: Offset;
}

/**
 * Every reader gets every record. One tail per partition and broker, however many readers; a batch is
 * decoded once for all of them. How records come here (tailing journals directly, or forwarded by a
 * router) is hidden behind it.
 */
export interface FanOut extends AsyncDisposable {
  attach(shardId: ShardId, reader: FanOutReader, options?: AttachOptions): Attachment;
  /** Position of the partition's shared tail; undefined when there is none. */
  position(shardId: ShardId): Offset | undefined;
}
