/** A rate with room for as many at once as are allowed in a second. */
export class TokenBucket {
  readonly #perSecond: number;
  readonly #size: number;
  #tokens: number;
  #lastMs: number;

  /** `perSecond` is above 0. It begins full. */
  constructor(perSecond: number, nowMs: number) {
    this.#perSecond = perSecond;
    this.#size = Math.max(1, perSecond);
    this.#tokens = this.#size;
    this.#lastMs = nowMs;
  }

  /** Whether there was one to take at `nowMs`, of a clock that never goes back. */
  take(nowMs: number): boolean {
    const grown = ((nowMs - this.#lastMs) * this.#perSecond) / 1000;
    this.#tokens = Math.min(this.#size, this.#tokens + grown);
    this.#lastMs = nowMs;
    if (this.#tokens < 1) return false;
    this.#tokens--;
    return true;
  }
}
