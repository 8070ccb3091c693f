import type { SimCluster } from '../cluster/sim-cluster.ts';
import type { SimJournal } from '../cluster/sim-journal.ts';
import { forgottenFence } from './forgotten-fence.ts';
import { lostOrders } from './lost-orders.ts';
import { rotFailover } from './rot-failover.ts';

export type FailoverFault =
  | 'sealLive'
  | 'zombie'
  | 'coldFailover'
  | 'rotFailover'
  | 'lostOrders'
  | 'forgottenFence';

const soonMs = 300;

/** Failovers at the worst moment, which faults that know nothing of each other seldom hit. */
export function failOver(
  cluster: SimCluster,
  kind: FailoverFault,
  leader: SimJournal,
  forMs: number,
): void {
  const { world } = cluster;
  const others = cluster.journals.filter((journal) => journal !== leader);
  const one = world.pick(others);
  switch (kind) {
    case 'sealLive':
      sealLive(cluster, one);
      return;
    case 'zombie':
      zombie(cluster, leader, others, forMs);
      return;
    case 'coldFailover':
      // Everybody loses what was not synced, and the leader is not there when the others seal.
      for (const journal of cluster.journals) {
        if (journal.process.isAlive) journal.losePower();
        const awayMs = journal === leader ? forMs : world.between(0, soonMs);
        cluster.later(awayMs, () => cluster.revive(journal));
      }
      return;
    case 'rotFailover':
      rotFailover(cluster, leader, forMs);
      return;
    case 'lostOrders':
      lostOrders(cluster, forMs);
      return;
    case 'forgottenFence':
      forgottenFence(cluster, leader);
  }
}

/** A segment that is written to ends by order, while the fence takes its time to one of its replicas. */
function sealLive(cluster: SimCluster, slow: SimJournal | undefined): void {
  const { world, network, placement } = cluster;
  if (slow !== undefined) {
    for (const { process } of placement.servers) {
      network.links.clog(process.name, slow.name, world.between(50, 1_500));
    }
    cluster.later(world.between(500, 3_000), () => network.links.heal(slow.name));
  }
  cluster.sealAll();
}

/**
 * A leader that placement does not reach goes on while its segments are sealed without it, alone or with
 * followers, and with a broker that hears nothing of it either.
 */
function zombie(
  cluster: SimCluster,
  leader: SimJournal,
  others: readonly SimJournal[],
  forMs: number,
): void {
  const { world, network, placement } = cluster;
  const { links } = network;
  const cut = [leader.name];
  const from = placement.servers.map(({ process }) => process.name);
  const [broker] = cluster.brokers;
  if (broker !== undefined && world.chance(0.7)) cut.push(broker.process.name);
  const isAlone = world.chance(0.5);
  for (const name of cut) {
    for (const server of from) {
      links.block(name, server);
      links.block(server, name);
    }
  }
  if (isAlone) {
    for (const { name } of others) {
      links.block(leader.name, name);
      if (world.chance(0.5)) links.block(name, leader.name);
    }
  }
  network.silenced();
  cluster.sealAll();
  const restarted = world.pick(others);
  if (!isAlone && restarted !== undefined) forgetful(cluster, restarted, from, forMs);
  const untilMs = world.chance(0.5) ? world.between(100, 700) : forMs;
  cluster.later(untilMs, () => {
    for (const name of cut) links.heal(name);
  });
}

/** A follower is started anew between its answer to the fence and the notice of the end. */
function forgetful(
  cluster: SimCluster,
  follower: SimJournal,
  placement: readonly string[],
  forMs: number,
): void {
  const { world, network } = cluster;
  cluster.later(world.between(2, 40), () => {
    for (const server of placement) network.links.block(server, follower.name);
    cluster.later(forMs, () => network.links.heal(follower.name));
  });
  cluster.later(world.between(10, 120), () => {
    if (!follower.process.isAlive) return;
    if (world.chance(0.5)) follower.kill();
    else follower.losePower();
    cluster.later(world.between(0, soonMs), () => cluster.revive(follower));
  });
}
