import { assert } from '@robustmq/core';

/** A new entry begins when this many bytes lie behind the last one's start. */
export const INDEX_INTERVAL_BYTES = 8 * 1024;

/**
 * Finds frames of a segment file by record index and by time: one entry per {@link INDEX_INTERVAL_BYTES}
 * at least. It covers what is in the file, no more; derived data, which a scan builds again.
 */
export class SparseIndex {
  /** Record index of the entry's first frame, its byte position, and the running maximum of the
   * time stamps up to the end of the entry. All three never fall. */
  readonly #indexes: number[] = [];
  readonly #positions: number[] = [];
  readonly #timestamps: number[] = [];

  get entries(): number {
    return this.#indexes.length;
  }

  indexAt(entry: number): number {
    return this.#indexes[entry] ?? 0;
  }

  positionAt(entry: number): number {
    return this.#positions[entry] ?? 0;
  }

  timestampAt(entry: number): number {
    return this.#timestamps[entry] ?? 0;
  }

  /** Tells of a frame that was written at `position`, in order. */
  add(index: number, position: number, maxTimestampMs: number): void {
    const last = this.#indexes.length - 1;
    if (last < 0) return this.push(index, position, maxTimestampMs);
    const running = Math.max(this.timestampAt(last), maxTimestampMs);
    if (position - this.positionAt(last) >= INDEX_INTERVAL_BYTES) {
      return this.push(index, position, running);
    }
    this.#timestamps[last] = running;
  }

  /** Adds an entry as it stands in a footer. */
  push(index: number, position: number, runningTimestampMs: number): void {
    assert(position >= (this.#positions.at(-1) ?? 0), 'index entries come in order');
    this.#indexes.push(index);
    this.#positions.push(position);
    this.#timestamps.push(runningTimestampMs);
  }

  /**
   * The last entry that begins before record `index` or, as frames without records share the index of
   * what follows them, the first at it. -1 when empty.
   */
  entryBefore(index: number): number {
    let low = 0;
    let high = this.#indexes.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.indexAt(middle) < index) low = middle + 1;
      else high = middle;
    }
    return Math.max(low - 1, Math.min(0, this.#indexes.length - 1));
  }

  /** The first entry that holds a frame with a time stamp of at least `timestampMs`; -1 when none does. */
  entryByTime(timestampMs: number): number {
    let low = 0;
    let high = this.#timestamps.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.timestampAt(middle) < timestampMs) low = middle + 1;
      else high = middle;
    }
    return low === this.#timestamps.length ? -1 : low;
  }

  /** Drops what lies at or behind byte `position`. Running maxima may stay too large: they are hints. */
  cut(position: number): void {
    while (this.#positions.length > 0 && (this.#positions.at(-1) ?? 0) >= position) {
      this.#indexes.pop();
      this.#positions.pop();
      this.#timestamps.pop();
    }
  }
}
