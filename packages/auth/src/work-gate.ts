import { OperatingError } from '@robustmq/core';

/** Lets so many pieces of work run at once and so many wait; the next is refused. */
export class WorkGate {
  readonly #what: string;
  readonly #atOnceMax: number;
  readonly #waitingMax: number;
  readonly #waiting: (() => void)[] = [];
  #running = 0;
  /** Pieces of work that found too many waiting. */
  refused = 0;

  /** `what` names the work in the message of a refusal. */
  constructor(what: string, bounds: { atOnceMax: number; waitingMax: number }) {
    this.#what = what;
    this.#atOnceMax = bounds.atOnceMax;
    this.#waitingMax = bounds.waitingMax;
  }

  get running(): number {
    return this.#running;
  }

  get waiting(): number {
    return this.#waiting.length;
  }

  /** Runs `work` in its turn. Rejects with RESOURCE_EXHAUSTED when too many wait. */
  async run<Result>(work: () => Promise<Result>): Promise<Result> {
    if (this.#running >= this.#atOnceMax) await this.#wait();
    else this.#running++;
    try {
      return await work();
    } finally {
      // Whoever waited takes the place over.
      const next = this.#waiting.shift();
      if (next === undefined) this.#running--;
      else next();
    }
  }

  #wait(): Promise<void> {
    if (this.#waiting.length >= this.#waitingMax) {
      this.refused++;
      const message = `${this.#waitingMax} ${this.#what} wait already; come back later`;
      return Promise.reject(new OperatingError('RESOURCE_EXHAUSTED', message));
    }
    return new Promise((resolve) => this.#waiting.push(resolve));
  }
}
