/** Names that stand in one array; twice as many are cut in two. */
const runNames = 256;

/**
 * Names in the order of their UTF-16 code units, in runs, so that adding and removing one moves few
 * others. All names that begin alike stand together.
 */
export class NameList {
  /** None is empty; the first name of each is behind all of the run before. */
  readonly #runs: string[][] = [];
  #size = 0;

  get size(): number {
    return this.#size;
  }

  /** Adds a name, unless it is there. */
  add(name: string): void {
    const index = Math.max(0, this.#runOf(name));
    const run = this.#runs[index];
    if (run === undefined) {
      this.#runs.push([name]);
      this.#size++;
      return;
    }
    const at = firstFrom(run, name);
    if (run[at] === name) return;
    run.splice(at, 0, name);
    this.#size++;
    if (run.length > 2 * runNames) this.#runs.splice(index + 1, 0, run.splice(runNames));
  }

  /** Removes a name, if it is there. */
  delete(name: string): void {
    const index = this.#runOf(name);
    const run = this.#runs[index];
    if (run === undefined) return;
    const at = firstFrom(run, name);
    if (run[at] !== name) return;
    run.splice(at, 1);
    this.#size--;
    if (run.length === 0) this.#runs.splice(index, 1);
  }

  /** A walk from the first name at or behind `from` on. Good until the list changes. */
  walk(from: string): NameWalk {
    return new NameWalk(this.#runs, (name) => this.#runOf(name), from);
  }

  /** The last run that begins at or before `name`; -1: there is none. */
  #runOf(name: string): number {
    let low = 0;
    let high = this.#runs.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      const first = this.#runs[middle]?.[0];
      if (first !== undefined && first <= name) low = middle + 1;
      else high = middle;
    }
    return low - 1;
  }
}

/** Stands on a name of a list. */
export class NameWalk {
  readonly #runs: readonly (readonly string[])[];
  readonly #runOf: (name: string) => number;
  #run = 0;
  #at = 0;

  constructor(runs: readonly (readonly string[])[], runOf: (name: string) => number, from: string) {
    this.#runs = runs;
    this.#runOf = runOf;
    this.seek(from);
  }

  /** The name on which it stands; undefined: behind the last. */
  get name(): string | undefined {
    return this.#runs[this.#run]?.[this.#at];
  }

  /** To the next name. */
  next(): void {
    this.#at++;
    this.#skipEnd();
  }

  /** To the first name at or behind `from`, which is a look-up, not a walk. */
  seek(from: string): void {
    this.#run = Math.max(0, this.#runOf(from));
    this.#at = firstFrom(this.#runs[this.#run] ?? [], from);
    this.#skipEnd();
  }

  #skipEnd(): void {
    const run = this.#runs[this.#run];
    if (run === undefined || this.#at < run.length) return;
    this.#run++;
    this.#at = 0;
  }
}

/** Index of the first name at or behind `name`. */
function firstFrom(run: readonly string[], name: string): number {
  let low = 0;
  let high = run.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    const other = run[middle];
    if (other !== undefined && other < name) low = middle + 1;
    else high = middle;
  }
  return low;
}
