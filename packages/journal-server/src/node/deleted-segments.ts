import type { SegmentId } from '@robustmq/core';

/** So many are remembered; an order that is overtaken by more does not exist. */
const keptMax = 50_000;

/**
 * Segments that placement has ordered to delete. Calls may overtake each other, and an order to prepare such a
 * segment that comes afterwards would make one that nobody has fenced. In memory only: an order that was given
 * to an earlier life of this process ends with its connections.
 */
export class DeletedSegments {
  /** The older half, and the one that is filled. */
  #older = new Set<SegmentId>();
  #newer = new Set<SegmentId>();

  add(segmentIds: readonly SegmentId[]): void {
    for (const segmentId of segmentIds) this.#newer.add(segmentId);
    if (this.#newer.size < keptMax / 2) return;
    this.#older = this.#newer;
    this.#newer = new Set();
  }

  has(segmentId: SegmentId): boolean {
    return this.#newer.has(segmentId) || this.#older.has(segmentId);
  }
}
