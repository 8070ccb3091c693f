import type { OperatingError, Random } from '@robustmq/core';

const firstMs = 50;
const lastMs = 1_000;
/** A server that says that it does not decide costs little to ask, and will soon say who does. */
const lastUndecidedMs = 250;

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

  /** The waiting time after a call or stream that has ended so. */
  after(error: OperatingError | undefined): number {
    const delayMs = this.next();
    return error?.code === 'NOT_LEADER' ? Math.min(delayMs, lastUndecidedMs) : delayMs;
  }

  reset(): void {
    this.#nextMs = firstMs;
  }
}
