import type { Entry, ShareEntry } from './share-entry.ts';

/** Passed entries that are cut off together. */
const cutMin = 1024;

/**
 * Entries that may be handed out: those that came back, then the fresh ones in order. One that was given away
 * by other means may still stand here; it is passed over.
 */
export class AvailableQueue<Payload> {
  #returned: Entry<Payload>[] = [];
  #fresh: Entry<Payload>[] = [];
  #freshAt = 0;

  get isEmpty(): boolean {
    return this.#returned.length === 0 && this.#freshAt === this.#fresh.length;
  }

  addFresh(entry: Entry<Payload>): void {
    entry.isQueued = true;
    this.#fresh.push(entry);
  }

  giveBack(entry: Entry<Payload>): void {
    if (entry.isQueued) return;
    entry.isQueued = true;
    this.#returned.push(entry);
  }

  clear(): void {
    this.#returned = [];
    this.#fresh = [];
    this.#freshAt = 0;
  }

  /** Calls with one after the other until `place` returns false; what is still available then stays. */
  offer(place: (entry: ShareEntry<Payload>) => boolean): void {
    let goesOn = true;
    const returned = this.#returned;
    this.#returned = [];
    for (const entry of returned) {
      if (goesOn && entry.state === 'available') goesOn = place(entry);
      if (entry.state === 'available') this.#returned.push(entry);
      else entry.isQueued = false;
    }
    if (goesOn) this.#offerFresh(place);
  }

  #offerFresh(place: (entry: ShareEntry<Payload>) => boolean): void {
    for (let goesOn = true; goesOn && this.#freshAt < this.#fresh.length;) {
      const entry = this.#fresh[this.#freshAt];
      if (entry === undefined) break;
      if (entry.state === 'available') goesOn = place(entry);
      // One that is left as it is stays at the head: what is fresh keeps its order.
      if (entry.state === 'available') break;
      entry.isQueued = false;
      this.#freshAt++;
    }
    const isPassed = this.#freshAt === this.#fresh.length;
    if (!isPassed && (this.#freshAt < cutMin || this.#freshAt * 2 < this.#fresh.length)) return;
    this.#fresh.splice(0, this.#freshAt);
    this.#freshAt = 0;
  }
}
