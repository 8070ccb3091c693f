import type { SimCluster } from '../cluster/sim-cluster.ts';
import type { SimJournal } from '../cluster/sim-journal.ts';
import type { SimProcess } from '../world/sim-process.ts';

export type ProcessFault =
  | 'kill'
  | 'power'
  | 'powerAll'
  | 'pause'
  | 'restart'
  | 'tornWrite'
  | 'placementKill'
  | 'placementPause'
  | 'clientKill'
  | 'clockJump';

const clockJumpMs = 3_600_000;

/** Ends, stops or confuses processes for a while. */
export function endProcesses(
  cluster: SimCluster,
  kind: ProcessFault,
  victim: SimJournal,
  forMs: number,
): void {
  const { world } = cluster;
  const placement = world.pick(cluster.placement.servers);
  if (placement === undefined) return;
  switch (kind) {
    case 'kill':
    case 'power':
      if (!victim.process.isAlive) return;
      if (kind === 'kill') victim.kill();
      else victim.losePower();
      // Often it is back at once, as with a supervisor.
      cluster.later(world.chance(0.5) ? world.between(0, 300) : forMs, () =>
        cluster.revive(victim),
      );
      return;
    case 'tornWrite':
      victim.onTornWrite = () => cluster.later(world.between(0, 300), () => cluster.revive(victim));
      return;
    case 'powerAll':
      for (const journal of cluster.journals) {
        if (journal.process.isAlive) journal.losePower();
        cluster.later(world.between(0, 2_000), () => cluster.revive(journal));
      }
      return;
    case 'restart':
      victim.terminate();
      cluster.later(forMs, () => {
        if (victim.process.isAlive) victim.kill();
        cluster.revive(victim);
      });
      return;
    case 'pause':
      pause(cluster, victim.process, forMs);
      return;
    case 'placementPause':
      pause(cluster, placement.process, forMs);
      return;
    case 'placementKill':
      if (!placement.process.isAlive) return;
      placement.kill();
      cluster.later(forMs, () => cluster.placement.revive());
      return;
    case 'clientKill': {
      const broker = world.pick(cluster.brokers);
      if (broker !== undefined) cluster.killBroker(broker);
      cluster.later(forMs, () => cluster.reviveBrokers());
      return;
    }
    case 'clockJump':
      victim.process.skewMs = world.between(-clockJumpMs, clockJumpMs);
  }
}

function pause(cluster: SimCluster, process: SimProcess, forMs: number): void {
  if (!process.isAlive || process.isPaused) return;
  const { life } = process;
  process.pause();
  cluster.network.silenced();
  cluster.later(forMs, () => {
    if (process.isAlive && process.life === life) process.resume();
  });
}
