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

const nobody: ReadonlySet<string> = new Set();

/** What journals have of the segment before. */
interface Before {
  readonly full?: ReadonlySet<string>;
  readonly behind?: ReadonlySet<string>;
}

/** Whether two journals are connected, by their ids. */
export type Reaches = (one: string, other: string) => boolean;

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
 * fewest leads. Who is cut off from the others comes last, and leads only if nobody else can. So a journal that was added, which has nothing, is in every new segment until it has its
 * share. It counts what it has given, so that a batch is spread, too.
 */
export class ReplicaChooser {
  readonly #loads: Load[];
  readonly #random: Random;
  readonly #reaches: Reaches;
  /** Those that are cut off from at least half of the others. */
  readonly #isolated: ReadonlySet<Load>;

  /** @param candidates live journals that are neither draining nor read-only. */
  constructor(
    candidates: readonly JournalCandidate[],
    random: Random,
    reaches: Reaches = () => true,
  ) {
    this.#reaches = reaches;
    const largest = Math.max(1, ...candidates.map((journal) => journal.freeBytes ?? 0));
    this.#random = random;
    this.#loads = candidates.map((journal) => ({
      journal,
      weight: Math.max(weightMin, (journal.freeBytes ?? largest) / largest),
      led: journal.ledSegments,
      replicas: journal.openReplicas,
    }));
    this.#isolated = new Set(
      this.#loads.filter((load) => 2 * this.#reachedBy(load, this.#loads) <= candidates.length),
    );
  }

  /**
   * A set of `wanted` replicas, or as many as there are journals; the ack quorum is a majority of them,
   * floor(R / 2) + 1, or `atLeast` where that is more. Undefined when there are fewer than `atLeast`.
   *
   * @param full Who has all of the segment before and leads best: anybody else has to ask one of them for the
   *   producers first.
   * @param behind Who leads only if nobody else can: members of the segment before that lack some of it
   *   (they may be cut off, and have to ask others for the producers), and whoever brokers do not reach.
   */
  choose(
    wanted: number,
    atLeast = 1,
    { full = nobody, behind = nobody }: Before = {},
  ): ReplicaSet | undefined {
    const size = Math.min(wanted, this.#loads.length);
    if (size < Math.max(1, atLeast)) return undefined;
    const chosen: Load[] = [];
    while (chosen.length < size) {
      const next = this.#lightest(this.#eligible(chosen), (load) => load.replicas);
      chosen.push(next);
    }
    const ackQuorum = ackQuorumOf(wanted, this.#loads.length, atLeast);
    const able = chosen.filter((load) => this.#reachedBy(load, chosen) >= ackQuorum);
    const well = able.filter(({ journal }) => !behind.has(journal.nodeId));
    const best = well.filter(({ journal }) => full.has(journal.nodeId));
    const leader = this.#lightest(firstFilled(best, well, able, chosen), (load) => load.led);
    for (const load of chosen) load.replicas++;
    leader.led++;
    const followers = chosen.filter((load) => load !== leader);
    return {
      leaderNodeId: leader.journal.nodeId,
      leaderIncarnation: leader.journal.incarnation,
      replicaNodeIds: [leader, ...followers].map((load) => load.journal.nodeId),
      ackQuorum,
    };
  }

  /**
   * What is not chosen yet: of those that are connected to the chosen ones as long as there are any, those
   * in zones without a replica.
   */
  #eligible(chosen: readonly Load[]): Load[] {
    const rest = this.#connected(
      this.#loads.filter((load) => !chosen.includes(load)),
      chosen,
    );
    const zones = new Set(chosen.map((load) => load.journal.zone).filter((zone) => zone !== ''));
    const elsewhere = rest.filter((load) => !zones.has(load.journal.zone));
    return elsewhere.length > 0 ? elsewhere : rest;
  }

  #connected(loads: Load[], chosen: readonly Load[]): Load[] {
    const near = loads.filter((load) => this.#reachedBy(load, chosen) === chosen.length);
    const well = near.filter((load) => !this.#isolated.has(load));
    return firstFilled(well, near, loads);
  }

  /** How many of these a journal is connected to, itself included if it is one of them. */
  #reachedBy({ journal: { nodeId } }: Load, loads: readonly Load[]): number {
    return loads.filter(
      ({ journal }) => journal.nodeId === nodeId || this.#reaches(nodeId, journal.nodeId),
    ).length;
  }

  /** The one with the least for its weight; among equals a random one. */
  #lightest(loads: readonly Load[], count: (load: Load) => number): Load {
    const burden = (load: Load): number => (count(load) + 1) / load.weight;
    const least = Math.min(...loads.map(burden));
    const lightest = loads.filter((load) => burden(load) === least);
    return lightest[randomInteger(this.#random, lightest.length)] as Load;
  }
}

/** The ack quorum of a segment that wants `wanted` replicas: a majority, or `atLeast` where that is more. */
export function ackQuorumOf(wanted: number, journals: number, atLeast: number): number {
  return Math.max(Math.floor(Math.min(wanted, journals) / 2) + 1, atLeast);
}

function firstFilled(...lists: Load[][]): Load[] {
  return lists.find((list) => list.length > 0) ?? [];
}
