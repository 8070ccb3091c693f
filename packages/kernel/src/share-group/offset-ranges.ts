/** Offsets from `from` up to `to`, which is the first behind them. */
export interface OffsetRange {
  readonly from: number;
  readonly to: number;
}

/** A set of offsets as ascending ranges that neither overlap nor touch. */
export class OffsetRanges {
  #ranges: OffsetRange[];

  /** The ranges are ascending and do not overlap. */
  constructor(ranges: Iterable<OffsetRange> = []) {
    this.#ranges = [];
    for (const range of ranges) this.#append(range.from, range.to);
  }

  get size(): number {
    return this.#ranges.length;
  }

  [Symbol.iterator](): IterableIterator<OffsetRange> {
    return this.#ranges.values();
  }

  has(offset: number): boolean {
    const range = this.#ranges[this.#firstEndingAfter(offset)];
    return range !== undefined && range.from <= offset;
  }

  /** End of the range that has the offset; the offset itself when none has. */
  endOf(offset: number): number {
    const range = this.#ranges[this.#firstEndingAfter(offset)];
    return range !== undefined && range.from <= offset ? range.to : offset;
  }

  /** Adds the offsets from `from` up to `to`. */
  add(from: number, to: number): void {
    if (from >= to) return;
    const last = this.#ranges.at(-1);
    if (last === undefined || last.to <= from) {
      this.#append(from, to);
      return;
    }
    // A range that ends at `from` touches it.
    const first = this.#firstEndingAfter(from - 1);
    let end = first;
    let joined = { from, to };
    for (let range = this.#ranges[end]; range !== undefined && range.from <= to;) {
      joined = { from: Math.min(joined.from, range.from), to: Math.max(joined.to, range.to) };
      range = this.#ranges[++end];
    }
    this.#ranges.splice(first, end - first, joined);
  }

  /** Forgets what is below `offset`. */
  dropBelow(offset: number): void {
    const first = this.#firstEndingAfter(offset);
    if (first > 0) this.#ranges.splice(0, first);
    const [range] = this.#ranges;
    if (range !== undefined && range.from < offset) {
      this.#ranges[0] = { from: offset, to: range.to };
    }
  }

  #append(from: number, to: number): void {
    const last = this.#ranges.at(-1);
    if (last?.to === from) this.#ranges[this.#ranges.length - 1] = { from: last.from, to };
    else if (from < to) this.#ranges.push({ from, to });
  }

  /** Index of the first range that ends behind `offset`. */
  #firstEndingAfter(offset: number): number {
    let low = 0;
    let high = this.#ranges.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((this.#ranges[middle]?.to ?? 0) > offset) high = middle;
      else low = middle + 1;
    }
    return low;
  }
}
