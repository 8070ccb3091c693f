import type { Segment } from '@robustmq/rpc';

/** A sealed segment, and what is known of journals. */
export interface RepairView {
  readonly segment: Pick<Segment, 'replicaNodeIds' | 'fullNodeIds' | 'ackQuorum'>;
  /** Replicas that its topic wants, as far as there are journals. */
  readonly wanted: number;
  readonly isLive: (nodeId: string) => boolean;
  /** Not waited for: removed, away for too long, being drained, or its replica of this segment is damaged. */
  readonly isGivenUp: (nodeId: string) => boolean;
  /** Journals that may take a replica over, the best one first; members of the segment may be among them. */
  readonly spares: readonly string[];
}

/** Where a full replica is to be made. */
export interface RepairTarget {
  readonly nodeId: string;
  /** The member whose place it takes; undefined when it is a member itself, or joins them. */
  readonly replaces: string | undefined;
}

export interface RepairPlan {
  /** Full replicas that count: the fewer, the more urgent. */
  readonly copies: number;
  /** Live journals with all records. */
  readonly sources: readonly string[];
  readonly targets: readonly RepairTarget[];
}

/**
 * What a sealed segment lacks (docs/journal.md 2.10, "Auditor"): members that are there get what they miss,
 * spare journals take over from those that are given up, and join where it has fewer members than its topic
 * wants. Undefined when it has as many full replicas as members, and as wanted. A full replica on a journal
 * that is away and not given up counts. Nobody who is away is waited for while fewer than the ack quorum are
 * full: a seal ends with what is there (I10), and what was acknowledged since has no more copies than that.
 */
export function decideRepair(view: RepairView): RepairPlan | undefined {
  const { segment, wanted, isLive, isGivenUp, spares } = view;
  const { replicaNodeIds, fullNodeIds, ackQuorum } = segment;
  const counted = fullNodeIds.filter((nodeId) => !isGivenUp(nodeId));
  const lacking = Math.max(wanted, replicaNodeIds.length) - counted.length;
  if (lacking <= 0) return undefined;
  const members = replicaNodeIds
    .filter((nodeId) => !fullNodeIds.includes(nodeId) && isLive(nodeId) && !isGivenUp(nodeId))
    .map((nodeId) => ({ nodeId, replaces: undefined }));
  const free = spares.filter((nodeId) => !replicaNodeIds.includes(nodeId) && !isGivenUp(nodeId));
  const isUrgent = fullNodeIds.length < ackQuorum;
  const leaving = replicaNodeIds.filter(
    (nodeId) => isGivenUp(nodeId) || (isUrgent && !isLive(nodeId) && !fullNodeIds.includes(nodeId)),
  );
  const joining = Math.max(0, wanted - replicaNodeIds.length);
  const takeovers = free
    .slice(0, leaving.length + joining)
    .map((nodeId, at) => ({ nodeId, replaces: leaving[at] }));
  return {
    copies: counted.length,
    sources: fullNodeIds.filter(isLive),
    targets: [...members, ...takeovers].slice(0, lacking),
  };
}

/** A segment whose replica on `target` is full from now on. */
export function withFullReplica(segment: Segment, target: RepairTarget): Segment {
  const { nodeId, replaces } = target;
  const members = segment.replicaNodeIds.map((one) => (one === replaces ? nodeId : one));
  const replicaNodeIds = members.includes(nodeId) ? members : [...members, nodeId];
  const others = segment.fullNodeIds.filter((one) => one !== replaces && one !== nodeId);
  return { ...segment, replicaNodeIds, fullNodeIds: [...others, nodeId] };
}
