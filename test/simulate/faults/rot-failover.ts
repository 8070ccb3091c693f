import type { SimCluster } from '../cluster/sim-cluster.ts';
import type { SimJournal } from '../cluster/sim-journal.ts';

const soonMs = 300;
const lookEachMs = 25;
const looksMax = 16;

/** When the follower loses something: with its leader, once it was fenced, or while its log goes on without. */
const moments = ['at once', 'when fenced', 'unfenced'] as const;

/**
 * A follower has the records, the others lag, the leader goes, and then a disk that lies loses what the
 * follower has.
 */
export function rotFailover(cluster: SimCluster, chosen: SimJournal, forMs: number): void {
  const { world, network, placement } = cluster;
  const { links } = network;
  const leaders = cluster.journals.filter(({ name, diskLies }) => !diskLies && cluster.leads(name));
  const leader = world.pick(leaders) ?? chosen;
  const others = cluster.journals.filter((journal) => journal !== leader);
  const follower =
    others.find(({ diskLies }) => diskLies) ?? (leader.diskLies ? leader : undefined);
  if (follower === undefined) return;
  const lagging = others.filter((journal) => journal !== follower);
  for (const { name } of lagging) {
    if (world.chance(0.7)) links.block(leader.name, name);
    else links.clog(leader.name, name, world.between(200, 1_500));
  }
  network.silenced();
  const moment = leader === follower ? 'at once' : world.pick(moments);
  const led = new Set(cluster.ledBy(leader.name).map(({ segmentId }) => segmentId.toString('hex')));
  const lose = (): void => {
    network.arriving('Fence', [follower.name]);
    if (follower.process.isAlive) follower.losePower();
    if (world.chance(0.8)) follower.rotLog(led);
    else follower.replaceDisk();
    cluster.later(world.between(0, soonMs), () => cluster.revive(follower));
  };
  const strike = (): void => {
    world.note(`${follower.name} loses something ${moment}`);
    if (moment === 'unfenced') network.losing('Fence', [follower.name]);
    if (leader !== follower && leader.process.isAlive) {
      if (world.chance(0.7)) leader.kill();
      else leader.losePower();
    }
    cluster.later(forMs, () => cluster.revive(leader));
    cluster.later(world.between(0.5, 1) * forMs, () => {
      for (const { name } of lagging) links.heal(name);
    });
    if (moment === 'when fenced') {
      // The seal waits for one more answer.
      for (const { process } of placement.servers) {
        for (const { name } of lagging) links.block(process.name, name);
      }
    }
    if (moment === 'at once') lose();
    else cluster.later(world.between(50, 600), lose);
  };
  const strikeWhenExposed = (triesLeft: number): void => {
    if (triesLeft === 0 || follower.exposes(led)) strike();
    else cluster.later(lookEachMs, () => strikeWhenExposed(triesLeft - 1));
  };
  cluster.later(world.between(50, 500), () => strikeWhenExposed(looksMax));
}
