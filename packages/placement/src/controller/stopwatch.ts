import type { Clock } from '@robustmq/core';

/** Times of the steps of one piece of work, for the log. */
export class Stopwatch {
  readonly laps: Record<string, number> = {};
  readonly #clock: Clock;
  #sinceMs: number;

  constructor(clock: Clock) {
    this.#clock = clock;
    this.#sinceMs = clock.monotonicMs();
  }

  /** A step ends, and the next one begins. */
  lap(name: string): void {
    const nowMs = this.#clock.monotonicMs();
    this.laps[name] = Math.round(nowMs - this.#sinceMs);
    this.#sinceMs = nowMs;
  }
}
