import { type ProducerId, shardId } from '@robustmq/core';
import type { BatchListener, PendingBatch } from '@robustmq/journal-client';
import { noHeaders, RecordBatchWriter } from '@robustmq/record-batch';

import type { SeededRandom } from '../kill/seeded-random.ts';
import type { ShardHistory } from '../../history/shard-history.ts';
import type { TortureClient } from './torture-client.ts';
import { valueOf } from '../../history/record-value.ts';

/** Records of one writer in one shard without an answer, at most. */
const windowMax = 60;
const noTokens = new Uint32Array();

/** Writes to one shard until it is stopped. */
export interface TortureWriter {
  /** Sends a few records, as far as the window allows. */
  write(): void;
  readonly outstanding: number;
}

/** Through the client's appender: batches by turn, with the client's own producer. */
export class AppenderWriter implements TortureWriter {
  readonly #client: TortureClient;
  readonly #history: ShardHistory;
  readonly #random: SeededRandom;
  readonly #onAck: () => void;
  outstanding = 0;

  constructor(
    client: TortureClient,
    history: ShardHistory,
    tools: { random: SeededRandom; onAck: () => void },
  ) {
    this.#client = client;
    this.#history = history;
    this.#random = tools.random;
    this.#onAck = tools.onAck;
  }

  write(): void {
    const appender = this.#client.journal.appender(shardId(this.#history.shardId));
    for (let count = this.#random.below(6); count > 0; count--) {
      if (this.outstanding >= windowMax || appender.full) return;
      this.#append(appender);
    }
  }

  #append(appender: ReturnType<TortureClient['journal']['appender']>): void {
    const writer = this.#client.name;
    const sequence = this.#history.sending(writer);
    const value = valueOf(writer, sequence);
    const record = {
      timestampMs: 1,
      key: null,
      value,
      headers: noHeaders,
      filterTokens: noTokens,
    };
    const batch = appender.append(record, this.#random.below(8) === 0 ? 'none' : 'quorum');
    if (batch === undefined) throw new Error('the appender was not full and took nothing');
    this.outstanding++;
    batch.addListener(this.#listener(sequence, batch.recordCount - 1));
  }

  #listener(sequence: number, index: number): BatchListener {
    const batchSettled = (batch: PendingBatch): void => {
      this.outstanding--;
      const { name: writer } = this.#client;
      if (batch.state === 'acknowledged') {
        this.#history.acknowledge({ writer, sequence }, batch.baseOffset + index);
      } else {
        this.#history.report('failed', `${writer}/${sequence} failed: ${batch.error?.message}`);
      }
      this.#onAck();
    };
    return { batchSettled };
  }
}

/** With a producer of its own, as coordinators and outboxes append: whole batches, at most five under way. */
export class ProducerWriter implements TortureWriter {
  readonly #client: TortureClient;
  readonly #history: ShardHistory;
  readonly #random: SeededRandom;
  readonly #onAck: () => void;
  readonly #writer = new RecordBatchWriter();
  readonly #name: string;
  #producerId: ProducerId | undefined;
  #sequence = 0;
  #batches = 0;
  outstanding = 0;

  constructor(
    client: TortureClient,
    history: ShardHistory,
    tools: { random: SeededRandom; onAck: () => void },
  ) {
    this.#client = client;
    this.#history = history;
    this.#random = tools.random;
    this.#onAck = tools.onAck;
    this.#name = `${client.name}-own`;
    void this.#takeProducerId();
  }

  async #takeProducerId(): Promise<void> {
    this.#producerId = await this.#client.journal.newProducerId();
  }

  write(): void {
    if (this.#producerId === undefined || this.#batches >= 5) return;
    const sequences: number[] = [];
    for (let count = 1 + this.#random.below(4); count > 0; count--) {
      const sequence = this.#history.sending(this.#name);
      sequences.push(sequence);
      this.#writer.append(1, null, valueOf(this.#name, sequence));
    }
    const baseSequence = this.#sequence;
    this.#sequence += sequences.length;
    const producer = { producerId: this.#producerId, producerEpoch: 0, baseSequence };
    void this.#append(this.#writer.finish(producer), sequences);
  }

  async #append(batch: Buffer, sequences: readonly number[]): Promise<void> {
    this.#batches++;
    this.outstanding += sequences.length;
    const order = { filter: Buffer.alloc(0), ackLevel: 'quorum' as const, writerEpoch: 0 };
    const shard = shardId(this.#history.shardId);
    try {
      const { baseOffset } = await this.#client.journal.appendBatch({
        shardId: shard,
        batch,
        ...order,
      });
      sequences.forEach((sequence, index) => {
        this.#history.acknowledge({ writer: this.#name, sequence }, baseOffset + index);
      });
    } catch (thrown) {
      this.#history.report('failed', `${this.#name}/${sequences[0]} failed: ${String(thrown)}`);
    }
    this.#batches--;
    this.outstanding -= sequences.length;
    this.#onAck();
  }
}
