import { Segment, SegmentState, type StoredShard } from '@robustmq/rpc';
import { type Sealed, sealAt, type SegmentEnd } from '../core/chain.ts';
import type { Operation } from '../store/metadata-store.ts';
import { shardOf } from './image.ts';
import { deletingKey, segmentKey } from './keys.ts';
import { put, type ShardChange } from './ledger.ts';

/**
 * The rows that change when the segment whose seal was begun ends: two operations. A sealed segment gets
 * a row of its own; the replicas of an empty one are to be deleted.
 */
export function sealedChange(
  stored: StoredShard,
  end: SegmentEnd,
): { readonly change: ShardChange; readonly sealed: Sealed } {
  const sealed = sealAt(shardOf(stored), end);
  const { segment, removed, shard } = sealed;
  const row = removed
    ? putDeleting(segment)
    : put(
        segmentKey(segment.shardId, segment.endOffset, segment.segmentId),
        Segment.encode(segment),
      );
  const sealedBytes = stored.sealedBytes + (removed ? 0 : segment.sizeBytes);
  return { change: { stored: { shard, sealedBytes }, operations: [row] }, sealed };
}

/** Notes that the replicas of a segment, which has left its chain, are to be deleted. */
export function putDeleting(segment: Segment): Operation {
  const deleting: Segment = { ...segment, state: SegmentState.DELETING };
  return put(deletingKey(segment.segmentId), Segment.encode(deleting));
}
