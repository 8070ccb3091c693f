import { OperatingError } from '@robustmq/core';
import type { Replica } from './replica.ts';

/** What a reader finds at an offset of a replica. */
export type ReadPosition =
  | { readonly kind: 'data' }
  /** Nothing yet, but this node will have it first. */
  | { readonly kind: 'wait' }
  /** The segment ends here: the chain says what follows. */
  | { readonly kind: 'ended' }
  /** The replica was led here, and whoever leads now knows what follows. */
  | { readonly kind: 'moved' }
  /** Nobody has written so far. */
  | { readonly kind: 'beyond' }
  | { readonly kind: 'error'; readonly error: OperatingError };

const DATA: ReadPosition = { kind: 'data' };
const WAIT: ReadPosition = { kind: 'wait' };
const ENDED: ReadPosition = { kind: 'ended' };
const MOVED: ReadPosition = { kind: 'moved' };
const BEYOND: ReadPosition = { kind: 'beyond' };

/**
 * Only committed records are readable (I7): below the high watermark at the leader, below the end in a
 * sealed segment. `limit` is the offset up to which this reader may see, at most the high watermark.
 */
export function readPosition(replica: Replica, offset: number, limit: number): ReadPosition {
  if (replica.stored.damaged) return failed(damaged(replica));
  if (offset < Math.min(limit, replica.highWatermark)) return DATA;
  if (replica.isSealed) return atSealedEnd(replica, offset, limit);
  if (!replica.isLeader) return MOVED;
  return offset <= replica.endOffset ? WAIT : BEYOND;
}

function atSealedEnd(replica: Replica, offset: number, limit: number): ReadPosition {
  const end = replica.baseOffset + (replica.state.sealedLength ?? 0);
  if (offset === end) return ENDED;
  // An open transaction is in the way; how it ends is written in a later segment.
  if (offset < end && offset >= limit && limit < replica.highWatermark) return WAIT;
  const message = `offset ${offset} is not in segment ${segmentName(replica)} as this node has it: resolve shard ${shardName(replica)}`;
  return failed(new OperatingError('SEGMENT_UNKNOWN', message));
}

function failed(error: OperatingError): ReadPosition {
  return { kind: 'error', error };
}

function damaged(replica: Replica): OperatingError {
  const message = `this node's replica of segment ${segmentName(replica)} fails its checksums: ask another one`;
  return new OperatingError('DAMAGED', message);
}

function segmentName(replica: Replica): string {
  return replica.state.identity.segmentId;
}

function shardName(replica: Replica): string {
  return String(replica.state.identity.shardId);
}
