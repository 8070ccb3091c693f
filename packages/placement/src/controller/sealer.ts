import {
  assert,
  type Clock,
  errorCodeOf,
  type Logger,
  OperatingError,
  unreachable,
} from '@robustmq/core';
import {
  NodeState,
  type RecoverSegment,
  type Segment,
  SegmentState,
  type Shard,
  StoredShard,
} from '@robustmq/rpc';
import type { MetadataStore } from '../store/metadata-store.ts';
import { beginSeal, type SegmentEnd, unsealedSegment } from '../core/chain.ts';
import {
  decideReachableSeal,
  type FenceReply,
  type SealDecision,
  type SealQuorum,
} from '../core/seal-decision.ts';
import { TokenBucket } from '../core/token-bucket.ts';
import { decideUnsafeSeal } from '../core/unsafe-seal.ts';
import { ByNode } from './by-node.ts';
import { shardOf } from './image.ts';
import { shardKey } from './keys.ts';
import { type FencedSegment, FenceRound } from './fence-round.ts';
import type { FenceOutcome, JournalOrders } from './journal-orders.ts';
import type { Ledger } from './ledger.ts';
import type { NodeRegistry } from './node-registry.ts';
import { sealedChange } from './sealed-change.ts';
import { SharedAttempts } from './shared-attempts.ts';
import { Stopwatch } from './stopwatch.ts';

export interface SealerOptions {
  readonly store: Pick<MetadataStore, 'get'>;
  readonly ledger: Ledger;
  readonly orders: JournalOrders;
  readonly clock: Clock;
  readonly logger: Logger;
  /** Told when a journal knows of an end that this placement's store does not have. */
  readonly onOldStore: (error: OperatingError) => void;
  readonly nodes: Pick<NodeRegistry, 'hasClosed' | 'isCutOff' | 'reaches'>;
  /** Told of each segment that was sealed; `removed` when it was empty. */
  readonly onSealed: (segment: Segment, removed: boolean) => void;
  /** Told how long an attempt took that sealed something. */
  readonly onAttempt: (seconds: number) => void;
}

/**
 * Seals that begin at once, and then each second: far more than the failover of a journal takes, and an
 * end to journals that come and go making work which makes them go.
 */
const sealsAtOnce = 20_000;
const sealsPerSecond = 5_000;
/** Segments of one attempt from which the log tells how long it took. */
const toldFrom = 100;

/** How one shard fared: undefined when it has no unsealed segment any more. */
export type SealOutcome = OperatingError | undefined;

/** One attempt to seal one segment. */
interface Attempt extends FencedSegment {
  /** Incarnations of the journals that were fenced. */
  readonly lives: ReadonlyMap<string, number>;
}

/**
 * Seals segments without their leader (docs/journal.md 2.7): raise the epoch in the store, fence
 * R - AQ + 1 replicas durably, take the longest log, record the end. Safe at any time: an attempt that
 * is lost at any step leaves the segment SEALING, and the next one begins again with a higher epoch.
 */
export class Sealer {
  readonly #options: SealerOptions;
  readonly #attempts: SharedAttempts<SealOutcome>;
  /** Shards that an operator has sealed with whoever answers, and the end that has to be reached. */
  readonly #unsafe = new Map<number, number>();
  readonly #budget = new TokenBucket(sealsAtOnce, sealsPerSecond);

  constructor(options: SealerOptions) {
    this.#options = options;
    this.#attempts = new SharedAttempts((shardIds) => this.#seal(shardIds));
  }

  /** Seals the unsealed segments of these shards. Requests for one shard share one attempt. */
  seal(shardIds: readonly number[]): Promise<Map<number, SealOutcome>> {
    return this.#attempts.run(shardIds);
  }

  /**
   * Seals with at least one replica, up to the longest log that answers, if that reaches `endOffsetMin`.
   * What only the others have is lost: only an operator may order it.
   */
  async sealUnsafely(shardId: number, endOffsetMin: number): Promise<SealOutcome> {
    this.#unsafe.set(shardId, endOffsetMin);
    try {
      return (await this.seal([shardId])).get(shardId);
    } finally {
      this.#unsafe.delete(shardId);
    }
  }

  /**
   * Whether the unsealed segment has lost its leader, or too many followers to commit anything, or its leader
   * is cut off from them: nobody can append to it any more.
   */
  needsSeal(shard: Shard): boolean {
    const segment = unsealedSegment(shard);
    if (segment === undefined) return false;
    if (segment.state === SegmentState.SEALING) return true;
    const leader = this.#options.ledger.image.node(segment.leaderNodeId);
    if (leader === undefined || leader.incarnation !== segment.leaderIncarnation) return true;
    if (leader.state === NodeState.DOWN || this.#liveReplicas(segment) < segment.ackQuorum) {
      return true;
    }
    const { nodes } = this.#options;
    return nodes.hasClosed(segment) || nodes.isCutOff(segment);
  }

  /** Whether enough replicas can be asked that an attempt may succeed. */
  canSeal(shard: Shard): boolean {
    const segment = unsealedSegment(shard);
    if (segment === undefined) return false;
    const isUnsafe = this.#unsafe.has(shard.shardId);
    const needed = isUnsafe ? 1 : segment.replicaNodeIds.length - segment.ackQuorum + 1;
    return this.#liveReplicas(segment) >= needed;
  }

  #liveReplicas({ replicaNodeIds }: Segment): number {
    const { image } = this.#options.ledger;
    return replicaNodeIds.filter((nodeId) => image.liveNode(nodeId) !== undefined).length;
  }

  async #seal(shardIds: readonly number[]): Promise<Map<number, SealOutcome>> {
    const outcomes = new Map<number, SealOutcome>();
    const possible = shardIds.filter((shardId) => {
      const shard = this.#shard(shardId);
      if (shard === undefined || unsealedSegment(shard) === undefined) return false;
      if (this.canSeal(shard)) return true;
      outcomes.set(shardId, waitingFor(shard));
      return false;
    });
    const granted = this.#budget.take(possible.length, this.#options.clock.monotonicMs());
    for (const shardId of possible.splice(granted)) outcomes.set(shardId, tooMany(shardId));
    const begunMs = this.#options.clock.monotonicMs();
    const watch = new Stopwatch(this.#options.clock);
    const { attempts, error: notBegun } = await this.#begin(possible);
    watch.lap('beginMs');
    await this.#fence(attempts);
    await this.#checkStore(attempts);
    watch.lap('fenceMs');
    await this.#copy(attempts);
    watch.lap('copyMs');
    const ends = this.#decide(attempts, outcomes);
    const notRecorded = await this.#record(ends);
    watch.lap('recordMs');
    if (ends.size > 0) {
      this.#options.onAttempt((this.#options.clock.monotonicMs() - begunMs) / 1_000);
    }
    if (attempts.size >= toldFrom) {
      const fields = { segments: attempts.size, sealed: ends.size, ...watch.laps };
      this.#options.logger.info(fields, 'many segments were sealed');
    }
    for (const shardId of possible) {
      if (outcomes.has(shardId) || !this.#isUnsealed(shardId)) continue;
      const message = `shard ${shardId}: another seal runs, or a journal was started anew meanwhile`;
      const overtaken = new OperatingError('CONFLICT', message);
      outcomes.set(shardId, notBegun ?? notRecorded ?? overtaken);
    }
    return outcomes;
  }

  /** S1: no attempt with a lower epoch can end the segment from now on. */
  async #begin(
    shardIds: readonly number[],
  ): Promise<{ attempts: Map<number, Attempt>; error: SealOutcome }> {
    const { changed, error } = await this.#options.ledger.changeShards(shardIds, 1, (stored) =>
      unsealedSegment(shardOf(stored)) === undefined
        ? undefined
        : { stored: { ...stored, shard: beginSeal(shardOf(stored)) } },
    );
    const attempts = new Map<number, Attempt>();
    for (const shardId of changed) {
      const shard = this.#shard(shardId);
      const segment = shard && unsealedSegment(shard);
      if (segment === undefined) continue;
      attempts.set(shardId, { segment, replies: [], lives: this.#livesOf(segment) });
    }
    return { attempts, error };
  }

  #livesOf({ replicaNodeIds }: Segment): Map<string, number> {
    const { image } = this.#options.ledger;
    return new Map(replicaNodeIds.map((id) => [id, image.liveNode(id)?.incarnation ?? 0]));
  }

  /**
   * Whether a journal lives in the incarnation that was fenced: the next one may have lost what the answer
   * tells, and has been compared with the chains before they could name it as full.
   */
  #isSameLife({ lives }: Attempt, nodeId: string): boolean {
    return this.#options.ledger.image.node(nodeId)?.incarnation === lives.get(nodeId);
  }

  /** S2: every replica that can be reached is fenced and tells what it has. */
  async #fence(attempts: ReadonlyMap<number, Attempt>): Promise<void> {
    const { orders, clock } = this.#options;
    const byNode = new ByNode<Attempt>();
    for (const attempt of attempts.values()) {
      for (const nodeId of attempt.segment.replicaNodeIds) {
        if (attempt.lives.get(nodeId) !== 0) byNode.add(nodeId, attempt);
      }
    }
    const round = new FenceRound(clock, attempts.values());
    const asking = byNode.forEach(async (nodeId, items) => {
      const asked = items.map(({ segment }) => ({
        segmentId: segment.segmentId,
        epoch: segment.sealEpoch,
      }));
      const answers = await orders.fence(nodeId, asked);
      items.forEach((item, at) => {
        const answer = answers[at];
        if (answer !== undefined) round.note(item, replyOf(nodeId, answer));
      });
      round.answered();
    });
    await round.wait(asking);
  }

  /**
   * Ends are told to journals only when they are in the store: where the store does not have one that a
   * journal was told, it is an old copy. A placement that does not decide any more reads it there.
   */
  async #checkStore(attempts: ReadonlyMap<number, Attempt>): Promise<void> {
    const { store, ledger, onOldStore } = this.#options;
    if (ledger.image.cluster?.value.incomplete === true) return;
    for (const [shardId, { segment, replies }] of attempts) {
      const sealed = replies.find((reply) => reply.kind === 'usable' && reply.isSealed === true);
      if (sealed === undefined) continue;
      const stored = await store.get(shardKey(shardId));
      if (stored === undefined || !isStill(StoredShard.decode(stored.value), segment)) continue;
      const message = `journal ${sealed.nodeId} was told the end of a segment of shard ${shardId} that is not sealed here: placement's data folder is an old copy`;
      onOldStore(new OperatingError('OLD_STORE', message));
      return;
    }
  }

  /**
   * S4: replicas that lack records of the end get them from one that has all, as many as the ack quorum
   * needs. Their answers take the place of those to the fence; who could not be completed stays short.
   */
  async #copy(attempts: ReadonlyMap<number, Attempt>): Promise<void> {
    const { ledger, orders, nodes } = this.#options;
    const byNode = new ByNode<{ attempt: Attempt; order: RecoverSegment }>();
    for (const attempt of attempts.values()) {
      const { segment } = attempt;
      const decision = this.#decisionOf(attempt);
      if (decision.kind !== 'copies-needed') continue;
      const { reaches } = nodes;
      const isHelped = (nodeId: string): boolean =>
        decision.full.some((source) => reaches(source, nodeId));
      const order: RecoverSegment = {
        segmentId: segment.segmentId,
        epoch: segment.sealEpoch,
        baseOffset: segment.baseOffset,
        length: decision.length,
        sources: decision.full.flatMap((nodeId) => ledger.image.liveNode(nodeId) ?? []),
        copy: undefined,
      };
      const wanted = segment.ackQuorum - decision.full.length;
      const helped = decision.short.filter(isHelped).slice(0, wanted);
      for (const nodeId of helped) byNode.add(nodeId, { attempt, order });
    }
    await byNode.forEach(async (nodeId, items) => {
      const answers = await orders.recover(
        nodeId,
        items.map(({ order }) => order),
      );
      answers.forEach((answer, at) => {
        const reply = replyOf(nodeId, answer);
        const replies = items[at]?.attempt.replies;
        if (reply?.kind !== 'usable' || replies === undefined) return;
        replies[replies.findIndex((before) => before.nodeId === nodeId)] = reply;
      });
    });
  }

  /** S3, S4. */
  #decide(
    attempts: ReadonlyMap<number, Attempt>,
    outcomes: Map<number, SealOutcome>,
  ): Map<number, Sealing> {
    const ends = new Map<number, Sealing>();
    const failures = new Map<SealDecision['kind'], OperatingError[]>();
    const sealedAtMs = this.#options.clock.wallMs();
    for (const [shardId, attempt] of attempts) {
      const { segment } = attempt;
      const decision = this.#decisionOf(attempt);
      if (decision.kind === 'end') {
        const { length, fullNodeIds, sizeBytes, maxTimestampMs } = decision;
        const endOffset = segment.baseOffset + length;
        const end = { endOffset, fullNodeIds, sizeBytes, maxTimestampMs, sealedAtMs };
        ends.set(shardId, { attempt, end });
        continue;
      }
      const error = explain(segment, decision);
      const alike = failures.get(decision.kind);
      if (alike === undefined) failures.set(decision.kind, [error]);
      else alike.push(error);
      outcomes.set(shardId, error);
    }
    for (const [decision, errors] of failures) {
      const fields = { decision, segments: errors.length, example: errors[0]?.message };
      this.#options.logger.error(fields, 'segments could not be sealed: trying again');
    }
    return ends;
  }

  #decisionOf(attempt: Attempt): SealDecision {
    const { segment } = attempt;
    const replies = attempt.replies.filter(({ nodeId }) => this.#isSameLife(attempt, nodeId));
    const endOffsetMin = this.#unsafe.get(segment.shardId);
    const quorum = quorumOf(segment);
    if (endOffsetMin === undefined) {
      return decideReachableSeal(quorum, replies, this.#options.nodes.reaches);
    }
    return decideUnsafeSeal(quorum, replies, endOffsetMin - segment.baseOffset);
  }

  /** S6, then S7. */
  async #record(ends: ReadonlyMap<number, Sealing>): Promise<SealOutcome> {
    const { ledger, onSealed } = this.#options;
    const recorded = new Map<number, { segment: Segment; removed: boolean }>();
    const { changed, error } = await ledger.changeShards([...ends.keys()], 2, (stored) => {
      const { shardId } = shardOf(stored);
      const sealing = ends.get(shardId);
      assert(sealing !== undefined, `the end of shard ${shardId} was decided`);
      const { attempt, end } = sealing;
      if (!isStill(stored, attempt.segment)) return undefined;
      if (!end.fullNodeIds.every((nodeId) => this.#isSameLife(attempt, nodeId))) return undefined;
      const { change, sealed } = sealedChange(stored, end);
      recorded.set(shardId, sealed);
      return change;
    });
    const sealed = [...changed].flatMap((shardId) => recorded.get(shardId) ?? []);
    for (const { segment, removed } of sealed) onSealed(segment, removed);
    return error;
  }

  #isUnsealed(shardId: number): boolean {
    const shard = this.#shard(shardId);
    return shard !== undefined && unsealedSegment(shard) !== undefined;
  }

  #shard(shardId: number): Shard | undefined {
    return this.#options.ledger.image.shards.get(shardId)?.value.shard;
  }
}

function quorumOf({ replicaNodeIds, ackQuorum }: Segment): SealQuorum {
  return { replicas: replicaNodeIds.length, ackQuorum };
}

interface Sealing {
  readonly attempt: Attempt;
  readonly end: SegmentEnd;
}

/** Whether the attempt is still the newest one. */
function isStill(stored: StoredShard, segment: Segment): boolean {
  const now = unsealedSegment(shardOf(stored));
  return (
    now !== undefined &&
    now.segmentId.equals(segment.segmentId) &&
    now.sealEpoch === segment.sealEpoch
  );
}

/** Undefined when the replica did not answer. */
function replyOf(nodeId: string, answer: FenceOutcome): FenceReply | undefined {
  if (answer instanceof OperatingError) return undefined;
  const refusal = answer.status?.code === 0 ? undefined : answer.status;
  if (refusal === undefined) {
    const { length, chain, sizeBytes, maxTimestampMs, sealed: isSealed } = answer;
    return { kind: 'usable', nodeId, length, chain, sizeBytes, maxTimestampMs, isSealed };
  }
  return fencedHigher(refusal.code)
    ? { kind: 'stale', nodeId, epoch: refusal.hintEpoch }
    : { kind: 'unusable', nodeId };
}

function fencedHigher(code: number): boolean {
  return errorCodeOf(code) === 'FENCED';
}

function tooMany(shardId: number): OperatingError {
  const message = `shard ${shardId}: too many segments are being sealed, its turn comes`;
  return new OperatingError('RESOURCE_EXHAUSTED', message, { retryAfterMs: 500 });
}

function waitingFor(shard: Shard): OperatingError {
  const segment = unsealedSegment(shard);
  const nodes = segment?.replicaNodeIds.join(', ');
  const message = `shard ${shard.shardId}: its last segment cannot be sealed while too few of its journals (${nodes}) are there`;
  return new OperatingError('UNAVAILABLE', message, { retryAfterMs: 200 });
}

function explain(
  segment: Segment,
  decision: Exclude<SealDecision, { kind: 'end' }>,
): OperatingError {
  const name = `segment ${segment.segmentId.toString('hex')} of shard ${segment.shardId}`;
  switch (decision.kind) {
    case 'stale':
      return new OperatingError(
        'CONFLICT',
        `${name}: a seal with epoch ${decision.epoch} is ahead`,
      );
    case 'too-few': {
      const message = `${name} stays unavailable: ${decision.usable} intact replicas answered, ${decision.needed} are needed`;
      return new OperatingError('UNAVAILABLE', message, { retryAfterMs: 1_000 });
    }
    case 'copies-needed': {
      const message = `${name} stays unavailable: only ${decision.full.join(', ')} has all ${decision.length} records, copies are needed`;
      return new OperatingError('UNAVAILABLE', message, { retryAfterMs: 1_000 });
    }
    case 'diverged':
      return new OperatingError('DAMAGED', `${name}: ${decision.nodeIds.join(' and ')} differ`);
    default:
      return unreachable(decision);
  }
}
