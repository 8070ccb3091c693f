import { assert } from '@robustmq/core';
import { type Segment, SegmentState, type Shard } from '@robustmq/rpc';
import { isInternal } from './topic-name.ts';

/**
 * The rules of a shard's chain (docs/journal.md, section 2), as functions from one view of the end of
 * the chain to the next. Views are never changed in place. Every result satisfies I3 (dense, at most one
 * segment that is not sealed, the last) and I11 (epochs only grow): see {@link assertSuccessor}.
 */

/** Sealed segments that a view shows; older ones stand in the store by themselves. */
const sealedShown = 2;

/** A replica set for a segment that is to be opened. */
export interface ReplicaSet {
  readonly leaderNodeId: string;
  readonly leaderIncarnation: number;
  readonly replicaNodeIds: readonly string[];
  readonly ackQuorum: number;
}

/** What is known at the end of a segment. */
export interface SegmentEnd {
  /** Offset after the last record. */
  readonly endOffset: number;
  /** Replicas that have all of it, durably. */
  readonly fullNodeIds: readonly string[];
  readonly sizeBytes: number;
  readonly maxTimestampMs: number;
  /** Now, on placement's wall clock. */
  readonly sealedAtMs: number;
}

/** The segment that is not sealed; undefined when there is none. */
export function unsealedSegment(shard: Shard): Segment | undefined {
  const last = shard.segments.at(-1);
  return last === undefined || last.state === SegmentState.SEALED ? undefined : last;
}

/** A chain with nothing in it. */
export function newChain(shardId: number, topic: string, partition: number): Shard {
  return { shardId, topic, partition, epoch: 0, trimOffset: 0, endOffset: 0, segments: [] };
}

/** Opens the next segment at the end of a chain that has no unsealed one, under the next epoch. */
export function openNext(shard: Shard, segmentId: Buffer, replicas: ReplicaSet): Shard {
  assert(unsealedSegment(shard) === undefined, `shard ${shard.shardId} has no unsealed segment`);
  const segment: Segment = {
    segmentId,
    shardId: shard.shardId,
    baseOffset: shard.endOffset,
    endOffset: 0,
    state: SegmentState.OPEN,
    epoch: shard.epoch + 1,
    sealEpoch: 0,
    leaderNodeId: replicas.leaderNodeId,
    leaderIncarnation: replicas.leaderIncarnation,
    replicaNodeIds: [...replicas.replicaNodeIds],
    ackQuorum: replicas.ackQuorum,
    fullNodeIds: [],
    generation: 0,
    sizeBytes: 0,
    maxTimestampMs: 0,
    sealedAtMs: 0,
  };
  return successor(shard, {
    ...shard,
    epoch: shard.epoch + 1,
    segments: [...shard.segments.slice(-sealedShown), segment],
  });
}

/** Begins an attempt to seal the unsealed segment, under the next epoch. Any number may follow. */
export function beginSeal(shard: Shard): Shard {
  const segment = requireUnsealed(shard);
  const epoch = shard.epoch + 1;
  const sealing: Segment = { ...segment, state: SegmentState.SEALING, sealEpoch: epoch };
  return successor(shard, {
    ...shard,
    epoch,
    segments: [...shard.segments.slice(0, -1), sealing],
  });
}

/** What sealing leads to. An empty segment leaves the chain: its replicas are to be deleted. */
export interface Sealed {
  readonly shard: Shard;
  readonly segment: Segment;
  readonly removed: boolean;
}

/** Seals the segment whose seal was begun at an end that is known now. */
export function sealAt(shard: Shard, end: SegmentEnd): Sealed {
  const sealing = requireUnsealed(shard);
  assert(sealing.state === SegmentState.SEALING, `the seal of shard ${shard.shardId} was begun`);
  assert(end.endOffset >= sealing.baseOffset, 'a segment ends at or after its base');
  const isEmpty = end.endOffset === sealing.baseOffset;
  assert(isEmpty || end.fullNodeIds.length > 0, 'a sealed segment has a full replica');
  const segment: Segment = {
    ...sealing,
    state: SegmentState.SEALED,
    endOffset: end.endOffset,
    fullNodeIds: [...end.fullNodeIds],
    sizeBytes: end.sizeBytes,
    maxTimestampMs: end.maxTimestampMs,
    sealedAtMs: end.sealedAtMs,
  };
  const { endOffset } = end;
  // An empty one leaves the chain, so that restarts add nothing to an idle shard.
  const removed = endOffset === sealing.baseOffset;
  const before = shard.segments.slice(0, -1);
  const segments = removed ? before : [...before, segment].slice(-sealedShown);
  // Somebody has trimmed what never was committed: offsets below the trim must not be given again.
  const trimOffset = Math.min(shard.trimOffset, endOffset);
  return {
    shard: successor(shard, { ...shard, endOffset, trimOffset, segments }),
    segment,
    removed,
  };
}

/**
 * Raises the trim offset, at most to the end of a chain that has no unsealed segment. The view loses the
 * sealed segments below it; the stored ones are still to be deleted.
 */
export function trimTo(shard: Shard, offset: number): Shard {
  const isOpen = unsealedSegment(shard) !== undefined;
  const trimOffset = isOpen ? offset : Math.min(offset, shard.endOffset);
  if (trimOffset <= shard.trimOffset) return shard;
  const trimmed = { ...shard, trimOffset };
  const segments = shard.segments.filter((segment) => !isTrimmed(trimmed, segment));
  return successor(shard, { ...trimmed, segments });
}

/**
 * Whether a segment may be deleted since it lies below the trim offset. The last sealed segment of an
 * internal shard stays: it has the writer epoch and the producers that the next leader takes over.
 */
export function isTrimmed(shard: Shard, segment: Segment): boolean {
  if (segment.state !== SegmentState.SEALED || segment.endOffset > shard.trimOffset) return false;
  return !(isInternal(shard.topic) && segment.endOffset === shard.endOffset);
}

/** I3 for what a view shows. */
export function assertChain(shard: Shard): void {
  let end: number | undefined;
  shard.segments.forEach((segment, at) => {
    const isLast = at === shard.segments.length - 1;
    const where = `shard ${shard.shardId}, segment at ${segment.baseOffset}`;
    assert(segment.shardId === shard.shardId, `I3: ${where} is of this shard`);
    assert(end === undefined || segment.baseOffset === end, `I3: ${where} begins where one ended`);
    assert(isLast || segment.state === SegmentState.SEALED, `I3: ${where} is sealed`);
    assert(segment.epoch <= shard.epoch, `I11: ${where} has no epoch above its shard's`);
    assert(
      segment.sealEpoch <= shard.epoch,
      `I11: ${where} was sealed at the shard's epoch or before`,
    );
    end = segment.state === SegmentState.SEALED ? segment.endOffset : undefined;
  });
  const unsealed = unsealedSegment(shard);
  const last = shard.segments.at(-1);
  if (unsealed !== undefined) {
    assert(unsealed.baseOffset === shard.endOffset, 'I3: the unsealed segment begins at the end');
  } else if (last !== undefined) {
    assert(last.endOffset === shard.endOffset, 'I3: the last segment ends at the end');
  }
}

/** I3 and I11 across one change of a chain. */
export function assertSuccessor(before: Shard, after: Shard): void {
  assertChain(after);
  assert(after.shardId === before.shardId, 'a chain keeps its shard');
  assert(after.epoch >= before.epoch, 'I11: the epoch of a shard never falls');
  assert(after.endOffset >= before.endOffset, 'I3: the end of a chain never falls');
  assert(
    after.trimOffset >= before.trimOffset || after.trimOffset === after.endOffset,
    'the trim offset never falls, but to the end of the chain',
  );
  const opened = unsealedSegment(after);
  const known = before.segments.some((segment) => opened?.segmentId.equals(segment.segmentId));
  if (opened === undefined || known) return;
  assert(opened.epoch > before.epoch, 'I11: a new segment has a new epoch');
  assert(unsealedSegment(before) === undefined, 'I3: nothing is opened behind an unsealed segment');
}

function successor(before: Shard, after: Shard): Shard {
  assertSuccessor(before, after);
  return after;
}

function requireUnsealed(shard: Shard): Segment {
  const segment = unsealedSegment(shard);
  assert(segment !== undefined, `shard ${shard.shardId} has an unsealed segment`);
  return segment;
}
