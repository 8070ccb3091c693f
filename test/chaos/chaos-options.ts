import type { ViolationKind } from '../history/violations.ts';
import type { CountedKind, FaultSource } from './faults/fault.ts';
import type { SeededRandom } from './kill/seeded-random.ts';
import type { Outages } from './outages.ts';

export interface ChaosOptions {
  readonly seed: number;
  readonly journals: number;
  /** What is done to the cluster, as the random says. */
  readonly faults: (random: SeededRandom) => FaultSource;
  /** A small disk for each role, which can be filled; else the machine's own, with the times of its syncs. */
  readonly disks: 'small' | 'own';
  /** Mutual TLS between the tiers. */
  readonly tls?: boolean;
  /** No namespaces and no small disks. */
  readonly plain?: boolean;
  /** No round begins later, on the clock of `performance`. */
  readonly untilMs?: number;
  readonly log: (line: string) => void;
}

export interface ChaosResult {
  /** Empty when nothing was wrong. */
  readonly violations: readonly string[];
  readonly violationCounts: Readonly<Partial<Record<ViolationKind, number>>>;
  /** What did not go on although everything was up, with the state and the logs. */
  readonly stuck: string | undefined;
  readonly rounds: number;
  readonly counts: Readonly<Partial<Record<CountedKind, number>>>;
  /** Records through the journal's API, and MQTT messages. */
  readonly acknowledged: number;
  readonly reads: number;
  readonly segments: number;
  /** The longest time in which some shard acknowledged nothing, ms. */
  readonly longestMs: number;
  readonly outages: Outages;
}
