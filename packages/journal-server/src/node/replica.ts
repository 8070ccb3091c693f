import { assert, type NodeId, type OperatingError } from '@robustmq/core';
import type { AbortedIndex } from '../core/aborted-index.ts';
import { type ReplicaLimits, replicaState, type ReplicaState } from '../core/replica-state.ts';
import type { StoredReplica } from '../storage/storage.ts';
import type { LocalShard } from './local-shard.ts';

/** Who follows a replica: a tail, or a read that waits for data. */
export interface ReplicaFollower {
  /** More is readable, or the replica was closed. Called often: only take note, and look later. */
  replicaChanged(): void;
}

/** Where the frames of a follower come from. Called from within an event of the replica. */
export interface Upstream {
  /** Store the frames that have come. */
  store(replica: Replica): void;
  /** Tell the leader what is durable; also later, when a sync has covered more. */
  confirm(replica: Replica): void;
  /** Nothing of what has come is taken. */
  reject(replica: Replica, error: OperatingError): void;
}

/** When a led segment is rolled. */
export interface RollPolicy {
  readonly segmentBytes: number;
  readonly segmentMs: number;
}

/**
 * One replica on this node: what is stored, the state machine, and who follows it. A node may have a
 * hundred thousand, most of them sealed and never asked for: what they do not need is made on first use.
 */
export class Replica {
  readonly stored: StoredReplica;
  readonly shard: LocalShard;
  policy: RollPolicy | undefined;
  /** The stream that frames came by last, while it follows. */
  upstream: Upstream | undefined;
  /** A roll is under way: it is frozen or will be. */
  isRolling = false;
  /** Placement was asked to roll it, and nobody knows whether that was done. */
  isRollUnknown = false;
  /** Followers have had the time to get to the end that this roll gives them. */
  hasAwaitedFollowers = false;
  /** Not before this time on the monotonic clock is another roll tried. */
  nextRollMs = 0;
  /** Append time of the last frame: it never goes back within a segment, whatever the clock does. */
  lastAppendMs = 0;
  /** Aborted transactions of this segment, once its producers were handed to the next one. */
  aborted: AbortedIndex | undefined;
  readonly #self: NodeId;
  readonly #limits: ReplicaLimits;
  #state: ReplicaState | undefined;
  #followers: Set<ReplicaFollower> | undefined;

  constructor(stored: StoredReplica, shard: LocalShard, self: NodeId, limits: ReplicaLimits) {
    this.stored = stored;
    this.shard = shard;
    this.#self = self;
    this.#limits = limits;
  }

  get state(): ReplicaState {
    this.#state ??= stateOf(this.stored, this.#self, this.#limits);
    return this.#state;
  }

  get followers(): Set<ReplicaFollower> {
    this.#followers ??= new Set();
    return this.#followers;
  }

  get baseOffset(): number {
    const base = this.#state?.baseOffset ?? this.stored.baseOffset;
    assert(base !== undefined, 'only replicas with a known base are read');
    return base;
  }

  get isBaseKnown(): boolean {
    return (this.#state?.baseOffset ?? this.stored.baseOffset) !== undefined;
  }

  get isLeader(): boolean {
    return this.state.role === 'leader';
  }

  /** Whether it follows a leader elsewhere, who alone serves readers of it (amendment 7). */
  get isOpenElsewhere(): boolean {
    return this.state.role === 'follower' && !this.isSealed;
  }

  /** First offset that is not committed. */
  get highWatermark(): number {
    return this.baseOffset + this.state.commitLength;
  }

  /** Offset behind the log, committed or not. */
  get endOffset(): number {
    return this.baseOffset + this.state.length;
  }

  /** Whether nothing will ever follow behind its last readable record. */
  get isSealed(): boolean {
    return this.state.sealedLength !== undefined;
  }

  /** Offset behind the segment; undefined while its end, or where it begins, is not known. */
  get sealedEndOffset(): number | undefined {
    const { sealedLength } = this.state;
    const isKnown = sealedLength !== undefined && this.isBaseKnown;
    return isKnown ? this.baseOffset + sealedLength : undefined;
  }

  notifyFollowers(): void {
    if (this.#followers === undefined) return;
    for (const follower of this.#followers) follower.replicaChanged();
  }
}

function stateOf(stored: StoredReplica, self: NodeId, limits: ReplicaLimits): ReplicaState {
  const { manifest } = stored;
  const identity = {
    shardId: manifest.shardId,
    segmentId: manifest.segmentId,
    epoch: manifest.epoch,
    replicaCount: manifest.replicaNodeIds.length,
    selfIndex: manifest.replicaNodeIds.indexOf(self),
    ackQuorum: manifest.ackQuorum,
  };
  return replicaState(identity, limits, {
    baseOffset: stored.baseOffset,
    fencedEpoch: stored.fencedEpoch,
    length: stored.length,
    durableLength: stored.durableLength,
    sealedLength: stored.sealedLength,
    wasActivated: stored.activatedBy !== undefined,
  });
}
