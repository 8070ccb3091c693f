import type { OperatingError } from '@robustmq/core';
import { setBaseOffset } from '@robustmq/record-batch';
import type { AckLevel, AppendResult } from '@robustmq/rpc';

export interface AppendContent {
  /** Given away to the job. */
  readonly batch: Buffer;
  readonly filter: Buffer;
  readonly ackLevel: AckLevel;
  readonly writerEpoch: number;
}

/** Told once what became of a batch, in the order of the shard's batches. */
export interface AppendOutcome {
  appended(result: AppendResult): void;
  refused(error: OperatingError): void;
}

/** Whose job it is: the client's own producer, which can be given a new id, or a foreign one. */
export type JobProducer = 'own' | 'foreign' | 'none';

/** One batch on its way to the log, through as many attempts as it takes. */
export class AppendJob {
  readonly content: AppendContent;
  readonly outcome: AppendOutcome;
  readonly producer: JobProducer;
  /** The batch is replaced when the own producer gets a new id. */
  batch: Buffer;
  /** Names the attempt under way on its stream; 0 when there is none. */
  appendId = 0;
  /** Whether the attempt under way was given to the transport. */
  delivered = false;
  /** When the attempt under way began, on the monotonic clock. */
  submittedAtMs = 0;
  /** Whether an earlier attempt may have left the batch in somebody's memory. */
  #givenAway = false;

  constructor(content: AppendContent, producer: JobProducer, outcome: AppendOutcome) {
    this.content = content;
    this.producer = producer;
    this.outcome = outcome;
    this.batch = content.batch;
  }

  /** Only a batch with a producer id is recognised when it arrives twice. */
  get repeatable(): boolean {
    return this.producer !== 'none';
  }

  /**
   * The bytes to send. A journal in this process keeps what it gets and patches its base offset, so
   * every attempt after the first sends a copy.
   */
  takeBytes(): Buffer {
    this.delivered = true;
    if (!this.#givenAway) {
      this.#givenAway = true;
      return this.batch;
    }
    const copy = Buffer.from(this.batch);
    setBaseOffset(copy, 0, 0);
    return copy;
  }

  /** Replaces the bytes by a batch that nobody has seen. */
  replaceBytes(batch: Buffer): void {
    this.batch = batch;
    this.#givenAway = false;
  }
}
