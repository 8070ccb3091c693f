import { offset, OperatingError } from '@robustmq/core';
import { batchProducerId, batchRecordCount, checkBatch } from '@robustmq/record-batch';
import { AckLevel as WireAckLevel, type AppendResult } from '@robustmq/rpc';
import { AppendJob, type AppendOutcome } from './append-job.ts';
import type { ClientContext } from './client-context.ts';
import { batchBytesHardMax } from './client-limits.ts';
import type { AckLevel, BatchAppended, BatchToAppend } from './journal-client.ts';

const wireAckLevels: Record<AckLevel, WireAckLevel> = {
  none: WireAckLevel.NONE,
  leader: WireAckLevel.LEADER,
  quorum: WireAckLevel.QUORUM,
  all: WireAckLevel.ALL,
};

/** A batch that comes with producer fields of its own. */
export class ForeignBatch implements AppendOutcome {
  readonly job: AppendJob;
  readonly #context: ClientContext;
  readonly #bytes: number;
  readonly #answer = Promise.withResolvers<BatchAppended>();

  /** Throws CORRUPT_BATCH, BATCH_TOO_LARGE, or RESOURCE_EXHAUSTED when too much waits already. */
  constructor(order: BatchToAppend, context: ClientContext) {
    const { batch, filter, ackLevel, writerEpoch } = order;
    checkBatch(batch, 0, batch.length, 'producer');
    if (batch.length > batchBytesHardMax) throw tooLarge(batch.length);
    if (context.usage.bytes >= context.limits.clientBytesMax) throw exhausted(context);
    const content = { batch, filter, ackLevel: wireAckLevels[ackLevel], writerEpoch };
    this.#context = context;
    this.#bytes = batch.length;
    this.job = new AppendJob(content, batchProducerId(batch, 0) < 0 ? 'none' : 'foreign', this);
    context.usage.bytes += this.#bytes;
  }

  get answer(): Promise<BatchAppended> {
    return this.#answer.promise;
  }

  appended(result: AppendResult): void {
    this.#release();
    this.#context.countAppended(batchRecordCount(this.job.batch, 0));
    this.#answer.resolve({
      baseOffset: offset(result.baseOffset),
      appendTimeMs: result.appendTimeMs,
      duplicate: result.duplicate,
    });
  }

  refused(error: OperatingError): void {
    this.#release();
    this.#answer.reject(error);
  }

  #release(): void {
    this.#context.usage.bytes -= this.#bytes;
    this.#context.usage.wakeWriters();
  }
}

function tooLarge(bytes: number): OperatingError {
  return new OperatingError(
    'BATCH_TOO_LARGE',
    `a batch of ${bytes} bytes is above ${batchBytesHardMax}; send smaller ones`,
  );
}

function exhausted({ limits }: ClientContext): OperatingError {
  return new OperatingError(
    'RESOURCE_EXHAUSTED',
    `more than ${limits.clientBytesMax} bytes wait for the journals; come back later`,
  );
}
