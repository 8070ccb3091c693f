import type { ChaosCluster } from '../cluster/chaos-cluster.ts';
import { diskFaults } from './disk-faults.ts';
import type { Fault, FaultKind, Scene } from './fault.ts';
import { membershipFaults } from './membership-faults.ts';
import { oldCopyFault } from './old-copy-fault.ts';
import { partitionFaults } from './partition-faults.ts';
import { processFaults } from './process-faults.ts';

const kinds: readonly FaultKind[] = [
  ...processFaults,
  ...partitionFaults,
  ...diskFaults,
  ...membershipFaults,
  oldCopyFault,
];
const drawsMax = 50;

/** Draws faults as the seed says, of those that the machine allows. */
export class Deck {
  readonly #only: string | undefined;

  /** @param only a part of the names of the kinds that are drawn; all by default. */
  constructor(only?: string) {
    this.#only = only;
  }

  /** What cannot be done, with the reason. */
  missing(chaos: ChaosCluster): string[] {
    return kinds.flatMap((kind) => {
      const reason = kind.missing(chaos);
      return reason === undefined ? [] : [`${kind.name}: ${reason}`];
    });
  }

  /** One fault, or two that harm different roles. */
  draw(scene: Scene): Fault[] {
    const first = this.#one(scene);
    if (scene.random.below(5) > 0) return [first];
    for (let draws = 0; draws < drawsMax; draws++) {
      const second = this.#one(scene);
      const isApart = second.victims.every((victim) => !first.victims.includes(victim));
      // Two that add a journal would be one too many.
      if (isApart && second.kind !== first.kind) return [first, second];
    }
    return [first];
  }

  #one(scene: Scene): Fault {
    const { chaos, random } = scene;
    const only = this.#only?.toLowerCase() ?? '';
    const possible = kinds.filter(
      (kind) => kind.missing(chaos) === undefined && kind.name.toLowerCase().includes(only),
    );
    const total = possible.reduce((sum, { weight }) => sum + weight, 0);
    let left = random.below(total);
    for (const kind of possible) {
      left -= kind.weight;
      if (left < 0) return kind.draw(scene);
    }
    throw new Error(`no fault is called "${only}", or none of those is possible here`);
  }
}
