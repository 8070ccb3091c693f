import type { ReplicaSummary } from '@robustmq/rpc';

/** A replica as its journal reports it. */
export interface ReportedReplica {
  readonly nodeId: string;
  /** Offset of its first record; undefined when it never led nor followed. */
  readonly baseOffset: number | undefined;
  /** Records; the final number once sealed. */
  readonly length: number;
  readonly sealed: boolean;
  readonly fencedEpoch: number;
  readonly damaged: boolean;
  readonly sizeBytes: number;
  readonly maxTimestampMs: number;
}

/** A segment with the replicas of it that journals report. */
export interface ReportedSegment {
  readonly segmentId: Buffer;
  readonly shardId: number;
  readonly epoch: number;
  /** Every journal that a manifest names or that reports a replica. */
  readonly replicaNodeIds: readonly string[];
  readonly ackQuorum: number;
  /** Whether all manifests name the same replica set and quorum. */
  readonly isAgreed: boolean;
  readonly reports: readonly ReportedReplica[];
}

/** Gathers what the journals report, by node, into segments. */
export function gatherSegments(
  inventories: ReadonlyMap<string, readonly ReplicaSummary[]>,
): ReportedSegment[] {
  const found = new Map<string, { nodeId: string; summary: ReplicaSummary }[]>();
  for (const [nodeId, summaries] of inventories) {
    for (const summary of summaries) {
      const key = summary.segmentId.toString('hex');
      const same = found.get(key);
      if (same === undefined) found.set(key, [{ nodeId, summary }]);
      else same.push({ nodeId, summary });
    }
  }
  return [...found.values()].flatMap(segmentOf);
}

function segmentOf(
  replicas: readonly { readonly nodeId: string; readonly summary: ReplicaSummary }[],
): ReportedSegment[] {
  const [first] = replicas;
  if (first === undefined) return [];
  const { segmentId, shardId, epoch, ackQuorum } = first.summary;
  const named = replicas.flatMap(({ nodeId, summary }) => [...summary.replicaNodeIds, nodeId]);
  return [
    {
      segmentId,
      shardId,
      epoch,
      ackQuorum,
      replicaNodeIds: [...new Set(named)],
      isAgreed: new Set(replicas.map(({ summary }) => manifestOf(summary))).size === 1,
      reports: replicas.map(({ nodeId, summary }) => reportOf(nodeId, summary)),
    },
  ];
}

function manifestOf({ shardId, epoch, ackQuorum, replicaNodeIds }: ReplicaSummary): string {
  return JSON.stringify([shardId, epoch, ackQuorum, replicaNodeIds.toSorted(byText)]);
}

function byText(a: string, b: string): number {
  return a < b ? -1 : Number(a > b);
}

function reportOf(nodeId: string, summary: ReplicaSummary): ReportedReplica {
  const { baseOffset, baseKnown, length, sealed, fencedEpoch, damaged } = summary;
  const { sizeBytes, maxTimestampMs } = summary;
  return {
    nodeId,
    baseOffset: baseKnown ? baseOffset : undefined,
    length,
    sealed,
    fencedEpoch,
    damaged,
    sizeBytes,
    maxTimestampMs,
  };
}
