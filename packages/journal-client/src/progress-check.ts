import type { CancelTimer, Clock } from '@robustmq/core';

/** Somebody who waits for answers. */
export interface Waiting {
  checkProgress(nowMs: number): void;
}

/** Looks at everybody who waits, every so often, with one timer that runs only while somebody does. */
export class ProgressCheck {
  readonly #clock: Clock;
  readonly #everyMs: number;
  readonly #waiting = new Set<Waiting>();
  #cancelTimer: CancelTimer | undefined;

  constructor(clock: Clock, everyMs: number) {
    this.#clock = clock;
    this.#everyMs = everyMs;
  }

  add(waiting: Waiting): void {
    this.#waiting.add(waiting);
    this.#cancelTimer ??= this.#clock.setTimer(this.#everyMs, this.#check);
  }

  delete(waiting: Waiting): void {
    this.#waiting.delete(waiting);
  }

  close(): void {
    this.#waiting.clear();
    this.#cancelTimer?.();
  }

  readonly #check = (): void => {
    this.#cancelTimer = undefined;
    if (this.#waiting.size === 0) return;
    this.#cancelTimer = this.#clock.setTimer(this.#everyMs, this.#check);
    const nowMs = this.#clock.monotonicMs();
    for (const waiting of this.#waiting) waiting.checkProgress(nowMs);
  };
}
