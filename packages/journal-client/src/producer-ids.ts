import {
  type Clock,
  delay,
  OperatingError,
  type ProducerId,
  producerId,
  type Random,
  toOperatingError,
} from '@robustmq/core';
import type { PlacementClient } from '@robustmq/placement-client';
import { retryDelayMs } from './retry-delay.ts';

export interface ProducerIdsOptions {
  readonly placement: Pick<PlacementClient, 'allocateProducerIds'>;
  readonly clock: Clock;
  readonly random: Random;
  /** Ids that are taken from placement at a time. */
  readonly block: number;
}

/** Producer ids from blocks that placement gives to this process alone. Ids that are left are lost. */
export class ProducerIds {
  readonly #options: ProducerIdsOptions;
  readonly #closed = new AbortController();
  #next = 0;
  #end = 0;
  #filling: Promise<void> | undefined;

  constructor(options: ProducerIdsOptions) {
    this.#options = options;
  }

  /** An id that nobody else has. Waits while placement is away; rejects with CANCELLED after close. */
  async next(): Promise<ProducerId> {
    while (this.#next === this.#end) {
      this.#filling ??= this.#fill().finally(() => {
        this.#filling = undefined;
      });
      await this.#filling;
    }
    return producerId(this.#next++);
  }

  close(): void {
    this.#closed.abort(new OperatingError('CANCELLED', 'the journal client is closed'));
  }

  async #fill(): Promise<void> {
    const { placement, clock, random, block } = this.#options;
    for (let attempt = 1; ; attempt++) {
      this.#closed.signal.throwIfAborted();
      try {
        const { first, count } = await placement.allocateProducerIds(block);
        this.#next = first;
        this.#end = first + count;
        if (count > 0) return;
      } catch (thrown) {
        if (!toOperatingError(thrown).retriable) throw thrown;
      }
      await delay(clock, retryDelayMs(attempt, random), this.#closed.signal);
    }
  }
}
