/** Who waits until a released publish is committed in its topic. In memory: a new owner is asked again. */
export class ReleaseWaiters {
  readonly #waiting = new Map<number, (() => void)[]>();
  /** Delivered and not confirmed. */
  readonly #delivered = new Set<number>();

  /** Calls when the release is delivered: at once if it is. */
  wait(releaseId: number, delivered: () => void): void {
    if (this.#delivered.has(releaseId)) {
      delivered();
      return;
    }
    const waiting = this.#waiting.get(releaseId);
    if (waiting === undefined) this.#waiting.set(releaseId, [delivered]);
    else waiting.push(delivered);
  }

  delivered(releaseId: number): void {
    this.#delivered.add(releaseId);
    this.#wake(releaseId);
  }

  /** It is not in the state any more. */
  confirmed(releaseId: number): void {
    this.#delivered.delete(releaseId);
    this.#wake(releaseId);
  }

  #wake(releaseId: number): void {
    const waiting = this.#waiting.get(releaseId);
    if (waiting === undefined) return;
    this.#waiting.delete(releaseId);
    for (const delivered of waiting) delivered();
  }
}
