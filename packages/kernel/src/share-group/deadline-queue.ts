import type { Entry } from './share-entry.ts';

interface Deadline<Payload> {
  readonly entry: Entry<Payload>;
  readonly atMs: number;
}

/** Deadlines that no entry has any more are kept up to so many. */
const staleMax = 1024;

/** Deadlines of acquired entries, in order: none is before one that was set earlier. */
export class DeadlineQueue<Payload> {
  #deadlines: Deadline<Payload>[] = [];
  /** Entries that get theirs at the next {@link due}. */
  #undated: Entry<Payload>[] = [];

  set(entry: Entry<Payload>, atMs: number): void {
    entry.deadlineMs = atMs;
    this.#deadlines.push({ entry, atMs });
  }

  setLater(entry: Entry<Payload>): void {
    entry.deadlineMs = Number.POSITIVE_INFINITY;
    this.#undated.push(entry);
  }

  clear(): void {
    this.#deadlines = [];
    this.#undated = [];
  }

  /**
   * Calls with each entry whose deadline has passed. False: it gets another one, `againMs`, which is not
   * before any that is set. `acquired` bounds how many entries have one.
   */
  due(
    nowMs: number,
    { againMs, acquired }: { readonly againMs: number; readonly acquired: number },
    end: (entry: Entry<Payload>) => boolean,
  ): void {
    let passed = 0;
    for (const deadline of this.#deadlines) {
      const isPast = deadline.atMs <= nowMs;
      if (isCurrent(deadline) && !isPast) break;
      passed++;
      if (isCurrent(deadline) && !end(deadline.entry)) this.set(deadline.entry, againMs);
    }
    this.#deadlines.splice(0, passed);
    // What is settled is not kept in memory by one slow member before it.
    if (this.#deadlines.length > acquired * 2 + staleMax) {
      this.#deadlines = this.#deadlines.filter(isCurrent);
    }
    for (const entry of this.#undated) {
      if (entry.state === 'acquired' && !Number.isFinite(entry.deadlineMs))
        this.set(entry, againMs);
    }
    this.#undated = [];
  }
}

/** Whether the entry still has that deadline. */
function isCurrent<Payload>({ entry, atMs }: Deadline<Payload>): boolean {
  return entry.state === 'acquired' && entry.deadlineMs === atMs;
}
