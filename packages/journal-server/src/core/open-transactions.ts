/** A transaction whose end marker is in the log but may not be committed yet. */
interface EndingTransaction {
  readonly firstOffset: number;
  readonly markerOffset: number;
}

/**
 * First offsets of the transactions that are not over: open ones, and ones whose end marker could
 * still be lost with this leader. Readers of committed transactions stop before the first of them.
 */
export class OpenTransactions {
  /** By producer id, in the order in which they began, which is the order of their offsets. */
  readonly #open = new Map<number, number>();
  /** In the order of their markers. */
  #ending: EndingTransaction[] = [];

  /** Open ones only. */
  get size(): number {
    return this.#open.size;
  }

  begin(producerId: number, firstOffset: number): void {
    this.#open.set(producerId, firstOffset);
  }

  end(producerId: number, markerOffset: number): void {
    const firstOffset = this.#open.get(producerId);
    if (firstOffset === undefined) return;
    this.#open.delete(producerId);
    this.#ending.push({ firstOffset, markerOffset });
  }

  /** First offset of the first open transaction; `highWatermark` when there is none before it. */
  lastStableOffset(highWatermark: number): number {
    const over = this.#ending.findIndex(({ markerOffset }) => markerOffset >= highWatermark);
    if (over === -1) this.#ending.length = 0;
    else if (over > 0) this.#ending.splice(0, over);
    let stable = highWatermark;
    for (const { firstOffset } of this.#ending) stable = Math.min(stable, firstOffset);
    const [firstOpen] = this.#open.values();
    return firstOpen === undefined ? stable : Math.min(stable, firstOpen);
  }
}
