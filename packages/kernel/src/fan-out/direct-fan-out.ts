import { type Clock, type Logger, type Offset, OperatingError, type ShardId } from '@robustmq/core';
import type { JournalClient } from '@robustmq/journal-client';
import { BrokenBatches } from '../log/broken-batches.ts';
import { RecordReader } from '../log/record-reader.ts';
import { CatchUpReads } from './catch-up-reads.ts';
import type { Attachment, AttachOptions, FanOut, FanOutReader } from './fan-out.ts';
import type { FanOutContext } from './fan-out-context.ts';
import { SharedTail } from './shared-tail.ts';

export interface DirectFanOutOptions {
  readonly journal: Pick<JournalClient, 'tail' | 'endOffset' | 'read'>;
  readonly clock: Clock;
  readonly logger: Logger;
  /** How long a tail is kept that nobody reads, ms. Default 10,000. */
  readonly lingerMs?: number;
  /** Readers that may read the past at the same time. Default 4. */
  readonly catchUpReadsMax?: number;
}

/** Fan-out that tails the journals itself: one tail per partition, shared by all readers of this broker. */
export class DirectFanOut implements FanOut {
  readonly #context: FanOutContext;
  readonly #broken: BrokenBatches;
  readonly #reader: RecordReader;
  readonly #tails = new Map<ShardId, SharedTail>();

  constructor(options: DirectFanOutOptions) {
    const { journal, clock, logger, lingerMs = 10_000, catchUpReadsMax = 4 } = options;
    this.#broken = new BrokenBatches(logger);
    this.#reader = new RecordReader({ journal, logger });
    const catchUp = new CatchUpReads({ reader: this.#reader, runningMax: catchUpReadsMax });
    this.#context = { journal, clock, catchUp, broken: this.#broken, lingerMs, retryMs: 100 };
  }

  /** Tails that are open. */
  get tails(): number {
    return this.#tails.size;
  }

  /** Batches that could not be read since the start. */
  get brokenBatches(): number {
    return this.#broken.count + this.#reader.brokenBatches;
  }

  attach(shardId: ShardId, reader: FanOutReader, options: AttachOptions = {}): Attachment {
    let tail = this.#tails.get(shardId);
    if (tail === undefined) {
      const made = new SharedTail(shardId, this.#context, () => {
        if (this.#tails.get(shardId) === made) this.#tails.delete(shardId);
      });
      tail = made;
      this.#tails.set(shardId, made);
    }
    return tail.attach(reader, options.fromOffset);
  }

  position(shardId: ShardId): Offset | undefined {
    return this.#tails.get(shardId)?.position;
  }

  // oxlint-disable-next-line typescript/require-await -- an interface for ways that have to wait
  async [Symbol.asyncDispose](): Promise<void> {
    const error = new OperatingError('CANCELLED', 'the fan-out is closed');
    const tails = [...this.#tails.values()];
    for (const tail of tails) tail.close(error);
  }
}
