import { randomInteger, type Random } from '@robustmq/core';
import type { ReplicaSet } from './chain.ts';

/** A live journal that may get something new. */
export interface JournalCandidate {
  readonly nodeId: string;
  readonly incarnation: number;
  /** Empty when not told. */
  readonly zone: string;
  /** Undefined while the journal has not told. */
  readonly freeBytes: number | undefined;
  /** Unsealed segments that it leads now. */
  readonly ledSegments: number;
  /** Replicas of unsealed segments that it has now, those that it leads included. */
  readonly openReplicas: number;
}

interface Load {
  readonly journal: JournalCandidate;
  /** Share of the largest free space among the candidates: 0.05 to 1. */
  readonly weight: number;
  led: number;
  replicas: number;
}

/** A nearly full journal still gets a little, so that a lone one is never without any. */
const weightMin = 0.05;

/**
 * Chooses replica sets for a batch of segments: first journals in zones that have none yet, among those
 * the one with the fewest open replicas for its free space; of the chosen ones, the one that leads the
 * fewest leads. So a journal that was added, which has nothing, is in every new segment until it has its
 * share. It counts what it has given, so that a batch is spread, too.
 */
export class ReplicaChooser {
  readonly #loads: Load[];
  readonly #random: Random;

  /** @param candidates live journals that are neither draining nor read-only. */
  constructor(candidates: readonly JournalCandidate[], random: Random) {
    const largest = Math.max(1, ...candidates.map((journal) => journal.freeBytes ?? 0));
    this.#random = random;
    this.#loads = candidates.map((journal) => ({
      journal,
      weight: Math.max(weightMin, (journal.freeBytes ?? largest) / largest),
      led: journal.ledSegments,
      replicas: journal.openReplicas,
    }));
  }

  /**
   * A set of `wanted` replicas, or as many as there are journals; the ack quorum is a majority of them,
   * floor(R / 2) + 1, or `atLeast` where that is more. Undefined when there are fewer than `atLeast`.
   */
  choose(wanted: number, atLeast = 1): ReplicaSet | undefined {
    const size = Math.min(wanted, this.#loads.length);
    if (size < Math.max(1, atLeast)) return undefined;
    const chosen: Load[] = [];
    while (chosen.length < size) {
      const next = this.#lightest(this.#eligible(chosen), (load) => load.replicas);
      chosen.push(next);
    }
    const leader = this.#lightest(chosen, (load) => load.led);
    for (const load of chosen) load.replicas++;
    leader.led++;
    const followers = chosen.filter((load) => load !== leader);
    return {
      leaderNodeId: leader.journal.nodeId,
      leaderIncarnation: leader.journal.incarnation,
      replicaNodeIds: [leader, ...followers].map((load) => load.journal.nodeId),
      ackQuorum: Math.max(Math.floor(size / 2) + 1, atLeast),
    };
  }

  /** What is not chosen yet; only zones without a replica as long as there are any. */
  #eligible(chosen: readonly Load[]): Load[] {
    const rest = this.#loads.filter((load) => !chosen.includes(load));
    const zones = new Set(chosen.map((load) => load.journal.zone).filter((zone) => zone !== ''));
    const elsewhere = rest.filter((load) => !zones.has(load.journal.zone));
    return elsewhere.length > 0 ? elsewhere : rest;
  }

  /** The one with the least for its weight; among equals a random one. */
  #lightest(loads: readonly Load[], count: (load: Load) => number): Load {
    const burden = (load: Load): number => (count(load) + 1) / load.weight;
    const least = Math.min(...loads.map(burden));
    const lightest = loads.filter((load) => burden(load) === least);
    return lightest[randomInteger(this.#random, lightest.length)] as Load;
  }
}
