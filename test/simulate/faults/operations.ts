import type { SimCluster } from '../cluster/sim-cluster.ts';
import type { SimJournal } from '../cluster/sim-journal.ts';

export type Operation = 'trim' | 'drain' | 'addJournal' | 'removeJournal' | 'oldStore';

const addedMax = 2;

/** What operators do, rightly or wrongly. */
export function operate(
  cluster: SimCluster,
  kind: Operation,
  victim: SimJournal,
  forMs: number,
): void {
  switch (kind) {
    case 'trim':
      trim(cluster);
      return;
    case 'drain':
      cluster.operator.drain(victim.name);
      cluster.later(forMs, () => cluster.operator.undrain(victim.name));
      return;
    case 'addJournal': {
      if (cluster.added.length >= addedMax) return;
      const journal = cluster.newJournal(false);
      cluster.added.push(journal);
      journal.start();
      return;
    }
    case 'removeJournal':
      remove(cluster, forMs);
      return;
    case 'oldStore': {
      const { placement, world } = cluster;
      const copy = placement.copy();
      cluster.later(world.between(200, 8_000), () => {
        placement.runOldStore(copy);
        cluster.later(forMs / 2, () => placement.endOldStore());
      });
    }
  }
}

/** Lets go of the first half of a shard. */
function trim({ world, histories, operator }: SimCluster): void {
  const history = world.pick(histories);
  if (history === undefined || history.endAcknowledged < 10) return;
  const offset = Math.floor(history.endAcknowledged * world.between(0, 0.7));
  history.trimming(offset);
  operator.trim(history.shardId, offset);
}

/** One that was added goes for good, once nothing needs it. */
function remove({ world, added, journals, operator }: SimCluster, forMs: number): void {
  const [journal] = added;
  if (journal === undefined) return;
  // It ends by itself when it hears that it was removed.
  journal.mayEnd = true;
  operator.drain(journal.name);
  operator.remove(journal.name, world.nowMs + 2 * forMs, (isRemoved) => {
    if (!isRemoved) {
      operator.undrain(journal.name);
      return;
    }
    for (const list of [added, journals]) {
      const at = list.indexOf(journal);
      if (at >= 0) list.splice(at, 1);
    }
    world.note(`${journal.name} was removed`);
    if (journal.process.isAlive) journal.kill();
  });
}
