import { TurnTask } from '@robustmq/core';

/** Connections that are looked at in one turn of the event loop. */
const together = 200;

/** A connection whose client may have to go, or may do other things than before. */
export interface Reviewed {
  reviewAccess(): Promise<void>;
}

/** Looks at all connections again after a change, some per turn. A change meanwhile begins anew. */
export class AccessReview {
  readonly #connections: () => Iterable<Reviewed>;
  readonly #turn = new TurnTask(() => void this.#some());
  /** Those that have not been looked at. */
  #left: Iterator<Reviewed> | undefined;
  #isAgain = false;

  constructor(connections: () => Iterable<Reviewed>) {
    this.#connections = connections;
  }

  begin(): void {
    if (this.#left === undefined) {
      this.#left = this.#connections()[Symbol.iterator]();
      this.#turn.schedule();
    } else {
      this.#isAgain = true;
    }
  }

  async #some(): Promise<void> {
    const reviews: Promise<void>[] = [];
    while (reviews.length < together) {
      const next = this.#left?.next();
      if (next === undefined || next.done === true) {
        this.#left = undefined;
        break;
      }
      reviews.push(next.value.reviewAccess());
    }
    await Promise.all(reviews);
    if (this.#left !== undefined) this.#turn.schedule();
    else if (this.#isAgain) {
      this.#isAgain = false;
      this.begin();
    }
  }
}
