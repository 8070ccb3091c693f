import type { SimCluster } from '../cluster/sim-cluster.ts';

/** Cuts or slows what lies between one machine and some others. */
export function cutNetwork(
  cluster: SimCluster,
  kind: 'partition' | 'oneWay' | 'clog',
  forMs: number,
): void {
  const { world, network } = cluster;
  const { links } = network;
  const names = cluster.machines();
  const one = world.pick(names);
  if (one === undefined) return;
  const others = names.filter((name) => name !== one && world.chance(0.6));
  const inward = world.chance(0.5);
  for (const other of others) {
    if (kind === 'clog') {
      links.clog(one, other, world.between(50, 1_500));
      if (inward) links.clog(other, one, world.between(50, 1_500));
    } else if (kind === 'partition') {
      links.block(one, other);
      links.block(other, one);
    } else if (inward) links.block(other, one);
    else links.block(one, other);
  }
  world.note(`${kind} ${one} - ${others.join(' ')}`);
  if (kind !== 'clog') network.silenced();
  cluster.later(forMs, () => links.heal(one));
}
