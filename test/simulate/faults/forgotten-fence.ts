import type { SimCluster } from '../cluster/sim-cluster.ts';
import type { SimJournal } from '../cluster/sim-journal.ts';

const soonMs = 300;

/**
 * A leader that nobody reaches but one broker is sealed without it. One of its followers is not told the end,
 * goes on with other segments until its log is emptied, and is started anew; then it is the first that the
 * leader reaches again.
 */
export function forgottenFence(cluster: SimCluster, leader: SimJournal): void {
  const { world, network, placement } = cluster;
  const { links } = network;
  const others = cluster.journals.filter((journal) => journal !== leader);
  const follower = world.pick(others);
  if (follower === undefined) return;
  const cut = [leader.name, ...cluster.brokers.slice(0, 1).map(({ process }) => process.name)];
  const block = (one: string, other: string): void => {
    links.block(one, other);
    links.block(other, one);
  };
  for (const { process } of placement.servers) {
    for (const name of cut) block(name, process.name);
  }
  for (const { name } of others) block(leader.name, name);
  network.silenced();
  const untold = [follower.name];
  network.losing('SealNotify', untold);
  for (const { shardId } of cluster.ledBy(leader.name)) cluster.operator.seal(shardId);
  const againMs = world.between(200, 2_000);
  cluster.later(againMs, () => {
    if (!follower.process.isAlive) return;
    network.losing('Fence', untold);
    if (world.chance(0.5)) follower.kill();
    else follower.losePower();
    cluster.later(world.between(0, soonMs), () => cluster.revive(follower));
  });
  cluster.later(againMs + world.between(0, soonMs), () => {
    links.unblock(leader.name, follower.name);
    links.unblock(follower.name, leader.name);
  });
  cluster.later(againMs + world.between(soonMs, 10 * soonMs), () => {
    for (const name of cut) links.heal(name);
    network.arriving('SealNotify', untold);
    network.arriving('Fence', untold);
  });
}
