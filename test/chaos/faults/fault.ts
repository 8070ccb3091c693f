import type { PlacementClient } from '@robustmq/placement-client';

import type { ViolationSink } from '../../history/violations.ts';
import type { ChaosCluster } from '../cluster/chaos-cluster.ts';
import type { SeededRandom } from '../kill/seeded-random.ts';

/** What is counted in the ledger. */
export type CountedKind =
  | 'sigkill'
  | 'sigstop'
  | 'partition'
  | 'powerLoss'
  | 'corruption'
  | 'fullDisk'
  | 'slowSync'
  | 'failedSync'
  | 'rollingRestart'
  | 'journalAdded'
  | 'journalDrained'
  | 'journalRemoved'
  | 'oldPlacement'
  | 'placementRebuilt'
  | 'placementAwayMinutes';

/** One thing that is done to the cluster, and undone. */
export interface Fault {
  /** What outages are gathered by. */
  readonly kind: string;
  /** In words, for the plan. */
  readonly what: string;
  /** Final after the end. */
  readonly counts: Partial<Record<CountedKind, number>>;
  /** The roles that it harms: no other fault touches them meanwhile. */
  readonly victims: readonly string[];
  /** How long it lasts, ms. */
  readonly holdMs: number;
  begin(): Promise<void>;
  /** Everything runs and reaches everything else afterwards. */
  end(): Promise<void>;
}

export interface Scene {
  readonly chaos: ChaosCluster;
  /** For orders to placement, as an operator gives them. */
  readonly placement: PlacementClient;
  readonly random: SeededRandom;
  /** The one journal whose files may be damaged: no record loses more than one copy to that. */
  readonly corruptible: string;
  /** Resolves when every shard has acknowledged more than it has now; rejects when that takes too long. */
  readonly progress: () => Promise<void>;
  /** Takes what a fault finds to be wrong. */
  readonly violations: ViolationSink;
  /** Says what was done, where that shows only then. */
  readonly log: (line: string) => void;
}

/** A kind of fault. */
export interface FaultKind {
  readonly name: string;
  /** How often it is drawn, against the others. */
  readonly weight: number;
  /** Why it cannot be done in this cluster. */
  missing(chaos: ChaosCluster): string | undefined;
  draw(scene: Scene): Fault;
}

/** Where a run's faults come from. */
export interface FaultSource {
  /** The faults of the next round, which harm different roles; undefined when it was the last. */
  next(scene: Scene): readonly Fault[] | undefined;
}

/** Whether two faults may be under way at once. */
export function isApart(one: Fault, other: Fault): boolean {
  // Two that add a journal would be one too many.
  return one.kind !== other.kind && other.victims.every((victim) => !one.victims.includes(victim));
}

export function nothingMissing(): undefined {
  return undefined;
}
