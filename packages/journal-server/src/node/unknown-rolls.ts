import type { Replica } from './replica.ts';

/** How a time without answers was, for the log. */
export interface UnknownTime {
  /** Segments that waited. */
  readonly segments: number;
  readonly ms: number;
}

/** Segments whose rolls have no answer: the log tells when the first waits, and when none does any more. */
export class UnknownRolls {
  readonly #waiting = new Set<Replica>();
  #segments = 0;
  #sinceMs = 0;

  /** True when it is the first. */
  add(replica: Replica, nowMs: number): boolean {
    if (this.#waiting.has(replica)) return false;
    this.#waiting.add(replica);
    const isFirst = this.#waiting.size === 1;
    if (isFirst) this.#sinceMs = nowMs;
    this.#segments = isFirst ? 1 : this.#segments + 1;
    return isFirst;
  }

  /** What to tell when it was the last. */
  delete(replica: Replica, nowMs: number): UnknownTime | undefined {
    if (!this.#waiting.delete(replica) || this.#waiting.size > 0) return undefined;
    return { segments: this.#segments, ms: Math.round(nowMs - this.#sinceMs) };
  }
}
