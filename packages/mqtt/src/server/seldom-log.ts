import type { Clock, Logger } from '@robustmq/core';

const logEachMs = 10_000;
/** Things that are told apart; beyond them all are forgotten, and each may be logged once more. */
const keysMax = 1_000;

/** Logs what may happen at any rate: each thing at once, then at most every 10 s, with how often meanwhile. */
export class SeldomLog {
  readonly #clock: Clock;
  readonly #logger: Logger;
  readonly #kept = new Map<string, { atMs: number; count: number }>();

  constructor(options: { readonly clock: Clock; readonly logger: Logger }) {
    this.#clock = options.clock;
    this.#logger = options.logger;
  }

  /** `key`: the thing; `count`: how much of it there is now. It is told as the sum since the last line. */
  warn(
    key: string,
    count: number,
    line: { readonly fields: Readonly<Record<string, unknown>>; readonly text: string },
  ): void {
    const nowMs = this.#clock.monotonicMs();
    const kept = this.#kept.get(key);
    if (kept !== undefined && nowMs - kept.atMs < logEachMs) {
      kept.count += count;
      return;
    }
    if (this.#kept.size >= keysMax) this.#kept.clear();
    this.#kept.set(key, { atMs: nowMs, count: 0 });
    this.#logger.warn({ ...line.fields, count: count + (kept?.count ?? 0) }, line.text);
  }
}
