import { type Clock, delay, type Logger, OperatingError, type Random } from '@robustmq/core';
import { type PrepareReplica, SegmentState, type Shard } from '@robustmq/rpc';
import { openNext, type ReplicaSet, unsealedSegment } from '../core/chain.ts';
import { ackQuorumOf, ReplicaChooser } from '../core/replica-choice.ts';
import { readTopicConfig } from '../core/topic-config.ts';
import type { Activator } from './activator.ts';
import { ByNode } from './by-node.ts';
import type { CatalogCopies } from './catalog-copies.ts';
import { shardOf } from './image.ts';
import type { JournalOrders, OrderOutcome } from './journal-orders.ts';
import type { Ledger } from './ledger.ts';
import type { NodeRegistry } from './node-registry.ts';
import type { Sealer } from './sealer.ts';
import { SharedAttempts } from './shared-attempts.ts';
import { Stopwatch } from './stopwatch.ts';

export interface OpenerOptions {
  readonly ledger: Ledger;
  readonly orders: JournalOrders;
  readonly nodes: NodeRegistry;
  readonly sealer: Sealer;
  readonly copies: Pick<CatalogCopies, 'ensure'>;
  readonly activator: Activator;
  readonly random: Random;
  readonly clock: Clock;
  readonly logger: Logger;
  /** Told of replicas that were prepared for a segment that was not opened. */
  readonly onAbandoned: (segmentId: Buffer, replicas: readonly string[]) => void;
  /** Told how many segments were opened. */
  readonly onOpened: (count: number) => void;
}

/** A segment whose replicas all have their manifest, durably. */
export interface Prepared {
  readonly segmentId: Buffer;
  /** Under which it has to be opened. */
  readonly epoch: number;
  readonly replicas: ReplicaSet;
  /** Incarnations of its members when they were chosen, by node id. */
  readonly incarnations: ReadonlyMap<string, number>;
}

/** Told of each segment as soon as its replicas are prepared. */
export type OnPrepared = (shardId: number, prepared: Prepared) => void;

/** Who has all of the last segment of a shard, by shard. */
export type FullNodes = ReadonlyMap<number, readonly string[]>;

interface Plan {
  readonly epochsAhead: number;
  /** Journals that did not take a replica. */
  readonly excluded: ReadonlySet<string>;
  readonly full: FullNodes;
}

/** How one shard fared: undefined when it has an open segment. */
export type OpenOutcome = OperatingError | undefined;

/** Journals that did not take their replica, one after the other, until a shard is given up. */
const substitutesMax = 3;
/** How often a journal that has not answered is looked at, in ms. */
const silenceCheckMs = 100;
/** Segments of one attempt from which the log tells how long it took. */
const toldFrom = 100;

/**
 * Opens segments on demand, in batches (docs/journal.md 2.5): prepare all replicas durably, record the
 * segment, then make the leader lead. Because every replica has a manifest before the segment is in the
 * store, a missing manifest later proves a loss.
 */
export class Opener {
  readonly #options: OpenerOptions;
  readonly #attempts: SharedAttempts<OpenOutcome>;
  /** Segment ids in hex that are prepared and neither in a chain nor given up. */
  readonly #pending = new Set<string>();

  constructor(options: OpenerOptions) {
    this.#options = options;
    this.#attempts = new SharedAttempts((shardIds) => this.#open(shardIds));
  }

  /** Opens a segment for each shard that has none. Requests for one shard share one attempt. */
  open(shardIds: readonly number[]): Promise<Map<number, OpenOutcome>> {
    return this.#attempts.run(shardIds);
  }

  /**
   * Prepares the replicas of a next segment for each shard. Shards for which that fails have an error
   * instead. The caller has to {@link Opener.settle} each.
   *
   * @param epochsAhead How far above the shard's epoch the segment will be opened.
   * @param full Who has all of the segment before, by shard; where it is not told, as the chain says.
   * @param onPrepared Told of what is prepared at once: others may have to wait for a journal that hangs.
   */
  async prepare(
    shardIds: readonly number[],
    epochsAhead: number,
    full: FullNodes = new Map(),
    onPrepared: OnPrepared = () => {},
  ): Promise<Map<number, Prepared | OperatingError>> {
    const outcomes = new Map<number, Prepared | OperatingError>();
    const excluded = new Set<string>();
    let rest = shardIds;
    for (let tries = 0; rest.length > 0; tries++) {
      const planned = this.#plan(rest, { epochsAhead, excluded, full }, outcomes);
      const refusals = await this.#orderPrepare(planned, excluded, onPrepared);
      for (const [shardId, prepared] of planned) outcomes.set(shardId, prepared);
      for (const [shardId, error] of refusals) {
        const prepared = planned.get(shardId);
        if (prepared !== undefined) this.settle(prepared, false);
        outcomes.set(shardId, error);
      }
      rest = tries < substitutesMax ? [...refusals.keys()] : [];
    }
    return outcomes;
  }

  /** Whether a segment id was given out by an attempt that still runs. */
  isPending(segmentIdHex: string): boolean {
    return this.#pending.has(segmentIdHex);
  }

  /** Ends an attempt. What was prepared and not opened is to be deleted. */
  settle({ segmentId, replicas }: Prepared, wasOpened: boolean): void {
    this.#pending.delete(segmentId.toString('hex'));
    if (!wasOpened) this.#options.onAbandoned(segmentId, replicas.replicaNodeIds);
  }

  async #open(shardIds: readonly number[]): Promise<Map<number, OpenOutcome>> {
    const { sealer, activator, onOpened, clock, logger } = this.#options;
    const outcomes = new Map<number, OpenOutcome>();
    const known = shardIds.filter((shardId) => this.#refuseUnknown(shardId, outcomes));
    const leaderless = known.filter((shardId) => sealer.needsSeal(this.#shard(shardId)));
    if (leaderless.length > 0) {
      for (const [shardId, error] of await sealer.seal(leaderless)) outcomes.set(shardId, error);
    }
    const closed = known.filter(
      (shardId) =>
        outcomes.get(shardId) === undefined && unsealedSegment(this.#shard(shardId)) === undefined,
    );
    const watch = new Stopwatch(clock);
    const prepared = await this.prepare(closed, 1);
    watch.lap('prepareMs');
    const opened = await this.#record(prepared, outcomes);
    watch.lap('recordMs');
    onOpened(opened.size);
    await activator.activate(opened);
    watch.lap('activateMs');
    if (opened.size >= toldFrom) {
      logger.info({ segments: opened.size, ...watch.laps }, 'many segments were opened');
    }
    return outcomes;
  }

  async #record(
    prepared: ReadonlyMap<number, Prepared | OperatingError>,
    outcomes: Map<number, OpenOutcome>,
  ): Promise<ReadonlySet<number>> {
    const ready = new Map<number, Prepared>();
    for (const [shardId, outcome] of prepared) {
      if (outcome instanceof OperatingError) outcomes.set(shardId, outcome);
      else ready.set(shardId, outcome);
    }
    const { ledger } = this.#options;
    const { changed, error } = await ledger.changeShards([...ready.keys()], 1, (stored) => {
      const shard = shardOf(stored);
      const next = ready.get(shard.shardId);
      if (next === undefined || !this.canOpen(shard, next)) return undefined;
      return { stored: { ...stored, shard: openNext(shard, next.segmentId, next.replicas) } };
    });
    for (const [shardId, next] of ready) {
      this.settle(next, changed.has(shardId));
      if (changed.has(shardId)) continue;
      const shard = ledger.image.shards.get(shardId)?.value.shard;
      if (shard !== undefined && unsealedSegment(shard)?.state === SegmentState.OPEN) continue;
      const overtaken = new OperatingError('CONFLICT', `shard ${shardId} changed meanwhile`);
      outcomes.set(shardId, error ?? overtaken);
    }
    return changed;
  }

  /** Whether what was prepared still fits the chain, its topic has the shard and its journals are known. */
  canOpen(shard: Shard, next: Prepared): boolean {
    const { ledger, nodes } = this.#options;
    const { image } = ledger;
    const isThere = (nodeId: string): boolean =>
      image.nodes.has(nodeId) && !nodes.isBeingRemoved(nodeId);
    return (
      next.replicas.replicaNodeIds.every(isThere) &&
      unsealedSegment(shard) === undefined &&
      shard.epoch + 1 === next.epoch &&
      image.topicOf(shard.shardId) !== undefined
    );
  }

  #plan(
    shardIds: readonly number[],
    { epochsAhead, excluded, full }: Plan,
    outcomes: Map<number, Prepared | OperatingError>,
  ): Map<number, Prepared> {
    const { nodes, random, ledger } = this.#options;
    const candidates = nodes.journalCandidates().filter(({ nodeId }) => !excluded.has(nodeId));
    const chooser = new ReplicaChooser(candidates, random, nodes.reaches);
    const prompt = candidates.filter(({ nodeId }) => !nodes.isOverdue(nodeId));
    const promptly =
      prompt.length < candidates.length
        ? new ReplicaChooser(prompt, random, nodes.reaches)
        : chooser;
    const avoided = candidates.map(({ nodeId }) => nodeId).filter((id) => nodes.isAvoided(id));
    const planned = new Map<number, Prepared>();
    const known = new Map(candidates.map(({ nodeId, incarnation }) => [nodeId, incarnation]));
    for (const shardId of shardIds) {
      const config = readTopicConfig(ledger.image.topicOf(shardId)?.config ?? {});
      const shard = ledger.image.shards.get(shardId)?.value.shard;
      if (shard === undefined) {
        outcomes.set(shardId, new OperatingError('NOT_FOUND', `there is no shard ${shardId}`));
        continue;
      }
      const before = whoHas(shard, full.get(shardId));
      for (const nodeId of avoided) before.behind.add(nodeId);
      const { replicationFactor, minInsyncReplicas } = config;
      const quorum = ackQuorumOf(replicationFactor, candidates.length, minInsyncReplicas);
      const replicas =
        prompt.length >= quorum
          ? promptly.choose(replicationFactor, quorum, before)
          : chooser.choose(replicationFactor, minInsyncReplicas, before);
      if (replicas === undefined) {
        // The refusal of the last journal that was tried says more.
        if (outcomes.has(shardId)) continue;
        outcomes.set(shardId, noJournal(shardId, candidates.length, config.minInsyncReplicas));
        continue;
      }
      const epoch = shard.epoch + epochsAhead;
      const segmentId = random.bytes(16);
      this.#pending.add(segmentId.toString('hex'));
      const incarnations = new Map(
        replicas.replicaNodeIds.map((nodeId) => [nodeId, known.get(nodeId) ?? 0]),
      );
      planned.set(shardId, { segmentId, epoch, replicas, incarnations });
    }
    return planned;
  }

  /**
   * Whoever gets a replica keeps a copy of the catalog that has its topic, before it has the replica. Returns
   * the shards that have a replica which was not taken; those journals are excluded.
   */
  async #orderPrepare(
    planned: ReadonlyMap<number, Prepared>,
    excluded: Set<string>,
    onPrepared: OnPrepared,
  ): Promise<Map<number, OperatingError>> {
    const revision = this.#revisionOf(planned.keys());
    const byNode = new ByNode<PrepareReplica>();
    const missing = new Map<number, number>();
    for (const [shardId, { segmentId, epoch, replicas }] of planned) {
      missing.set(shardId, replicas.replicaNodeIds.length);
      for (const nodeId of replicas.replicaNodeIds) {
        const { ackQuorum } = replicas;
        const replicaNodeIds = [...replicas.replicaNodeIds];
        byNode.add(nodeId, { segmentId, shardId, epoch, replicaNodeIds, ackQuorum });
      }
    }
    const refusals = new Map<number, OperatingError>();
    await byNode.forEach(async (nodeId, items) => {
      const { outcomes, isSilent } = await this.#orderAt(nodeId, items, revision);
      items.forEach(({ shardId }, at) => {
        const error = outcomes[at];
        if (error !== undefined) {
          refusals.set(shardId, asRefusal(nodeId, error));
          if (!isSilent) excluded.add(nodeId);
          return;
        }
        const left = (missing.get(shardId) ?? 0) - 1;
        missing.set(shardId, left);
        const prepared = planned.get(shardId);
        if (left === 0 && prepared !== undefined) onPrepared(shardId, prepared);
      });
    });
    return refusals;
  }

  /**
   * Gives a copy and orders. A journal that does not answer and sends no heartbeats either is waited for no
   * longer when the others can do without it: it is chosen again when it is heard.
   */
  async #orderAt(
    nodeId: string,
    items: readonly PrepareReplica[],
    revision: number,
  ): Promise<{ outcomes: readonly OrderOutcome[]; isSilent: boolean }> {
    const { orders, copies } = this.#options;
    const over = new AbortController();
    const ordered = (async () => {
      await copies.ensure([nodeId], revision);
      // Whoever was given up gets no order behind the one to delete.
      const outcomes = over.signal.aborted ? [] : await orders.prepare(nodeId, items);
      return { outcomes, isSilent: false };
    })();
    const silent = (async () => {
      await this.#untilDispensable(nodeId, items, over.signal);
      const error = new OperatingError('UNAVAILABLE', `journal ${nodeId} is silent`);
      return { outcomes: items.map(() => error), isSilent: true };
    })();
    try {
      return await Promise.race([ordered, silent]);
    } finally {
      over.abort();
    }
  }

  /** Resolves when a journal is overdue and there are enough others. Rejects when that is not asked any more. */
  async #untilDispensable(
    nodeId: string,
    items: readonly PrepareReplica[],
    signal: AbortSignal,
  ): Promise<void> {
    const { nodes, clock } = this.#options;
    const quorum = Math.max(...items.map(({ ackQuorum }) => ackQuorum));
    const isDispensable = (): boolean =>
      nodes.isOverdue(nodeId) &&
      nodes.journalCandidates().filter((other) => !nodes.isOverdue(other.nodeId)).length >= quorum;
    do await delay(clock, silenceCheckMs, signal);
    while (!isDispensable());
  }

  /** Of the newest topic of these shards. */
  #revisionOf(shardIds: Iterable<number>): number {
    const { image } = this.#options.ledger;
    let revision = 0;
    for (const shardId of shardIds) {
      const topic = image.shards.get(shardId)?.value.shard?.topic ?? '';
      revision = Math.max(revision, image.topics.get(topic)?.revision ?? 0);
    }
    return revision;
  }

  /** Whether the shard can be worked on; otherwise its outcome says why not. */
  #refuseUnknown(shardId: number, outcomes: Map<number, OpenOutcome>): boolean {
    if (this.#options.ledger.image.topicOf(shardId) !== undefined) return true;
    outcomes.set(shardId, new OperatingError('NOT_FOUND', `there is no shard ${shardId}`));
    return false;
  }

  #shard(shardId: number): Shard {
    const shard = this.#options.ledger.image.shards.get(shardId)?.value.shard;
    if (shard === undefined) throw new OperatingError('NOT_FOUND', `there is no shard ${shardId}`);
    return shard;
  }
}

/** Whom a next leader is best taken from, as having all of the last segment; and its members that lack some. */
function whoHas(
  { segments }: Shard,
  told: readonly string[] | undefined,
): { full: Set<string>; behind: Set<string> } {
  const last = segments.at(-1);
  const full = new Set(told ?? last?.fullNodeIds);
  const behind = new Set(last?.replicaNodeIds.filter((nodeId) => !full.has(nodeId)));
  // A roll spreads leaders by load; after a failover, which may be of thousands, time counts.
  return { full: told === undefined ? full : new Set(), behind };
}

/** A journal that is broken is one that is not there: who appends tries again, others may take its place. */
function asRefusal(nodeId: string, error: OperatingError): OperatingError {
  if (error.code !== 'INTERNAL') return error;
  const message = `journal ${nodeId} could not take a replica: ${error.message}`;
  return new OperatingError('UNAVAILABLE', message, { retryAfterMs: 200 });
}

/** What Kafka calls NOT_ENOUGH_REPLICAS, unless there is no journal at all. */
function noJournal(shardId: number, journals: number, needed: number): OperatingError {
  const code = journals === 0 ? 'UNAVAILABLE' : 'NOT_ENOUGH_REPLICAS';
  const message = `no segment for shard ${shardId}: ${journals} journals take new segments, ${needed} are needed`;
  return new OperatingError(code, message, { retryAfterMs: 200 });
}
