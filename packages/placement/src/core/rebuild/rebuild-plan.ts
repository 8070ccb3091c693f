import {
  type CatalogCopy,
  type CopiedShard,
  type Coordinator,
  type Hold,
  type ReplicaSummary,
  type Segment,
  SegmentState,
  type StoredNode,
  type StoredShard,
  type Topic,
} from '@robustmq/rpc';
import type { Finding } from './finding.ts';
import { rebuildChain } from './rebuilt-chain.ts';
import { gatherSegments, type ReportedSegment } from './reported-segment.ts';

/** A journal's copy of the catalog. */
export interface KeptCopy {
  readonly revision: number;
  readonly copy: CatalogCopy;
}

export interface RebuildInput {
  readonly copies: readonly KeptCopy[];
  /** All replicas of each journal that answered, by node. */
  readonly inventories: ReadonlyMap<string, readonly ReplicaSummary[]>;
  /** Whether there are journals that nobody could ask. */
  readonly isIncomplete: boolean;
  /** Now, in ms since 1970. */
  readonly nowMs: number;
}

/** What placement's store is to hold, besides what the cluster has one of. */
export interface RebuildPlan {
  readonly topics: readonly Topic[];
  readonly topicDeletions: readonly Topic[];
  readonly shards: readonly StoredShard[];
  readonly sealed: readonly Segment[];
  readonly deleting: readonly Segment[];
  readonly coordinators: readonly Coordinator[];
  readonly holds: readonly Hold[];
  readonly removedNodes: readonly StoredNode[];
  /** Above every shard that anybody knows. */
  readonly nextShardId: number;
  /** At least; see the ids that a rebuilt cluster gives. */
  readonly nextProducerId: number;
  /** Highest revision that a copy shows. */
  readonly revision: number;
  /** To be fenced before they are left out. */
  readonly unused: readonly ReportedSegment[];
  /** Replicas of topics that were deleted, which their journals have not heard of. */
  readonly leftovers: number;
  readonly findings: readonly Finding[];
}

/**
 * Shard ids that may have been given since the newest copy, to topics that no journal has a record of.
 * Sessions may remember them.
 */
const shardIdsSpare = 10_000;
/** The same for owners of coordinators, whose epochs journals and brokers remember. */
const coordinatorEpochsSpare = 1_000_000;

/**
 * Plans the catalog anew: the newest copy says which topics there are, and the replicas what their chains
 * are. The newest copy of the journals that have replicas knows the topics of all of them, or that they
 * were deleted (docs/journal.md, amendment 16).
 */
export function planRebuild(input: RebuildInput): RebuildPlan {
  const newest = newestOf(input.copies);
  const segments = gatherSegments(input.inventories);
  const isDeleted = new Set(newest.copy.deleting.map(({ segmentId }) => segmentId.toString('hex')));
  const alive = segments.filter(({ segmentId }) => !isDeleted.has(segmentId.toString('hex')));
  const byShard = Map.groupBy(alive, ({ shardId }) => shardId);
  const plan = new PlanBuilder(input, newest.copy, byShard);
  for (const topic of newest.copy.topics) plan.addTopic(topic);
  for (const topic of newest.copy.topicDeletions) plan.addDeletion(topic);
  plan.addUnknown(input.copies);
  return {
    ...plan.result(),
    topics: newest.copy.topics,
    topicDeletions: newest.copy.topicDeletions,
    removedNodes: newest.copy.removedNodes,
    coordinators: newest.copy.coordinators.map((coordinator) => ({
      ...coordinator,
      ownerNodeId: '',
      ownerIncarnation: 0,
      epoch: coordinator.epoch + coordinatorEpochsSpare,
    })),
    nextShardId: nextShardId(input.copies, segments) + shardIdsSpare,
    nextProducerId: Math.max(...input.copies.map(({ copy }) => copy.nextProducerId)),
    revision: newest.revision,
  };
}

function newestOf(copies: readonly KeptCopy[]): KeptCopy {
  const [newest] = copies.toSorted((a, b) => b.revision - a.revision);
  if (newest === undefined) throw new Error('a rebuild needs a copy of the catalog');
  return newest;
}

function nextShardId(copies: readonly KeptCopy[], segments: readonly ReportedSegment[]): number {
  const reported = segments.map(({ shardId }) => shardId + 1);
  return Math.max(1, ...copies.map(({ copy }) => copy.nextShardId), ...reported);
}

class PlanBuilder {
  readonly #input: RebuildInput;
  readonly #copy: CatalogCopy;
  readonly #copied: ReadonlyMap<number, CopiedShard>;
  readonly #trimmedTo = new Map<number, number>();
  readonly #byShard: ReadonlyMap<number, readonly ReportedSegment[]>;
  readonly #shards: StoredShard[] = [];
  readonly #sealed: Segment[] = [];
  readonly #deleting: Segment[];
  readonly #unused: ReportedSegment[] = [];
  readonly #findings: Finding[] = [];
  readonly #known = new Set<number>();
  #leftovers = 0;

  constructor(
    input: RebuildInput,
    copy: CatalogCopy,
    byShard: ReadonlyMap<number, readonly ReportedSegment[]>,
  ) {
    this.#input = input;
    this.#copy = copy;
    this.#copied = new Map(copy.shards.map((shard) => [shard.shardId, shard]));
    for (const { shardId, trimOffset } of input.copies.flatMap((kept) => kept.copy.shards)) {
      this.#trimmedTo.set(shardId, Math.max(trimOffset, this.#trimmedTo.get(shardId) ?? 0));
    }
    this.#byShard = byShard;
    this.#deleting = [...copy.deleting];
  }

  addTopic({ name, shardIds }: Topic): void {
    shardIds.forEach((shardId, partition) => {
      this.#known.add(shardId);
      const rebuilt = rebuildChain({
        shardId,
        topic: name,
        partition,
        copied: this.#copied.get(shardId) ?? { epoch: 0, trimOffset: 0, endOffset: 0 },
        trimmedTo: this.#trimmedTo.get(shardId) ?? 0,
        segments: this.#byShard.get(shardId) ?? [],
        isIncomplete: this.#input.isIncomplete,
        sealedAtMs: this.#input.nowMs,
      });
      this.#shards.push(rebuilt.stored);
      this.#sealed.push(...rebuilt.sealed);
      this.#deleting.push(...rebuilt.deleting);
      this.#unused.push(...rebuilt.unused);
      this.#findings.push(...rebuilt.findings);
    });
  }

  /** The order to delete its shards was given: it is given again for what is left. */
  addDeletion({ shardIds }: Topic): void {
    for (const shardId of shardIds) {
      this.#known.add(shardId);
      this.#deleting.push(...(this.#byShard.get(shardId) ?? []).map(deletingOf));
    }
  }

  /** Shards that the newest copy does not know: of a deleted topic if an older copy knows them. */
  addUnknown(copies: readonly KeptCopy[]): void {
    const everKnown = new Set(
      copies.flatMap(({ copy }) =>
        [...copy.topics, ...copy.topicDeletions].flatMap(({ shardIds }) => shardIds),
      ),
    );
    for (const [shardId, segments] of this.#byShard) {
      if (this.#known.has(shardId)) continue;
      const withRecords = segments.filter(({ reports }) =>
        reports.some(({ length }) => length > 0),
      );
      if (withRecords.length === 0) continue;
      if (everKnown.has(shardId)) {
        this.#leftovers += withRecords.length;
        continue;
      }
      const text = `shard ${shardId}: no copy of the catalog says which topic its ${withRecords.length} segments are of`;
      this.#findings.push({ kind: 'loss', text });
    }
  }

  result(): Pick<
    RebuildPlan,
    'shards' | 'sealed' | 'deleting' | 'unused' | 'leftovers' | 'findings' | 'holds'
  > {
    return {
      shards: this.#shards,
      sealed: this.#sealed,
      deleting: this.#deleting,
      unused: this.#unused,
      leftovers: this.#leftovers,
      findings: this.#findings,
      holds: this.#copy.holds.filter(({ shardId }) => this.#known.has(shardId)),
    };
  }
}

function deletingOf(segment: ReportedSegment): Segment {
  const { segmentId, shardId, epoch, replicaNodeIds, ackQuorum, reports } = segment;
  const baseOffset = reports.find((report) => report.baseOffset !== undefined)?.baseOffset ?? 0;
  return {
    segmentId,
    shardId,
    baseOffset,
    endOffset: baseOffset,
    state: SegmentState.DELETING,
    epoch,
    sealEpoch: 0,
    leaderNodeId: '',
    leaderIncarnation: 0,
    replicaNodeIds: [...replicaNodeIds],
    ackQuorum,
    fullNodeIds: [],
    generation: 0,
    sizeBytes: 0,
    maxTimestampMs: 0,
    sealedAtMs: 0,
  };
}
