import { type Clock, TurnTask } from '@robustmq/core';

/** The wall clock, read once per event-loop turn: what is published in one turn has one time. */
export class TurnTime {
  readonly #clock: Pick<Clock, 'wallMs'>;
  readonly #turnEnd = new TurnTask(() => (this.#isRead = false));
  #isRead = false;
  #wallMs = 0;

  constructor(clock: Pick<Clock, 'wallMs'>) {
    this.#clock = clock;
  }

  /** Milliseconds since 1970. */
  get wallMs(): number {
    if (!this.#isRead) {
      this.#isRead = true;
      this.#wallMs = this.#clock.wallMs();
      this.#turnEnd.schedule();
    }
    return this.#wallMs;
  }
}
