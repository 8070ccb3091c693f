/** Numbers by index, for many: 4 bytes for each index up to the highest. */
export class NumberColumn {
  #values = new Uint32Array(256).fill(none);
  #length = 0;

  /** One more than the highest index that was set. */
  get length(): number {
    return this.#length;
  }

  get(index: number): number | undefined {
    const value = this.#values[index];
    return value === none ? undefined : value;
  }

  /** `value` is a whole number below 2^32 - 1. Throws beyond what a history may hold. */
  set(index: number, value: number): void {
    if (index >= indexMax) throw new Error(`a history holds at most ${indexMax} records`);
    if (index >= this.#values.length) {
      const grown = new Uint32Array(Math.max(index + 1, 2 * this.#values.length)).fill(none);
      grown.set(this.#values);
      this.#values = grown;
    }
    this.#values[index] = value;
    this.#length = Math.max(this.#length, index + 1);
  }
}

const none = 0xffff_ffff;
/** 64 MiB for a column. */
const indexMax = 16 * 1024 * 1024;
