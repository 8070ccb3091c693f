/** Lets bursts through at once and bounds what goes on for long. Pure: time comes in. */
export class TokenBucket {
  readonly #size: number;
  readonly #perSecond: number;
  #tokens: number;
  #filledAtMs = 0;

  /** @param size Tokens when it is full, as it is at first. */
  constructor(size: number, perSecond: number) {
    this.#size = size;
    this.#perSecond = perSecond;
    this.#tokens = size;
  }

  /** Takes up to `wanted` tokens; returns how many there were, whole ones only. */
  take(wanted: number, nowMs: number): number {
    const sinceMs = Math.max(0, nowMs - this.#filledAtMs);
    this.#filledAtMs = Math.max(nowMs, this.#filledAtMs);
    this.#tokens = Math.min(this.#size, this.#tokens + (sinceMs * this.#perSecond) / 1_000);
    const taken = Math.min(wanted, Math.floor(this.#tokens));
    this.#tokens -= taken;
    return taken;
  }
}
