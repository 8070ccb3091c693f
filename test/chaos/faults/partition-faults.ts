import type { ChaosCluster } from '../cluster/chaos-cluster.ts';
import type { Fault, FaultKind, Scene } from './fault.ts';

const lastsMsMax = 8_000;
type Link = readonly [from: string, to: string];

function both(one: string, others: readonly string[]): Link[] {
  return others.flatMap((other) => [[one, other] as const, [other, one] as const]);
}

/** Packets on these links are dropped. */
function partition(scene: Scene, kind: string, victim: string, links: readonly Link[]): Fault {
  const { chaos, random } = scene;
  const holdMs = 1_000 + random.below(lastsMsMax);
  const { network } = chaos;
  if (network === undefined) throw new Error('a partition needs a network');
  return {
    kind,
    what: `${kind}: ${victim} for ${holdMs} ms`,
    counts: { partition: 1 },
    victims: [victim],
    holdMs,
    begin: async () => {
      await Promise.all(links.map(([from, to]) => network.cut(from, to)));
    },
    end: async () => {
      await Promise.all(links.map(([from, to]) => network.heal(from, to)));
    },
  };
}

function drawn(
  name: string,
  weight: number,
  linksOf: (victim: string, chaos: ChaosCluster) => Link[],
): FaultKind {
  return {
    name,
    weight,
    missing: (chaos) => chaos.missing.network,
    draw: (scene) => {
      const victim = scene.random.pick(scene.chaos.journals);
      return partition(scene, name, victim, linksOf(victim, scene.chaos));
    },
  };
}

function others(victim: string, names: readonly string[]): string[] {
  return names.filter((name) => name !== victim);
}

export const partitionFaults: readonly FaultKind[] = [
  drawn('journal cut off from all', 3, (victim, { names }) => both(victim, others(victim, names))),
  drawn('journal heard by nobody', 1, (victim, { names }) =>
    others(victim, names).map((other) => [victim, other] as const),
  ),
  drawn('journal that hears nobody', 1, (victim, { names }) =>
    others(victim, names).map((other) => [other, victim] as const),
  ),
  drawn('journal cut off from journals', 2, (victim, { journals }) =>
    both(victim, others(victim, journals)),
  ),
  drawn('journal heard by no journal', 1, (victim, { journals }) =>
    others(victim, journals).map((other) => [victim, other] as const),
  ),
  drawn('journal cut off from placement', 2, (victim) => both(victim, ['placement'])),
  drawn('journal cut off from brokers', 1, (victim, { brokers }) => both(victim, brokers)),
  {
    name: 'placement cut off from all',
    weight: 1,
    missing: (chaos) => chaos.missing.network,
    draw: (scene) => {
      const { names } = scene.chaos;
      const links = both('placement', others('placement', names));
      return partition(scene, 'placement cut off from all', 'placement', links);
    },
  },
];
