import { expectOperatingError, type Logger } from '@robustmq/core';

/** Work that nobody waits for. An operating error is left to the next pass; a bug ends the process. */
export class Background {
  readonly #logger: Logger;
  #isStopped = false;

  constructor(logger: Logger) {
    this.#logger = logger;
  }

  /** Begins it, unless it was stopped. */
  run(name: string, work: () => Promise<void>): void {
    if (this.#isStopped) return;
    void (async () => {
      try {
        await work();
      } catch (thrown) {
        const { code, message } = expectOperatingError(thrown);
        const fields = { work: name, code, error: message };
        this.#logger.warn(fields, 'background work failed: a pass makes up for it');
      }
    })();
  }

  /** Nothing begins any more. */
  stop(): void {
    this.#isStopped = true;
  }
}
