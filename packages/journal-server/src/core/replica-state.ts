import { assert } from '@robustmq/core';
import { AckQueue } from './ack-queue.ts';
import type { PendingAppend } from './pending-append.ts';
import type { ProducerState } from './producer-state.ts';

/**
 * One-way: `prepared → follower`, or `prepared → leader → closed`; `closed` also straight from
 * `prepared` or `follower` when the segment is sealed, or after a restart of its leader.
 */
export type ReplicaRole = 'prepared' | 'follower' | 'leader' | 'closed';

/** What never changes of a replica. */
export interface ReplicaIdentity {
  readonly shardId: number;
  readonly segmentId: string;
  /** Epoch under which the segment is opened. */
  readonly epoch: number;
  /** Size of the replica set, and this node's place in it. */
  readonly replicaCount: number;
  readonly selfIndex: number;
  readonly ackQuorum: number;
}

/** Bounds that the core keeps. Times are of the monotonic clock. */
export interface ReplicaLimits {
  /** A batch whose predecessors are missing is held so long. */
  readonly earlyHoldMs: number;
  /** Early batches held of one producer. */
  readonly earlyBatchesMax: number;
  /** A producer snapshot is written after so many bytes of frames. */
  readonly snapshotEachBytes: number;
  /** And after so many entries were forgotten, so that those who fold forget them, too. */
  readonly snapshotEachForgotten: number;
}

/** One replica of one segment. Lengths count records from the segment's base. Only `step` changes it. */
export interface ReplicaState {
  readonly identity: ReplicaIdentity;
  readonly limits: ReplicaLimits;
  role: ReplicaRole;
  /** Offset of the first record; undefined until a leader was made or the first frame came. */
  baseOffset: number | undefined;
  /** Nothing below this epoch is taken any more. */
  fencedEpoch: number;
  /** Records accepted, durable or not. */
  length: number;
  /** Durable length of each replica of the set; 0 while it has told nothing. */
  readonly match: number[];
  /** Records known to be committed: readers stop here. Never moves back. */
  commitLength: number;
  /** Final length, once sealed. */
  sealedLength: number | undefined;
  /** The seal took records away that were here and never committed. */
  isCut: boolean;
  /** What only a leader has. */
  leading: Leading | undefined;
}

/** What a leader has besides the log. */
export interface Leading {
  readonly producers: ProducerState;
  /** New appends wait, because the segment is about to be sealed at its end. */
  isFrozen: boolean;
  /** The next frame has to be a snapshot of the producers. */
  isSnapshotDue: boolean;
  bytesSinceSnapshot: number;
  /** The append that the shell is writing now; only within one call of `step` and its effects. */
  writing: PendingAppend | undefined;
  readonly waitingLocal: AckQueue;
  readonly waitingQuorum: AckQueue;
  readonly waitingAll: AckQueue;
  /** Appends that came while frozen, in order. Bounded by the node's limit of bytes in flight. */
  queued: PendingAppend[];
  /** Early batches by producer id. */
  readonly held: Map<number, PendingAppend[]>;
}

export interface StoredState {
  readonly baseOffset: number | undefined;
  readonly fencedEpoch: number;
  readonly length: number;
  readonly durableLength: number;
  readonly sealedLength: number | undefined;
  /** Whether some incarnation of this node has led it. */
  readonly wasActivated: boolean;
}

/**
 * The state of a replica as it was found in the storage. One that was led before is closed: a segment
 * has one leader incarnation. One that was never led is prepared; whether it followed makes no
 * difference.
 */
export function replicaState(
  identity: ReplicaIdentity,
  limits: ReplicaLimits,
  stored: StoredState,
): ReplicaState {
  const { replicaCount, selfIndex } = identity;
  assert(selfIndex >= 0 && selfIndex < replicaCount, 'a node is in the replica set it stores');
  const isClosed = stored.wasActivated || stored.sealedLength !== undefined;
  const match = Array.from({ length: replicaCount }, () => 0);
  match[selfIndex] = stored.durableLength;
  return {
    identity,
    limits,
    role: isClosed ? 'closed' : 'prepared',
    baseOffset: stored.baseOffset,
    fencedEpoch: stored.fencedEpoch,
    length: stored.length,
    match,
    commitLength: Math.min(stored.sealedLength ?? 0, stored.length),
    sealedLength: stored.sealedLength,
    isCut: false,
    leading: undefined,
  };
}

/** What a new leader starts with. A state that is not empty has to be the segment's first frame. */
export function newLeading(producers: ProducerState): Leading {
  return {
    producers,
    isFrozen: false,
    isSnapshotDue: !producers.isEmpty,
    bytesSinceSnapshot: 0,
    writing: undefined,
    waitingLocal: new AckQueue(),
    waitingQuorum: new AckQueue(),
    waitingAll: new AckQueue(),
    queued: [],
    held: new Map(),
  };
}
