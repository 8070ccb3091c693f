import { randomInteger, type Random, seededRandom } from '@robustmq/core';
import type { Latency } from '../network/links.ts';

/** Everything that a seed decides about its run. */
export interface Plan {
  readonly seed: number;
  readonly journals: number;
  readonly clients: number;
  /** Placement servers that share a store; one decides. */
  readonly placements: number;
  readonly shards: number;
  readonly replicas: number;
  readonly minInSync: number;
  /** Steps after which there are no more faults, unless nothing has failed over yet. */
  readonly faultySteps: number;
  /** Virtual time in which much of that should happen, in ms: a leader dies early in it. */
  readonly faultyMs: number;
  /** Mean time between two faults, in ms. */
  readonly faultEachMs: number;
  /** Mean time between two appends of a writer, in ms. */
  readonly appendEachMs: number;
  readonly latency: Latency;
  readonly lost: number;
  readonly twice: number;
  /** How long a disk takes for one operation, in ms, at most. */
  readonly diskMs: number;
  readonly segmentMs: number;
  /** Of one file of the journals' logs. */
  readonly logFileBytes: number;
  /** Producers are forgotten after so long without a batch, in ms. */
  readonly producerExpiryMs: number;
  /** Placement's store is gone in the end. */
  readonly losesStore: boolean;
  /** Journals whose disks lie or vanish: fewer than an ack quorum. */
  readonly faultyDisks: number;
  /** Weight of each kind of fault; 0: none of it in this run. */
  readonly weights: Readonly<Record<FaultKind, number>>;
}

export const faultKinds = [
  'kill',
  'power',
  'powerAll',
  'pause',
  'partition',
  'oneWay',
  'clog',
  'restart',
  'placementKill',
  'placementPause',
  'clientKill',
  'failingSync',
  'failingWrite',
  'slowDisk',
  'fullDisk',
  'clockJump',
  'trim',
  'drain',
  'addJournal',
  'removeJournal',
  'oldStore',
  'sealLive',
  'zombie',
  'coldFailover',
  'rotFailover',
  'corrupt',
  'diskLost',
  'tornWrite',
  'lostOrders',
  'forgottenFence',
] as const;

export type FaultKind = (typeof faultKinds)[number];

/** Only with disks that lie, and only there. */
const disksLie: ReadonlySet<FaultKind> = new Set(['corrupt', 'diskLost', 'rotFailover']);

export function planOf(seed: number): Plan {
  const random = seededRandom(seed ^ 0x5eed);
  const among = (from: number, to: number): number => from + randomInteger(random, to - from + 1);
  const journals = pickWeighted(random, [
    [1, 1],
    [2, 2],
    [3, 10],
    [4, 4],
    [5, 3],
  ]);
  const replicas = journals < 3 ? journals : random.next() < 0.85 ? 3 : among(1, journals);
  const lies = replicas >= 3 && random.next() < 0.4;
  const minInSync = lies ? Math.floor(replicas / 2) + 1 : 1;
  const harsh = random.next();
  const forgets = random.next() < 0.03;
  return {
    seed,
    journals,
    clients: among(1, 2),
    placements: random.next() < 0.35 ? 2 : 1,
    shards: among(1, 2),
    replicas,
    minInSync,
    // Most are short: many different ones find more than long ones do.
    faultySteps: random.next() < 0.95 ? among(1_880, 2_050) : among(3_000, 9_000),
    faultyMs: among(2, 6) * 1_000,
    faultEachMs: among(300, 1_500),
    appendEachMs: among(60, 300),
    latency: { fromMs: 0.1, toMs: among(1, 20), slow: random.next() < 0.5 ? 0.02 : 0 },
    lost: random.next() < 0.5 ? harsh * 0.05 : 0,
    twice: random.next() < 0.5 ? harsh * 0.1 : 0,
    diskMs: among(1, 8),
    segmentMs: among(1, 8) * 1_000,
    // Small ones are emptied, and used again, within less than a second.
    logFileBytes: (random.next() < 0.25 ? 12 : 32) * 1_024,
    producerExpiryMs: forgets ? 30_000 : 86_400_000,
    losesStore: !forgets && random.next() < 0.04,
    faultyDisks: lies ? Math.floor(replicas / 2) : 0,
    // A shard that nobody leads for as long would see its retries twice, as with every broker.
    weights: { ...weightsOf(random, lies), ...(forgets && { oldStore: 0 }) },
  };
}

/** Each run has a mix of its own: some kinds often, some not at all. */
function weightsOf(random: Random, lies: boolean): Record<FaultKind, number> {
  const weight = (kind: FaultKind): number => {
    if (disksLie.has(kind) && !lies) return 0;
    return random.next() < 0.5 ? random.next() : 0;
  };
  const entries = faultKinds.map((kind) => [kind, weight(kind)] as const);
  const weights = Object.fromEntries(entries) as Record<FaultKind, number>;
  // A run counts with a failover in it.
  weights.kill += 0.3;
  return weights;
}

function pickWeighted(random: Random, choices: readonly (readonly [number, number])[]): number {
  const total = choices.reduce((sum, [, weight]) => sum + weight, 0);
  let left = random.next() * total;
  for (const [choice, weight] of choices) {
    left -= weight;
    if (left < 0) return choice;
  }
  return choices[0]?.[0] ?? 1;
}
