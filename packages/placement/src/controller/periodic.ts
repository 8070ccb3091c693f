import { type CancelTimer, type Clock, type Logger, expectOperatingError } from '@robustmq/core';

/**
 * Does `work` again and again, `eachMs` after the last time it began or as soon as it is done. An
 * operating error is logged and the next time tries again; a bug ends the process.
 */
export class Periodic {
  readonly #clock: Clock;
  readonly #logger: Logger;
  readonly #name: string;
  readonly #work: () => Promise<void>;
  #cancel: CancelTimer | undefined;
  #running: Promise<void> | undefined;
  #stopped = false;

  constructor(options: {
    readonly clock: Clock;
    readonly logger: Logger;
    /** What it does, for the log. */
    readonly name: string;
    readonly eachMs: number;
    readonly work: () => Promise<void>;
  }) {
    this.#clock = options.clock;
    this.#logger = options.logger;
    this.#name = options.name;
    this.#work = options.work;
    this.#schedule(options.eachMs, options.eachMs);
  }

  /** No more; resolves when the work that runs is done. */
  async stop(): Promise<void> {
    this.#stopped = true;
    this.#cancel?.();
    await this.#running;
  }

  #schedule(delayMs: number, eachMs: number): void {
    this.#cancel = this.#clock.setTimer(delayMs, () => {
      this.#running = this.#runOnce(eachMs);
    });
  }

  async #runOnce(eachMs: number): Promise<void> {
    const begunMs = this.#clock.monotonicMs();
    try {
      await this.#work();
    } catch (thrown) {
      const error = expectOperatingError(thrown);
      this.#logger.warn({ pass: this.#name, error: error.message }, 'a pass failed: again later');
    }
    const tookMs = this.#clock.monotonicMs() - begunMs;
    if (!this.#stopped) this.#schedule(Math.max(0, eachMs - tookMs), eachMs);
  }
}
