/** Minutes over which is averaged. */
export const averagedMinutes = [1, 5, 15] as const;

/** Exponentially decaying averages of a counter's growth per minute, as Unix's load averages are made. */
export class LoadAverages {
  readonly #averages: number[] = averagedMinutes.map(() => 0);
  #last = 0;

  /** What the counter shows `elapsedMs` after the last call. */
  sample(counter: number, elapsedMs: number): void {
    if (elapsedMs <= 0) return;
    const perMinute = ((counter - this.#last) * 60_000) / elapsedMs;
    this.#last = counter;
    for (const [index, minutes] of averagedMinutes.entries()) {
      const kept = Math.exp(-elapsedMs / (minutes * 60_000));
      this.#averages[index] = perMinute * (1 - kept) + (this.#averages[index] ?? 0) * kept;
    }
  }

  /** Per minute, over 1, 5 and 15 minutes. */
  get averages(): readonly number[] {
    return this.#averages;
  }
}
