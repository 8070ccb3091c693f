import { type Fault, type FaultSource, isApart, type Scene } from './fault.ts';
import { faultKinds } from './kinds.ts';

const drawsMax = 50;

/** Draws faults as the seed says, of those that the machine allows. */
export class Deck implements FaultSource {
  readonly #only: string;
  #left: number;

  /** @param only a part of the names of the kinds that are drawn; all by default. */
  constructor(rounds: number, only = '') {
    this.#left = rounds;
    this.#only = only.toLowerCase();
  }

  /** One fault, or two. */
  next(scene: Scene): Fault[] | undefined {
    if (this.#left === 0) return undefined;
    this.#left--;
    const first = this.#one(scene);
    if (scene.random.below(5) > 0) return [first];
    for (let draws = 0; draws < drawsMax; draws++) {
      const second = this.#one(scene);
      if (isApart(first, second)) return [first, second];
    }
    return [first];
  }

  #one(scene: Scene): Fault {
    const { chaos, random } = scene;
    const possible = faultKinds.filter(
      (kind) => kind.missing(chaos) === undefined && kind.name.toLowerCase().includes(this.#only),
    );
    const total = possible.reduce((sum, { weight }) => sum + weight, 0);
    let left = random.below(total);
    for (const kind of possible) {
      left -= kind.weight;
      if (left < 0) return kind.draw(scene);
    }
    throw new Error(`no fault is called "${this.#only}", or none of those is possible here`);
  }
}
