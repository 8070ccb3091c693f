/** What the time of a run goes to. */
export class TimeShares {
  readonly #spentMs = new Map<string, number>();

  async of<T>(what: string, work: Promise<T>): Promise<T> {
    const begin = performance.now();
    try {
      return await work;
    } finally {
      this.#spentMs.set(what, (this.#spentMs.get(what) ?? 0) + performance.now() - begin);
    }
  }

  /** In words, most first. */
  describe(): string {
    const rows = [...this.#spentMs].sort(([, one], [, other]) => other - one);
    return rows.map(([what, ms]) => `${what} ${(ms / 1000).toFixed(1)} s`).join(', ');
  }
}
