import { assert } from '@robustmq/core';

/** What one replica answered to a fence. */
export type FenceReply =
  | {
      /** Fenced, and the log is intact. */
      readonly kind: 'usable';
      readonly nodeId: string;
      /** Records in the log, all durable. */
      readonly length: number;
      /** Chain value after the last frame. */
      readonly chain: number;
      readonly sizeBytes: number;
      readonly maxTimestampMs: number;
      /** It was told its end before. */
      readonly isSealed?: boolean;
    }
  /** No manifest, a copy under way, or damage: never taken as "I do not have it". */
  | { readonly kind: 'unusable'; readonly nodeId: string }
  /** A higher epoch was here: another attempt is ahead of this one. */
  | { readonly kind: 'stale'; readonly nodeId: string; readonly epoch: number };

/** Who has to agree. */
export interface SealQuorum {
  /** Replicas of the segment. */
  readonly replicas: number;
  readonly ackQuorum: number;
}

export type SealDecision =
  | {
      readonly kind: 'end';
      /** Records in the segment. */
      readonly length: number;
      /** Replicas with all of them: the ack quorum, or all that are usable where those are fewer. */
      readonly fullNodeIds: readonly string[];
      readonly sizeBytes: number;
      readonly maxTimestampMs: number;
    }
  /** Too few usable replies. */
  | { readonly kind: 'too-few'; readonly usable: number; readonly needed: number }
  /**
   * The end is known, but too few replicas have all of it: `short` ones need copies first, the longest
   * one first.
   */
  | {
      readonly kind: 'copies-needed';
      readonly length: number;
      readonly full: readonly string[];
      readonly short: readonly string[];
    }
  /** Two intact logs of one length differ: never happens while I4 holds. */
  | { readonly kind: 'diverged'; readonly nodeIds: readonly string[] }
  | { readonly kind: 'stale'; readonly epoch: number };

/**
 * Decides the end of a fenced segment (docs/journal.md 2.7, S3 and S4): with R - AQ + 1 usable replies
 * every committed record is in one of them, so the longest log has them all.
 */
export function decideSeal(quorum: SealQuorum, replies: readonly FenceReply[]): SealDecision {
  assert(replies.length <= quorum.replicas, 'each replica answers once');
  const stale = replies.filter((reply) => reply.kind === 'stale');
  if (stale.length > 0) {
    return { kind: 'stale', epoch: Math.max(...stale.map((reply) => reply.epoch)) };
  }
  const usable = replies.filter((reply) => reply.kind === 'usable');
  const needed = quorum.replicas - quorum.ackQuorum + 1;
  const [first] = usable;
  if (first === undefined || usable.length < needed) {
    return { kind: 'too-few', usable: usable.length, needed };
  }
  const length = Math.max(...usable.map((reply) => reply.length));
  const full = usable.filter((reply) => reply.length === length);
  const fullNodeIds = full.map((reply) => reply.nodeId);
  const [longest = first] = full;
  if (full.some((reply) => reply.chain !== longest.chain)) {
    return { kind: 'diverged', nodeIds: fullNodeIds };
  }
  // Where fewer replicas than that are there and intact, all of them: the others get theirs later (I10).
  const wanted = Math.min(quorum.ackQuorum, usable.length);
  if (full.length < wanted && length > 0) {
    const short = usable
      .filter((reply) => reply.length < length)
      .toSorted((left, right) => right.length - left.length)
      .map((reply) => reply.nodeId);
    return { kind: 'copies-needed', length, full: fullNodeIds, short };
  }
  const { sizeBytes, maxTimestampMs } = longest;
  return { kind: 'end', length, fullNodeIds, sizeBytes, maxTimestampMs };
}

/**
 * The same where journals are cut off from one another: as long as nobody can give the copies that the
 * longest log asks for, it is left out, if enough answers are left. Any R - AQ + 1 of them decide, so only
 * records that were never committed can be cut by that.
 */
export function decideReachableSeal(
  quorum: SealQuorum,
  replies: readonly FenceReply[],
  reaches: (one: string, other: string) => boolean,
): SealDecision {
  const decision = decideSeal(quorum, replies);
  if (decision.kind !== 'copies-needed') return decision;
  const { full, short } = decision;
  const helped = short.filter((nodeId) => full.some((source) => reaches(source, nodeId)));
  const wanted = Math.min(quorum.ackQuorum, full.length + short.length);
  if (full.length + helped.length >= wanted) return decision;
  const rest = replies.filter(({ nodeId }) => !full.includes(nodeId));
  const without = decideReachableSeal(quorum, rest, reaches);
  return without.kind === 'too-few' ? decision : without;
}
