import type { PendingAppend } from './pending-append.ts';

/** Slots in front of the queue that may be empty before they are given back. */
const emptySlotsMax = 1_024;

/** Appends of one ack level that wait, answered first in, first out. */
export class AckQueue {
  #items: (PendingAppend | undefined)[] = [];
  #head = 0;

  get size(): number {
    return this.#items.length - this.#head;
  }

  push(append: PendingAppend): void {
    this.#items.push(append);
  }

  /** Takes out the next append if it lies within `length`. */
  takeWithin(length: number): PendingAppend | undefined {
    const append = this.#items[this.#head];
    if (append === undefined || append.endLength > length) return undefined;
    return this.take();
  }

  take(): PendingAppend | undefined {
    const append = this.#items[this.#head];
    if (append === undefined) return undefined;
    this.#items[this.#head++] = undefined;
    if (this.#head === this.#items.length || this.#head > emptySlotsMax) {
      this.#items = this.#items.slice(this.#head);
      this.#head = 0;
    }
    return append;
  }
}
