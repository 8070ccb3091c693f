import type { SeededRandom } from '../kill/seeded-random.ts';
import { type Fault, type FaultSource, isApart, type Scene } from './fault.ts';
import { faultKinds } from './kinds.ts';

/** How often each kind is in the hand: eight runs make what issue 3 wants, with something to spare. */
const cards: Readonly<Record<string, number>> = {
  'SIGKILL of a journal': 5,
  'SIGKILL of placement': 1,
  'SIGKILL of a broker': 1,
  'SIGKILL of several roles': 4,
  'SIGKILL of one after the other': 2,
  'SIGSTOP of a journal': 5,
  'SIGSTOP of placement': 1,
  'SIGSTOP of a broker': 1,
  'journal cut off from all': 2,
  'journal heard by nobody': 1,
  'journal that hears nobody': 1,
  'journal cut off from journals': 1,
  'journal heard by no journal': 1,
  'journal cut off from placement': 1,
  'power lost at one': 2,
  'power lost at all': 2,
  'full disk': 4,
  'damaged files': 4,
  'slow syncs': 1,
  'a failed sync': 1,
  'old copy of placement': 1,
  'rebuilt placement': 1,
};
/** Of these each run has some. One that is removed is added first. */
const rare: readonly string[] = [
  'rolling restart',
  'journal cut off from brokers',
  'placement cut off from all',
  'removing a journal',
  'draining a journal',
];
const rareCount = 3;
const triesMax = 10;

/** A fixed number of faults of each kind, in an order of its seed's; the run ends with them. */
export class Hand implements FaultSource {
  readonly #left: string[];
  readonly #random: SeededRandom;

  constructor(random: SeededRandom) {
    this.#random = random;
    const fixed = Object.entries(cards).flatMap(([name, count]) => {
      return Array.from({ length: count }, () => name);
    });
    this.#left = this.#shuffled([...fixed, ...this.#shuffled(rare).slice(0, rareCount)]);
  }

  /** One fault, or some at once that harm different roles. */
  next(scene: Scene): Fault[] | undefined {
    const faults: Fault[] = [];
    // A lone fault tells how long it keeps writers waiting, so half of them are.
    const wanted = [1, 1, 2, 3][this.#random.below(4)] ?? 1;
    while (faults.length < wanted) {
      const fault = this.#another(scene, faults);
      if (fault === undefined) break;
      faults.push(fault);
    }
    return faults.length > 0 ? faults : undefined;
  }

  /** The next card; it stays in the hand when it cannot be played beside `others`. */
  #another(scene: Scene, others: readonly Fault[]): Fault | undefined {
    for (;;) {
      const name = this.#left.at(-1);
      if (name === undefined) return undefined;
      const kind = faultKinds.find((each) => each.name === name);
      if (kind === undefined) throw new Error(`there is no fault "${name}"`);
      if (kind.missing(scene.chaos) === undefined) {
        for (let tries = 0; tries < triesMax; tries++) {
          const fault = kind.draw(scene);
          if (!others.every((other) => isApart(other, fault))) continue;
          this.#left.pop();
          return fault;
        }
        return undefined;
      }
      this.#left.pop();
      // Some faults later it can be done.
      if (name === 'removing a journal') {
        this.#left.unshift(name);
        this.#left.push('adding a journal');
      }
    }
  }

  #shuffled(names: readonly string[]): string[] {
    const left = [...names];
    return names.map(() => left.splice(this.#random.below(left.length), 1)[0] ?? '');
  }
}
