import type { Random } from '@robustmq/core';

const firstMs = 50;
const lastMs = 1_000;

/** Waiting times that double from 50 ms to 1 s, each shortened by up to a half so that callers spread. */
export class Backoff {
  readonly #random: Random;
  #nextMs = firstMs;

  constructor(random: Random) {
    this.#random = random;
  }

  next(): number {
    const delayMs = this.#nextMs * (1 - this.#random.next() / 2);
    this.#nextMs = Math.min(this.#nextMs * 2, lastMs);
    return delayMs;
  }

  reset(): void {
    this.#nextMs = firstMs;
  }
}
