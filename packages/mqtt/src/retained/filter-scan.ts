/** The character behind `/`: what begins with `a/` ends before `a0`. */
const behindSlash = '0';
/** The character behind `$`. */
const behindDollar = '%';

/**
 * A topic filter over names in the order of their UTF-16 code units: says of any name whether it
 * matches, and otherwise from where on the next match can be. So a search looks at what matches and
 * at one or two names for each level that `+` stands for, and jumps over all others. Filters and names
 * are legal.
 */
export class FilterScan {
  readonly #levels: readonly string[];
  /** For each level that is no wildcard: it and what follows, up to the next wildcard. */
  readonly #literals: readonly string[];

  constructor(filter: string) {
    this.#levels = filter.split('/');
    this.#literals = literalsOf(this.#levels);
  }

  /** No match is before it. */
  get first(): string {
    return this.#literals[0] ?? '';
  }

  /**
   * The first name at or behind `name` that may match: `name` itself if it does; undefined: nothing
   * behind it does. [MQTT5-4.7.1-1, -4.7.1-2, -4.7.2-1]
   */
  candidate(name: string): string | undefined {
    const levels = this.#levels;
    const isWild = levels[0] === '+' || levels[0] === '#';
    // A wildcard in the first level does not match names that begin with `$`. [MQTT5-4.7.2-1]
    if (isWild && name.startsWith('$')) return behindDollar;
    let start = 0;
    let plusEnd = -1;
    for (const [index, level] of levels.entries()) {
      if (level === '#') return name;
      const slash = name.indexOf('/', start);
      const end = slash < 0 ? name.length : slash;
      if (level === '+') plusEnd = end;
      else if (end - start !== level.length || !name.startsWith(level, start)) {
        return this.#literalBehind(name, index, start) ?? behindPlus(name, plusEnd);
      }
      const isLast = index === levels.length - 1;
      if (slash >= 0) {
        if (isLast) return behindPlus(name, plusEnd);
        start = slash + 1;
        continue;
      }
      // `#` matches its parent level, too.
      if (isLast || levels[index + 1] === '#') return name;
      // Other names that `+` stands for may come before those below this one.
      return level === '+' ? `${name}\0` : `${name}/${this.#literals[index + 1] ?? ''}`;
    }
    return undefined;
  }

  /** Where names go on as the filter wants in `index`, below what the name has before `start`. */
  #literalBehind(name: string, index: number, start: number): string | undefined {
    const wanted = name.slice(0, start) + (this.#literals[index] ?? '');
    if (wanted > name) return wanted;
    // Before a `#` both are wanted, and names may stand between the two.
    const levels = this.#levels;
    const below = `${wanted}/`;
    const isParent = levels.at(-1) === '#' && !levels.includes('+', index);
    return isParent && below > name ? below : undefined;
  }
}

/** Behind everything below the level that the last `+` stands for; without one nothing is left. */
function behindPlus(name: string, plusEnd: number): string | undefined {
  return plusEnd < 0 ? undefined : name.slice(0, plusEnd) + behindSlash;
}

function literalsOf(levels: readonly string[]): string[] {
  const literals: string[] = [];
  for (let index = levels.length - 1; index >= 0; index--) {
    const level = levels[index] ?? '';
    const next = levels[index + 1];
    if (level === '+' || level === '#') literals[index] = '';
    else if (next === undefined || next === '#') literals[index] = level;
    else literals[index] = `${level}/${literals[index + 1] ?? ''}`;
  }
  return literals;
}
