const violationsKept = 20;

/** Gathers what was wrong; keeps the first ones. */
export class Violations {
  readonly #kept: string[] = [];
  #count = 0;

  add(violation: string): void {
    this.#count++;
    if (this.#kept.length < violationsKept) this.#kept.push(violation);
  }

  list(): readonly string[] {
    const more = this.#count - this.#kept.length;
    return more > 0 ? [...this.#kept, `and ${more} more`] : this.#kept;
  }
}
