import type { Segment, Shard } from '@robustmq/rpc';
import { isTrimmed } from './chain.ts';
import { isInternal } from './topic-name.ts';

/** What bounds the life of a shard's records. */
export interface RetentionLimits {
  /** Whether age and size delete anything at all (`cleanup.policy`). */
  readonly deletes: boolean;
  /** Undefined: for ever. */
  readonly retentionMs: number | undefined;
  /** Undefined: without bound. */
  readonly retentionBytes: number | undefined;
  /** Bytes of sealed segments up to which holds are respected. */
  readonly holdBytes: number;
}

/** What the decision is about. */
export interface RetentionView {
  readonly shard: Shard;
  /** Sealed segments from the front of the chain, oldest first; not necessarily all of them. */
  readonly front: readonly Segment[];
  /** Bytes of all sealed segments of the chain. */
  readonly sealedBytes: number;
  /** First offset that somebody still needs; undefined when nobody has said so. */
  readonly holdOffset: number | undefined;
  /** Placement's wall clock. */
  readonly nowMs: number;
}

export interface RetentionDecision {
  /** The segments that go: a run from the front. */
  readonly due: readonly Segment[];
  /** Whether one of them lies above the hold and was not trimmed on order: the holder loses records. */
  readonly holdOverridden: boolean;
}

/**
 * Decides which segments go from the front of a chain: those that were trimmed on order, then those that
 * are due. By age: the smaller of the largest record time stamp and the time of sealing, plus
 * `retentionMs`, has passed (docs/design.md, section 4). By size: what stays is still at least
 * `retentionBytes`. Internal shards lose only what was trimmed.
 */
export function decideRetention(view: RetentionView, limits: RetentionLimits): RetentionDecision {
  const { shard, holdOffset } = view;
  let remaining = view.sealedBytes;
  let holdOverridden = false;
  const due: Segment[] = [];
  for (const segment of view.front) {
    if (!isTrimmed(shard, segment)) {
      if (isInternal(shard.topic) || !isDue(segment, remaining, view.nowMs, limits)) break;
      const held = holdOffset !== undefined && segment.endOffset > holdOffset;
      if (held && remaining <= limits.holdBytes) break;
      holdOverridden ||= held;
    }
    due.push(segment);
    remaining -= segment.sizeBytes;
  }
  return { due, holdOverridden };
}

function isDue(
  segment: Segment,
  remainingBytes: number,
  nowMs: number,
  { deletes, retentionMs, retentionBytes }: RetentionLimits,
): boolean {
  if (!deletes) return false;
  // 0: no record had a time stamp.
  const newestMs = segment.maxTimestampMs === 0 ? segment.sealedAtMs : segment.maxTimestampMs;
  const bornMs = Math.min(newestMs, segment.sealedAtMs);
  if (retentionMs !== undefined && bornMs + retentionMs < nowMs) return true;
  return retentionBytes !== undefined && remainingBytes - segment.sizeBytes >= retentionBytes;
}
