/** A set of whole numbers from 0 that mostly grows without gaps: costs memory for the gaps only. */
export class SequenceSet {
  /** Everything below is in the set. */
  #next = 0;
  readonly #above = new Set<number>();

  /** False when it was in the set already. */
  add(sequence: number): boolean {
    if (this.has(sequence)) return false;
    this.#above.add(sequence);
    while (this.#above.delete(this.#next)) this.#next++;
    return true;
  }

  has(sequence: number): boolean {
    return sequence < this.#next || this.#above.has(sequence);
  }

  get size(): number {
    return this.#next + this.#above.size;
  }

  /** The highest number in the set; -1 when it is empty. */
  get highest(): number {
    return Math.max(this.#next - 1, ...this.#above);
  }

  *[Symbol.iterator](): Generator<number> {
    for (let sequence = 0; sequence < this.#next; sequence++) yield sequence;
    yield* this.#above;
  }
}
