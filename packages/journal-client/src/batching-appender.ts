import { OperatingError, type ShardId } from '@robustmq/core';
import { AckLevel as WireAckLevel } from '@robustmq/rpc';
import { AppendJob } from './append-job.ts';
import type { ClientContext } from './client-context.ts';
import { batchBytesHardMax } from './client-limits.ts';
import { type BatchOwner, GatheredBatch, recordBytes } from './gathered-batch.ts';
import type { AckLevel, PendingBatch, RecordAppender, RecordToAppend } from './journal-client.ts';
import type { ShardWriter } from './shard-writer.ts';

/** Gathers the records of a turn, and of the time while five batches are out, into batches of one producer. */
export class BatchingAppender implements RecordAppender, BatchOwner {
  readonly shardId: ShardId;
  readonly #writer: ShardWriter;
  readonly #context: ClientContext;
  /** Not sent, oldest first; records go to the last. */
  readonly #gathering: GatheredBatch[] = [];
  #inFlight = 0;
  #bytes = 0;
  #takesId = false;
  #writableListeners: (() => void)[] = [];

  constructor(shardId: ShardId, writer: ShardWriter, context: ClientContext) {
    this.shardId = shardId;
    this.#writer = writer;
    this.#context = context;
  }

  get full(): boolean {
    const { limits, usage, closed } = this.#context;
    const isFull = this.#bytes >= limits.shardBytesMax || usage.bytes >= limits.clientBytesMax;
    return isFull || closed.aborted;
  }

  append(record: RecordToAppend, ackLevel: AckLevel): PendingBatch | undefined {
    if (this.full) return undefined;
    const bytes = recordBytes(record);
    if (bytes > batchBytesHardMax) throw tooLarge(bytes);
    const batch = this.#batchFor(bytes);
    const before = batch.byteLength;
    batch.add(record, ackLevel);
    this.#count(batch.byteLength - before);
    return batch;
  }

  onWritable(listener: () => void): void {
    this.#writableListeners.push(listener);
    this.#context.usage.waiting.add(this);
  }

  /** Sends what was gathered, as far as the window of unacknowledged batches allows. */
  endOfTurn(): void {
    const { id } = this.#writer.producer;
    if (id === undefined) {
      void this.#takeProducerId();
      return;
    }
    while (this.#inFlight < this.#context.limits.appendsInFlightMax) {
      const batch = this.#gathering.shift();
      if (batch === undefined) return;
      this.#submit(batch, id);
    }
  }

  batchSettled(batch: GatheredBatch): void {
    this.#inFlight--;
    this.#count(-batch.byteLength);
    if (batch.error === undefined) this.#context.countAppended(batch.recordCount);
    if (this.#gathering.length > 0) this.#context.turn.addBatches(this);
    this.#context.usage.wakeWriters();
  }

  /** Calls those who wait for room, if there is. True: nobody waits any more. */
  wakeIfWritable(): boolean {
    if (this.full) return false;
    const listeners = this.#writableListeners;
    this.#writableListeners = [];
    for (const listener of listeners) listener();
    return this.#writableListeners.length === 0;
  }

  /** Fails what was not sent yet. */
  close(error: OperatingError): void {
    this.#inFlight += this.#gathering.length;
    for (const batch of this.#gathering.splice(0)) batch.refused(error);
  }

  /** The batch that has room for so many bytes more. */
  #batchFor(bytes: number): GatheredBatch {
    const last = this.#gathering.at(-1);
    if (last !== undefined && last.byteLength + bytes <= this.#context.limits.batchBytesMax) {
      return last;
    }
    const batch = new GatheredBatch(this.shardId, this, this.#context.scratch);
    this.#gathering.push(batch);
    this.#context.turn.addBatches(this);
    return batch;
  }

  #submit(gathered: GatheredBatch, producerId: number): void {
    const sequence = this.#writer.producer.takeSequence(gathered.recordCount);
    const { batch, filter } = gathered.finish(producerId, sequence);
    const ackLevel = gathered.waitsForAll ? WireAckLevel.ALL : WireAckLevel.QUORUM;
    this.#inFlight++;
    this.#writer.submit(
      new AppendJob({ batch, filter, ackLevel, writerEpoch: 0 }, 'own', gathered),
    );
  }

  async #takeProducerId(): Promise<void> {
    // While batches are under way it is the writer who gives them, and what follows, a new id.
    if (this.#takesId || this.#inFlight > 0) return;
    this.#takesId = true;
    const { producer } = this.#writer;
    try {
      producer.begin(
        producer.usedUp
          ? await this.#context.producerIds.next()
          : await this.#context.processProducerId(),
      );
    } catch {
      return; // The client is closed, and has failed all batches.
    } finally {
      this.#takesId = false;
    }
    if (this.#gathering.length > 0) this.#context.turn.addBatches(this);
  }

  #count(bytes: number): void {
    this.#bytes += bytes;
    this.#context.usage.bytes += bytes;
  }
}

function tooLarge(bytes: number): OperatingError {
  return new OperatingError(
    'BATCH_TOO_LARGE',
    `a record of ${bytes} bytes is above ${batchBytesHardMax}; send smaller ones`,
  );
}
