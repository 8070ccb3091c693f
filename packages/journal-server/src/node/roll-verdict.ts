import { type OperatingError, unreachable } from '@robustmq/core';
import { SegmentState, segmentIdOfBytes, type Shard } from '@robustmq/rpc';

/** What has become of a segment whose leader asked to roll it. */
export type RollVerdict =
  /** Its end is decided; `length` in records. */
  | { readonly kind: 'sealed'; readonly length: number }
  /** It is open as before, and the request will not be carried out later. */
  | { readonly kind: 'open' }
  /** Somebody else seals it, or it is gone: this leader is none any more. */
  | { readonly kind: 'lost' }
  /** Nobody knows: the leader has to stay frozen and ask again. */
  | { readonly kind: 'unknown' };

const OPEN: RollVerdict = { kind: 'open' };
const LOST: RollVerdict = { kind: 'lost' };
const UNKNOWN: RollVerdict = { kind: 'unknown' };

/** What the end of a chain says about a segment that this node believes to lead. */
export function verdictOfShard(shard: Shard, segmentId: string, epoch: number): RollVerdict {
  const segment = shard.segments.find((one) => segmentIdOfBytes(one.segmentId) === segmentId);
  // Either an answer from before it was opened, or it was empty and is gone.
  if (segment === undefined) return shard.epoch >= epoch ? LOST : OPEN;
  switch (segment.state) {
    case SegmentState.OPEN:
      return OPEN;
    case SegmentState.SEALED:
      return { kind: 'sealed', length: segment.endOffset - segment.baseOffset };
    case SegmentState.SEALING:
    case SegmentState.DELETING:
    case SegmentState.UNSPECIFIED:
      return LOST;
    default:
      return unreachable(segment.state);
  }
}

/**
 * What an error says: only those that tell that nothing was done allow to go on. That the request was
 * not carried out this time says nothing about an earlier one whose answer was lost: placement may have
 * sealed the segment and died since, so with `isAskedBefore` only a decision ends the wait.
 */
export function verdictOfError(error: OperatingError, isAskedBefore: boolean): RollVerdict {
  switch (error.code) {
    case 'UNAVAILABLE':
    case 'RESOURCE_EXHAUSTED':
    case 'DISK_FULL':
      return isAskedBefore ? UNKNOWN : OPEN;
    // The same request was as wrong the first time.
    case 'INVALID_ARGUMENT':
      return OPEN;
    case 'FENCED':
    case 'NOT_LEADER':
    case 'NOT_FOUND':
    case 'SEGMENT_UNKNOWN':
      return LOST;
    default:
      return UNKNOWN;
  }
}
