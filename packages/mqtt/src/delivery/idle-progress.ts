import type { CancelTimer, Clock } from '@robustmq/core';

import type { ProgressKeeper, ProgressSource } from './progress-keeper.ts';

/** A session that may be behind although it sends and settles nothing. */
export interface IdleSession extends ProgressSource {
  /** What is stored of it is older than what it knows. */
  readonly isBehind: boolean;
}

export interface IdleProgressOptions {
  readonly clock: Clock;
  /** Every session is looked at once in a round; the next begins so long after it at the earliest. */
  readonly roundMs: number;
  readonly keeper: Pick<ProgressKeeper, 'later'>;
  readonly sessions: () => Iterable<IdleSession>;
  /** How many there are, about. */
  readonly size: () => number;
}

const slicesPerRound = 30;
/** With more a round takes longer: what is written to the coordinators' logs stays bounded. */
const sliceSessionsMax = 1_000;

/**
 * Stores now and then how far connected sessions are that get nothing: retention waits for stored
 * positions, and those of a session for which no record comes would stay where they were. Sessions whose
 * positions have not moved cost a look, those that are not connected nothing.
 */
export class IdleProgress {
  readonly #options: IdleProgressOptions;
  readonly #sliceMs: number;
  #walk: Iterator<IdleSession> | undefined;
  #roundAtMs = 0;
  #cancelTimer: CancelTimer = () => {};

  constructor(options: IdleProgressOptions) {
    this.#options = options;
    this.#sliceMs = Math.max(1, Math.floor(options.roundMs / slicesPerRound));
  }

  start(): void {
    this.#waitFor(this.#options.roundMs);
  }

  close(): void {
    this.#cancelTimer();
  }

  #waitFor(delayMs: number): void {
    this.#cancelTimer = this.#options.clock.setTimer(delayMs, () => this.#slice());
  }

  #slice(): void {
    const { clock, keeper, roundMs, sessions, size } = this.#options;
    if (this.#walk === undefined) {
      this.#walk = sessions()[Symbol.iterator]();
      this.#roundAtMs = clock.monotonicMs();
    }
    const looks = Math.min(sliceSessionsMax, Math.ceil(size() / slicesPerRound) + 1);
    for (let look = 0; look < looks; look++) {
      const step = this.#walk.next();
      if (step.done === true) {
        this.#walk = undefined;
        this.#waitFor(Math.max(this.#sliceMs, this.#roundAtMs + roundMs - clock.monotonicMs()));
        return;
      }
      if (step.value.isBehind) keeper.later(step.value);
    }
    this.#waitFor(this.#sliceMs);
  }
}
