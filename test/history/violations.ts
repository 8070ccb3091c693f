/** What a history can do wrong. */
export const violationKinds = [
  /** Acknowledged, and not there: a record, a message, a session. */
  'lost',
  /** One record at two offsets, one message twice at QoS 2, one append answered twice. */
  'duplicated',
  /** Not in the order of its writer. */
  'reordered',
  /** Another content at an offset than before, or one that nobody wrote. */
  'changed',
  /** Read, and not there for good: it was not committed, was refused, or was never sent. */
  'uncommitted',
  /** Not behind what was acknowledged before it began. */
  'realTime',
  /** Offsets that a reader is not given, segments that do not meet. */
  'gap',
  /** An append or read that failed or has no answer, though the system promises one. */
  'failed',
] as const;

export type ViolationKind = (typeof violationKinds)[number];

/** Takes what a history says is wrong. */
export interface ViolationSink {
  add(kind: ViolationKind, violation: string): void;
}

const violationsKept = 20;

/** Gathers what was wrong: the first ones in words, all by number. */
export class Violations implements ViolationSink {
  readonly #kept: string[] = [];
  readonly #counts: Partial<Record<ViolationKind, number>> = {};
  #count = 0;

  add(kind: ViolationKind, violation: string): void {
    this.#count++;
    this.#counts[kind] = (this.#counts[kind] ?? 0) + 1;
    if (this.#kept.length < violationsKept) this.#kept.push(`${kind}: ${violation}`);
  }

  get counts(): Readonly<Partial<Record<ViolationKind, number>>> {
    return this.#counts;
  }

  list(): readonly string[] {
    const more = this.#count - this.#kept.length;
    return more > 0 ? [...this.#kept, `and ${more} more`] : this.#kept;
  }
}
