import { setTimeout as delay } from 'node:timers/promises';

import { shardId } from '@robustmq/core';
import type { PendingBatch } from '@robustmq/journal-client';
import { noHeaders } from '@robustmq/record-batch';

import type { ShardHistory } from '../../history/shard-history.ts';
import type { TortureClient } from '../torture/torture-client.ts';
import { valueOf } from '../../history/record-value.ts';

/** Between an acknowledgement and the next append: the finest outage that can be seen. */
const pauseMs = 10;
const noTokens = new Uint32Array();

/** Appends to one shard, one record after the other, and knows how long it was without an answer. */
export class SteadyWriter {
  readonly #client: TortureClient;
  readonly #history: ShardHistory;
  readonly #onAck: () => void;
  #lastAckMs = performance.now();
  /** As the one above, but no reset moves it. */
  #previousAckMs = performance.now();
  #longestMs = 0;
  #longestOfAllMs = 0;
  outstanding = 0;

  constructor(client: TortureClient, history: ShardHistory, onAck: () => void) {
    this.#client = client;
    this.#history = history;
    this.#onAck = onAck;
  }

  get shardId(): number {
    return this.#history.shardId;
  }

  /** Forgets all gaps so far; one that lasts counts from now. */
  reset(): void {
    this.#lastAckMs = performance.now();
    this.#longestMs = 0;
  }

  /** The longest time without an acknowledgement since the reset, one that still lasts included. */
  get longestMs(): number {
    return Math.max(this.#longestMs, performance.now() - this.#lastAckMs);
  }

  /** The longest one of all, whatever was reset. */
  get longestOfAllMs(): number {
    return this.#longestOfAllMs;
  }

  async run(ended: AbortSignal): Promise<void> {
    while (!ended.aborted) {
      await this.#append();
      await delay(pauseMs);
    }
  }

  #append(): Promise<void> {
    const { name: writer } = this.#client;
    const sequence = this.#history.sending(writer);
    const value = valueOf(writer, sequence);
    const fields = { timestampMs: 1, key: null, headers: noHeaders, filterTokens: noTokens };
    const appender = this.#client.journal.appender(shardId(this.#history.shardId));
    this.outstanding = 1;
    return new Promise((resolve, reject) => {
      const batch = appender.append({ ...fields, value }, 'quorum');
      if (batch === undefined) {
        reject(new Error('the appender had one record and was full'));
        return;
      }
      const batchSettled = (settled: PendingBatch): void => {
        this.outstanding = 0;
        this.#settled(settled, { writer, sequence });
        resolve();
      };
      batch.addListener({ batchSettled });
    });
  }

  #settled(batch: PendingBatch, place: { writer: string; sequence: number }): void {
    if (batch.state === 'acknowledged') this.#history.acknowledge(place, batch.baseOffset);
    else {
      const { writer, sequence } = place;
      this.#history.report('failed', `${writer}/${sequence} failed: ${batch.error?.message}`);
    }
    const nowMs = performance.now();
    this.#longestMs = Math.max(this.#longestMs, nowMs - this.#lastAckMs);
    this.#longestOfAllMs = Math.max(this.#longestOfAllMs, nowMs - this.#previousAckMs);
    this.#lastAckMs = nowMs;
    this.#previousAckMs = nowMs;
    this.#onAck();
  }
}
