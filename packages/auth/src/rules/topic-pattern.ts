/** What is wrong with the filter of a rule; undefined: nothing. */
export function filterProblem(filter: string): string | undefined {
  if (filter === '') return 'it is empty';
  if (filter.includes('\0')) return 'it contains U+0000';
  if (Buffer.byteLength(filter) > 65_535) return 'it is longer than 65,535 bytes';
  const levels = filter.split('/');
  for (const [at, level] of levels.entries()) {
    if (level.includes('#') && (level !== '#' || at < levels.length - 1)) {
      return "'#' has to be the whole last level";
    }
    if (level.includes('+') && level !== '+') return "'+' has to be a whole level";
  }
  return undefined;
}

/** A topic filter of a rule, ready for comparisons with names and other filters. */
export class TopicPattern {
  readonly filter: string;
  /** Only this filter or name itself. */
  readonly exact: boolean;
  readonly #levels: readonly string[];

  /** Expects a valid filter without placeholders. */
  constructor(filter: string, exact: boolean) {
    this.filter = filter;
    this.exact = exact;
    this.#levels = filter.split('/');
  }

  /** Whether the topic `name` is one of its. [MQTT5-4.7.1-1, -4.7.1-2, -4.7.2-1] */
  matches(name: string): boolean {
    if (this.exact) return this.filter === name;
    // A name is a filter that matches itself alone.
    return this.covers(name);
  }

  /** Whether every name that `filter` matches is one of its. */
  covers(filter: string): boolean {
    if (this.filter === filter) return true;
    if (this.exact) return false;
    const own = this.#levels;
    const other = filter.split('/');
    if (other[0]?.startsWith('$') === true && isWild(own[0])) return false;
    for (const [at, level] of own.entries()) {
      // It matches the level above, too, so the other may end here.
      if (level === '#') return true;
      const wanted = other[at];
      if (wanted === undefined || wanted === '#') return false;
      if (level !== '+' && level !== wanted) return false;
    }
    return own.length === other.length;
  }

  /** Whether some name is matched by both. */
  overlaps(filter: string): boolean {
    if (this.exact)
      return this.filter === filter || new TopicPattern(filter, false).matches(this.filter);
    const own = this.#levels;
    const other = filter.split('/');
    const [first = ''] = own;
    const [otherFirst = ''] = other;
    if (first.startsWith('$') && isWild(otherFirst)) return false;
    if (otherFirst.startsWith('$') && isWild(first)) return false;
    const length = Math.max(own.length, other.length);
    for (let at = 0; at < length; at++) {
      const level = own[at];
      const wanted = other[at];
      if (level === '#' || wanted === '#') return true;
      if (level === undefined || wanted === undefined) return false;
      if (level !== '+' && wanted !== '+' && level !== wanted) return false;
    }
    return true;
  }
}

function isWild(level: string | undefined): boolean {
  return level === '+' || level === '#';
}
