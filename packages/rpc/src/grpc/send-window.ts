/** How much may wait to be written on one stream before its producer is told to stop. */
export interface SendBounds {
  readonly messages: number;
  readonly bytes: number;
}

/**
 * Counts what waits to be written on one stream, and tells when to stop and when to go on: the
 * producer goes on once half of the bound is free again.
 */
export class SendWindow {
  readonly #bounds: SendBounds;
  readonly #drained: () => void;
  /** Sizes of what waits, the oldest at `#head`. */
  #sizes: number[] = [];
  #head = 0;
  #bytes = 0;
  #stopped = false;

  constructor(bounds: SendBounds, drained: () => void) {
    this.#bounds = bounds;
    this.#drained = drained;
  }

  /** A message of `bytes` waits from now on. False: stop until `drained`. */
  add(bytes: number): boolean {
    this.#sizes.push(bytes);
    this.#bytes += bytes;
    if (this.#bytes >= this.#bounds.bytes || this.#waiting >= this.#bounds.messages) {
      this.#stopped = true;
    }
    return !this.#stopped;
  }

  /** The oldest message has been written. Bound, so that it serves as the callback of every write. */
  readonly written = (): void => {
    this.#bytes -= this.#sizes[this.#head] ?? 0;
    this.#head++;
    if (this.#head === this.#sizes.length) {
      this.#sizes = [];
      this.#head = 0;
    }
    if (!this.#stopped) return;
    if (this.#bytes > this.#bounds.bytes / 2) return;
    if (this.#waiting > this.#bounds.messages / 2) return;
    this.#stopped = false;
    this.#drained();
  };

  get #waiting(): number {
    return this.#sizes.length - this.#head;
  }
}
