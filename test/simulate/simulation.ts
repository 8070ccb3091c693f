import { SimCluster } from './cluster/sim-cluster.ts';
import { Nemesis } from './faults/nemesis.ts';
import { planOf } from './world/plan.ts';
import { onLoop } from './world/turns.ts';
import { World } from './world/world.ts';

/** Steps that one phase may take before it counts as endless. */
const stepsMax = 200_000;
/** Virtual time with faults, at most: in some runs little happens. */
const faultyMsMax = 30_000;
/** Virtual time after healing within which everything has to be answered. */
const healedMs = 60_000;
const dayMs = 86_400_000;
/** Longer than a sweep for idle producers takes to come. */
const graceMs = 3_000;

export interface SeedResult {
  readonly seed: number;
  readonly steps: number;
  readonly acknowledged: number;
  readonly failovers: number;
  readonly virtualMs: number;
  /** The same for each run of a seed. */
  readonly hash: number;
  /**
   * More has happened than can be borne: disks that lie had all copies of a segment (some seals leave so few
   * while journals are away), or two placements have decided for journals that never met.
   */
  readonly isBeyond: boolean;
  readonly violations: readonly string[];
  readonly faults: Readonly<Record<string, number>>;
}

/**
 * Runs one seed: a cluster of the shipped servers on virtual time, network and disks; faults for a while,
 * then none; then everything that was acknowledged is read back.
 */
export async function simulate(seed: number, trace?: (line: string) => void): Promise<SeedResult> {
  const plan = planOf(seed);
  const world = new World(seed, trace);
  world.explain(() => JSON.stringify(plan));
  const onBug = (thrown: unknown): void => {
    const error = thrown instanceof Error ? (thrown.stack ?? thrown.message) : String(thrown);
    world.violate(`nothing caught: ${error}`);
  };
  process.on('uncaughtException', onBug);
  process.on('unhandledRejection', onBug);
  try {
    const cluster = new SimCluster(world, plan);
    await cluster.start();
    const nemesis = new Nemesis(cluster);
    const failing = (): boolean => world.violations.length > 0;
    nemesis.start();
    const isEnough = (): boolean =>
      world.steps >= plan.faultySteps && cluster.network.failovers > 0;
    const isOver = (): boolean => failing() || isEnough();
    await world.run({ ms: world.nowMs + faultyMsMax, steps: stepsMax, isOver });
    nemesis.stop();
    cluster.heal();
    for (const producer of cluster.producers) producer.stop();
    if (!failing()) await conclude(cluster);
    // What is rejected last and handled by nobody is told in the next turn.
    await onLoop(() => undefined);
    return {
      seed,
      steps: world.steps,
      acknowledged: cluster.acknowledged,
      failovers: cluster.network.failovers,
      virtualMs: world.nowMs,
      hash: world.hash,
      isBeyond: isBeyond(cluster),
      violations: isBeyond(cluster) ? [] : world.violations,
      faults: Object.fromEntries(nemesis.counts),
    };
  } finally {
    process.off('uncaughtException', onBug);
    process.off('unhandledRejection', onBug);
  }
}

/** After healing everything is answered, and everything that was acknowledged is there. */
async function conclude(cluster: SimCluster): Promise<void> {
  const { world, histories } = cluster;
  const failing = (): boolean => world.violations.length > 0;
  const answered = (): Promise<void> => {
    const deadline = { ms: world.nowMs + healedMs, steps: world.steps + stepsMax };
    return world.run({ ...deadline, isOver: () => failing() || cluster.waiting === 0 });
  };
  await answered();
  if (failing()) return;
  if (cluster.waiting > 0 && !isBeyond(cluster)) {
    cluster.giveUp();
    await answered();
    if (failing()) return;
  }
  if (isBeyond(cluster)) return;
  if (cluster.waiting > 0) {
    const stuck = cluster.producers.filter(({ waiting }) => waiting > 0).map(({ name }) => name);
    world.violate(
      `STUCK: ${stuck.join(', ')} wait for answers ${healedMs} ms after all was healed`,
    );
    return;
  }
  if (cluster.plan.producerExpiryMs < dayMs) await afterExpiry(cluster, failing);
  const reader = cluster.newReader();
  reader.start();
  const isRead = (): boolean =>
    histories.every(({ shardId, endSeen }) => (reader.tailed.get(shardId) ?? 0) >= endSeen);
  const readBy = { ms: world.nowMs + healedMs, steps: world.steps + stepsMax };
  await world.run({ ...readBy, isOver: () => failing() || isRead() });
  if (isBeyond(cluster)) return;
  for (const history of histories) {
    const end = reader.tailed.get(history.shardId) ?? 0;
    history.conclude(history.trimMax, end);
  }
}

/** All producers are idle until journals have forgotten them, and then go on where they were. */
async function afterExpiry(cluster: SimCluster, failing: () => boolean): Promise<void> {
  const { world, plan, producers } = cluster;
  const steps = world.steps + stepsMax;
  await world.run({ ms: world.nowMs + plan.producerExpiryMs + graceMs, steps, isOver: failing });
  for (const producer of producers) producer.goOn();
  await world.run({ ms: world.nowMs + graceMs, steps, isOver: failing });
  for (const producer of producers) producer.stop();
  const isOver = (): boolean => failing() || cluster.waiting === 0;
  await world.run({ ms: world.nowMs + healedMs, steps, isOver });
  if (!isOver()) world.violate('STUCK: nobody answers producers that were forgotten');
}

function isBeyond({ plan, world, placement }: SimCluster): boolean {
  const isForked = world.isForked && placement.hasRunOldStore;
  return isForked || (plan.faultyDisks > 0 && world.losesLast);
}
