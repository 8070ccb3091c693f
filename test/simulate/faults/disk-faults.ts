import type { SimCluster } from '../cluster/sim-cluster.ts';
import type { SimJournal } from '../cluster/sim-journal.ts';

export type DiskFault = 'failingSync' | 'failingWrite' | 'slowDisk' | 'fullDisk';

/** A disk that fails honestly. */
export function brokenDisk(
  cluster: SimCluster,
  kind: DiskFault,
  victim: SimJournal,
  forMs: number,
): void {
  const { world } = cluster;
  const { disk } = victim;
  world.note(`${kind} at ${victim.name}`);
  switch (kind) {
    case 'failingSync':
    case 'failingWrite':
      victim.mayEnd = true;
      if (kind === 'failingSync') disk.faults.failingSyncs = 1;
      else disk.faults.failingWrites = 1;
      cluster.later(forMs, () => {
        disk.faults.failingSyncs = 0;
        disk.faults.failingWrites = 0;
        cluster.revive(victim);
      });
      return;
    case 'slowDisk': {
      const usual = victim.diskMs;
      victim.diskMs = world.between(50, 1_000);
      cluster.later(forMs, () => {
        victim.diskMs = usual;
      });
      return;
    }
    case 'fullDisk': {
      const usual = disk.capacityBytes;
      disk.capacityBytes = disk.usedBytes + Math.floor(world.between(0, 48 * 1024));
      cluster.later(forMs, () => {
        disk.capacityBytes = usual;
      });
    }
  }
}

/** A disk that lies or vanishes: one of the few that may. */
export function lyingDisk(cluster: SimCluster, kind: 'corrupt' | 'diskLost', forMs: number): void {
  const { world } = cluster;
  const victim = world.pick(cluster.journals.filter(({ diskLies }) => diskLies));
  if (victim === undefined) return;
  if (kind === 'corrupt') {
    if (world.chance(0.5) && victim.process.isAlive) victim.kill();
    if (world.chance(0.7)) victim.rot();
    else victim.misdirect();
  } else {
    if (victim.process.isAlive) victim.kill();
    victim.replaceDisk();
  }
  cluster.later(forMs, () => cluster.revive(victim));
}
