/** Who wants to be told of changes. */
export class Listeners {
  readonly #listeners = new Set<() => void>();

  /** Returns what ends it. */
  add(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  tell(): void {
    for (const listener of this.#listeners) listener();
  }
}
