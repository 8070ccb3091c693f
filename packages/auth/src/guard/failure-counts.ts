interface Count {
  /** Beginning of the window. */
  startMs: number;
  count: number;
}

/** Counts events per key within a window, for so many keys at most: the one that began first goes. */
export class FailureCounts {
  readonly #windowMs: number;
  readonly #keysMax: number;
  /** In the order in which their windows began. */
  readonly #counts = new Map<string, Count>();
  /** Keys that had to go within their window. */
  evicted = 0;

  constructor(windowMs: number, keysMax: number) {
    this.#windowMs = windowMs;
    this.#keysMax = keysMax;
  }

  get size(): number {
    return this.#counts.size;
  }

  /** Counts one; returns how many there were in the window with it. */
  add(key: string, nowMs: number): number {
    const known = this.#counts.get(key);
    if (known !== undefined && nowMs - known.startMs < this.#windowMs) return ++known.count;
    this.#counts.delete(key);
    if (this.#counts.size >= this.#keysMax) this.#makeRoom(nowMs);
    this.#counts.set(key, { startMs: nowMs, count: 1 });
    return 1;
  }

  forget(key: string): void {
    this.#counts.delete(key);
  }

  #makeRoom(nowMs: number): void {
    for (const [key, { startMs }] of this.#counts) {
      this.#counts.delete(key);
      if (nowMs - startMs < this.#windowMs) this.evicted++;
      if (this.#counts.size < this.#keysMax) return;
    }
  }
}
