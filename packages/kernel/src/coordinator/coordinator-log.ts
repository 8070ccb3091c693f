import {
  assert,
  type Clock,
  limits,
  type Offset,
  offset,
  OperatingError,
  type ShardId,
  toOperatingError,
  TurnTask,
} from '@robustmq/core';
import type { BatchAppended, JournalClient } from '@robustmq/journal-client';
import {
  FRAME_HEADER_BYTES,
  RECORD_OVERHEAD_BYTES_MAX,
  RecordBatchWriter,
} from '@robustmq/record-batch';
import { sequenceAfter } from '../outbox/outbox-state.ts';
import { type RecordKind, recordKey } from './coordinator-record.ts';

/** Waits for a commit. Exactly one of the two is called, once. */
export interface CommitListener {
  committed(): void;
  abandoned(error: OperatingError): void;
}

/** What the log tells its owner. */
export interface CoordinatorLogOwner {
  /** A batch is about to be closed at the end of a turn: last records may be added. */
  closing(): void;
  /** A batch is closed; its last record has the offset before `endOffset`. Never called twice for one. */
  closed(endOffset: Offset): void;
  /** An append has failed: what is proposed is not the log any more. Nothing is called afterwards. */
  failed(error: OperatingError): void;
}

export interface CoordinatorLogOptions {
  readonly journal: Pick<JournalClient, 'appendBatch'>;
  readonly shardId: ShardId;
  readonly writerEpoch: number;
  /** A producer id that this log alone has; its first batch has the sequence `nextSequence`. */
  readonly producerId: number;
  readonly nextSequence: number;
  /** Offset of the first record. */
  readonly nextOffset: Offset;
  readonly clock: Clock;
  readonly owner: CoordinatorLogOwner;
}

/** A batch is closed at the next boundary once it has so many bytes. */
const batchBytesSoft = 256 * 1024;
/** Kept free in each batch for what {@link CoordinatorLogOwner.closing} adds. */
const reserveBytes = 64 * 1024;
const batchBytesHard = limits.batchBytesMax - FRAME_HEADER_BYTES - reserveBytes;
/** Bytes that wait or are under way; above, {@link CoordinatorLog.full}. */
const pendingBytesMax = 8 * 1024 * 1024;
const noFilter: Buffer = Buffer.alloc(0);
const nothing: Buffer = Buffer.alloc(0);

interface PendingBatch {
  readonly firstOffset: number;
  readonly bytes: Buffer;
  readonly byteLength: number;
  readonly listeners: CommitListener[];
  sentMs: number;
  isSettled: boolean;
}

/**
 * Writes the log of one ownership: what is appended in one event-loop turn is one batch, at most five
 * are under way, in order. Offsets are known at once (DESIGN.md, C1).
 */
export class CoordinatorLog {
  readonly #options: CoordinatorLogOptions;
  readonly #owner: CoordinatorLogOwner;
  readonly #writer = new RecordBatchWriter();
  readonly #turn = new TurnTask(() => this.#flush());
  #gatheringListeners: CommitListener[] = [];
  /** Closed batches that are not sent, oldest first. */
  readonly #waiting: PendingBatch[] = [];
  /** Sent batches that are not settled in order, oldest first. */
  readonly #sent: PendingBatch[] = [];
  /** Batches without an answer: also after a failure, until the journal has told of each. */
  #unanswered = 0;
  #onIdle: (() => void) | undefined;
  #nextOffset: number;
  #nextSequence: number;
  #committedOffset: number;
  /** Records in the gathering batch before the current call of the runtime into the machine. */
  #recordsBefore = 0;
  #pendingBytes = 0;
  #appendedBytes = 0;
  #lastProofMs = Number.NEGATIVE_INFINITY;
  #isStopped = false;

  constructor(options: CoordinatorLogOptions) {
    this.#options = options;
    this.#owner = options.owner;
    this.#nextOffset = options.nextOffset;
    this.#committedOffset = options.nextOffset;
    this.#nextSequence = options.nextSequence;
  }

  /** The offset that the next record gets. */
  get nextOffset(): Offset {
    return offset(this.#nextOffset);
  }

  /** Everything before it is committed. */
  get committedOffset(): Offset {
    return offset(this.#committedOffset);
  }

  /** Bytes of all batches that were closed. */
  get appendedBytes(): number {
    return this.#appendedBytes;
  }

  get full(): boolean {
    return this.#pendingBytes + this.#writer.byteLength > pendingBytesMax;
  }

  /** When the newest batch that is acknowledged was sent, monotonic ms: then the epoch was not fenced. */
  get lastProofMs(): number {
    return this.#lastProofMs;
  }

  /**
   * A call of the runtime into the machine begins: what is appended until the next boundary stays in
   * one batch.
   */
  boundary(): void {
    if (this.#writer.byteLength >= batchBytesSoft) this.cut();
    this.#recordsBefore = this.#writer.recordCount;
  }

  /** Closes the gathering batch, if there is one: the next record begins another. */
  cut(): void {
    if (this.#writer.recordCount > 0) this.#close();
  }

  /** Copies the record. Throws BATCH_TOO_LARGE, without a change, when it does not fit in the call's batch. */
  append(kind: RecordKind, value: Buffer): Offset {
    assert(!this.#isStopped, 'a log is written while it is owned');
    const room = batchBytesHard + (kind === 'outbox-confirm' ? reserveBytes : 0);
    const needed = value.length + RECORD_OVERHEAD_BYTES_MAX;
    if (this.#writer.byteLength + needed > room) this.#makeRoom(needed);
    this.#writer.append(this.#options.clock.wallMs(), recordKey(kind), value);
    this.#turn.schedule();
    return offset(this.#nextOffset++);
  }

  /** Tells `listener` when everything that was appended until now is committed: at once if it is. */
  afterCommit(listener: CommitListener): void {
    const listeners = this.#lastListeners();
    if (listeners === undefined) listener.committed();
    else listeners.push(listener);
  }

  /** Tells `listener` when something that is sent from now on is committed. */
  afterProof(listener: CommitListener): void {
    if (this.#writer.recordCount === 0) this.append('noop', nothing);
    this.#gatheringListeners.push(listener);
  }

  /** Sends nothing any more; everybody who waits is told `error`. Batches under way may still be appended. */
  stop(error: OperatingError): void {
    if (this.#isStopped) return;
    this.#isStopped = true;
    const batches = [...this.#sent.splice(0), ...this.#waiting.splice(0)];
    const listeners = batches.flatMap((batch) => batch.listeners);
    listeners.push(...this.#gatheringListeners);
    this.#gatheringListeners = [];
    this.#writer.reset();
    for (const listener of listeners) listener.abandoned(error);
  }

  /** Resolves when the journal has answered every batch that was sent. */
  async idle(): Promise<void> {
    if (this.#unanswered === 0) return;
    await new Promise<void>((resolve) => (this.#onIdle = resolve));
  }

  #lastListeners(): CommitListener[] | undefined {
    if (this.#writer.recordCount > 0) return this.#gatheringListeners;
    return (this.#waiting.at(-1) ?? this.#sent.at(-1))?.listeners;
  }

  #makeRoom(needed: number): void {
    const isFirstOfCall = this.#writer.recordCount === this.#recordsBefore;
    if (isFirstOfCall) this.cut();
    this.#recordsBefore = this.#writer.recordCount;
    if (this.#writer.byteLength + needed <= batchBytesHard) return;
    throw new OperatingError(
      'BATCH_TOO_LARGE',
      `${needed} bytes more pass the ${batchBytesHard} bytes that one change of a coordinator may have`,
    );
  }

  #close(): void {
    const recordCount = this.#writer.recordCount;
    const bytes = this.#writer.finish({
      producerId: this.#options.producerId,
      producerEpoch: 0,
      baseSequence: this.#nextSequence,
    });
    const listeners = this.#gatheringListeners;
    const firstOffset = this.#nextOffset - recordCount;
    this.#nextSequence = sequenceAfter(this.#nextSequence, recordCount);
    this.#gatheringListeners = [];
    this.#recordsBefore = 0;
    this.#pendingBytes += bytes.length;
    this.#appendedBytes += bytes.length;
    this.#waiting.push({
      firstOffset,
      bytes,
      byteLength: bytes.length,
      listeners,
      sentMs: 0,
      isSettled: false,
    });
    this.#owner.closed(offset(this.#nextOffset));
  }

  #flush(): void {
    while (!this.#isStopped && this.#sent.length < limits.appendsInFlightMax) {
      const next = this.#waiting.shift();
      if (next !== undefined) {
        this.#send(next);
        continue;
      }
      if (this.#writer.recordCount === 0) return;
      this.#owner.closing();
      this.#close();
    }
  }

  #send(batch: PendingBatch): void {
    batch.sentMs = this.#options.clock.monotonicMs();
    this.#sent.push(batch);
    this.#unanswered++;
    const { journal, shardId, writerEpoch } = this.#options;
    void journal
      .appendBatch({
        shardId,
        batch: batch.bytes,
        filter: noFilter,
        ackLevel: 'quorum',
        writerEpoch,
      })
      .then(
        (appended) => this.#appended(batch, appended),
        (thrown: unknown) => this.#refused(batch, toOperatingError(thrown)),
      );
  }

  #appended(batch: PendingBatch, appended: BatchAppended): void {
    this.#answered();
    if (this.#isStopped) return;
    assert(
      appended.baseOffset === batch.firstOffset,
      `a coordinator's batch for offset ${batch.firstOffset} was appended at ${appended.baseOffset}`,
    );
    this.#settle(batch);
  }

  #refused(batch: PendingBatch, error: OperatingError): void {
    this.#answered();
    if (this.#isStopped) return;
    // It was appended earlier than the journal remembers; C1 says where.
    if (error.code === 'DUPLICATE_SEQUENCE') {
      this.#settle(batch);
      return;
    }
    this.#owner.failed(error);
  }

  #answered(): void {
    this.#unanswered--;
    if (this.#unanswered === 0) this.#onIdle?.();
  }

  #settle(batch: PendingBatch): void {
    batch.isSettled = true;
    while (this.#sent[0]?.isSettled === true) {
      const head = this.#sent.shift();
      if (head !== undefined) this.#commit(head);
      if (this.#isStopped) return;
    }
    if (this.#waiting.length > 0 || this.#writer.recordCount > 0) this.#turn.schedule();
  }

  #commit(batch: PendingBatch): void {
    this.#pendingBytes -= batch.byteLength;
    this.#committedOffset =
      this.#sent[0]?.firstOffset ?? this.#waiting[0]?.firstOffset ?? this.#gatheringOffset();
    this.#lastProofMs = batch.sentMs;
    for (const listener of batch.listeners) {
      if (this.#isStopped) listener.abandoned(stoppedMeanwhile());
      else listener.committed();
    }
  }

  #gatheringOffset(): number {
    return this.#nextOffset - this.#writer.recordCount;
  }
}

function stoppedMeanwhile(): OperatingError {
  return new OperatingError('NOT_LEADER', 'the coordinator has moved to another broker');
}
