/** An aborted transaction of one producer: its records lie from `firstOffset` up to its marker. */
export interface AbortedRange {
  readonly producerId: number;
  readonly firstOffset: number;
  readonly markerOffset: number;
}

/**
 * The aborted transactions whose markers are in one segment, in the order of the markers. Made while
 * the leader appends, or by folding a segment from its start.
 */
export class AbortedIndex {
  readonly #ranges: AbortedRange[] = [];

  get size(): number {
    return this.#ranges.length;
  }

  add(range: AbortedRange): void {
    this.#ranges.push(range);
  }

  /** Those that have records or their marker in offsets `[from, to)`. */
  touching(from: number, to: number): AbortedRange[] {
    const found: AbortedRange[] = [];
    for (let index = this.#firstWithMarkerFrom(from); index < this.#ranges.length; index++) {
      const range = this.#ranges[index];
      if (range !== undefined && range.firstOffset < to) found.push(range);
    }
    return found;
  }

  #firstWithMarkerFrom(offset: number): number {
    let low = 0;
    let high = this.#ranges.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((this.#ranges[middle]?.markerOffset ?? offset) < offset) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}
