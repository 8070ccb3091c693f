import type { Logger } from '@robustmq/core';
import type { BrokenBatch } from './decoded-batch.ts';

/** Counts and logs batches that could not be read. */
export class BrokenBatches {
  readonly #logger: Logger;
  #count = 0;

  constructor(logger: Logger) {
    this.#logger = logger;
  }

  /** Broken batches that were passed over since the start. */
  get count(): number {
    return this.#count;
  }

  readonly report = (broken: BrokenBatch): void => {
    this.#count++;
    this.#logger.warn(broken, 'a batch cannot be read and is passed over');
  };
}
