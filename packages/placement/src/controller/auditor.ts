import type { Clock, Logger } from '@robustmq/core';
import type { ReplicaSummary, Segment } from '@robustmq/rpc';
import { decideRepair, type RepairPlan } from '../core/repair-decision.ts';
import { readTopicConfig } from '../core/topic-config.ts';
import type { Image } from './image.ts';
import type { JournalOrders } from './journal-orders.ts';
import { LackingReplicas } from './lacking-replicas.ts';
import { Leftovers } from './leftovers.ts';
import type { NodeRegistry } from './node-registry.ts';
import type { Repair, Repairer } from './repairer.ts';
import type { SealedRows } from './sealed-rows.ts';

export interface AuditorOptions {
  readonly image: Image;
  readonly rows: SealedRows;
  readonly repairer: Pick<Repairer, 'run'>;
  readonly orders: Pick<JournalOrders, 'inventory' | 'deleteLeftovers'>;
  readonly nodes: Pick<NodeRegistry, 'journalCandidates' | 'health'>;
  readonly clock: Clock;
  readonly logger: Logger;
  /** How long a journal may be away before others take its replicas over, in ms. */
  readonly downGraceMs: number;
}

/** What one pass has under way. One larger segment alone may pass the bytes. */
const repairsPerPass = 64;
const bytesPerPass = 256 * 1024 * 1024;
const firstDelayMs = 1_000;
/** A scrub may find much in a row: an inventory is not asked for more often. */
const compareEachMs = 10_000;
const lastDelayMs = 60_000;

interface Due {
  readonly segment: Segment;
  copies: number;
  delayMs: number;
  notBeforeMs: number;
  /** Attempts that failed: each goes to the next member or journal that could be repaired. */
  tries: number;
  /** Journals whose replica of it is damaged and could not be replaced there. */
  readonly damagedAt: Set<string>;
}

/**
 * Looks at all sealed segments, a page in each pass, and has those repaired that lack full replicas: the ones
 * with the fewest copies first, a bounded number at a time, those that failed ever more seldom.
 */
export class Auditor {
  readonly #options: AuditorOptions;
  /** By segment id in hex. */
  readonly #due = new Map<string, Due>();
  readonly #downSinceMs = new Map<string, number>();
  /** What each journal had found damaged when it was compared last. */
  readonly #compared = new Map<string, { incarnation: number; damages: number; atMs: number }>();
  #after: string | undefined;

  readonly #leftovers: Leftovers;
  readonly #lacking: LackingReplicas;
  /** Journals that count as full where they may not be. */
  readonly #suspects = new Set<string>();

  constructor(options: AuditorOptions) {
    this.#options = options;
    const isWell = (segment: Segment): boolean => this.#plan(segment, undefined) === undefined;
    this.#leftovers = new Leftovers({ ...options, isWell });
    this.#lacking = new LackingReplicas(options.image);
  }

  /** Sealed segments that are known to lack full replicas. */
  get underReplicated(): number {
    return this.#due.size;
  }

  /** A segment has been sealed. */
  sealed(segment: Segment): void {
    if (segment.fullNodeIds.length < segment.replicaNodeIds.length) this.#note(segment);
    for (const nodeId of this.#lacking.sealed(segment)) this.#suspects.add(nodeId);
  }

  async pass(): Promise<void> {
    this.#noteDown();
    const { segments, next } = await this.#options.rows.page(this.#after);
    this.#after = next;
    for (const segment of segments) {
      if (this.#plan(segment, undefined) !== undefined) this.#note(segment);
    }
    await this.#repair();
    await this.#leftovers.pass();
    await this.#compareSuspects();
    await this.#compareDamaged();
  }

  async #compareSuspects(): Promise<void> {
    const { image } = this.#options;
    // One that is away is compared when it comes.
    const suspects = [...this.#suspects].filter((nodeId) => image.liveNode(nodeId) !== undefined);
    this.#suspects.clear();
    await Promise.all(suspects.map((nodeId) => this.compare(nodeId)));
  }

  /** A journal that has found damage is asked which replicas it is. */
  async #compareDamaged(): Promise<void> {
    const { image, nodes, clock } = this.#options;
    const nowMs = clock.monotonicMs();
    for (const [nodeId, { damagesFound: damages }] of nodes.health()) {
      const incarnation = image.liveNode(nodeId)?.incarnation;
      if (incarnation === undefined) continue;
      const last = this.#compared.get(nodeId);
      // What it had found before it was started anew was compared when it registered.
      const known = last?.incarnation === incarnation ? last.damages : 0;
      if (damages === known) continue;
      if (last !== undefined && nowMs - last.atMs < compareEachMs) continue;
      await this.compare(nodeId);
      this.#compared.set(nodeId, { incarnation, damages, atMs: nowMs });
    }
  }

  /**
   * Compares what the chains say a journal has with what it says itself: a replica that is not there, short
   * or damaged is not full, and is repaired. The journal is asked again for what it lacked, since a segment
   * may have been opened and sealed after the first answer. Rejects when it does not answer; the passes
   * ask it again.
   */
  async compare(nodeId: string): Promise<void> {
    try {
      await this.#compare(nodeId);
    } catch (thrown) {
      this.#suspects.add(nodeId);
      throw thrown;
    }
  }

  async #compare(nodeId: string): Promise<void> {
    const { rows, orders, logger } = this.#options;
    const first = byId(await orders.inventory(nodeId));
    this.#lacking.heard(nodeId, first);
    const suspects: Segment[] = [];
    await rows.forEach((segment) => {
      const isMember = segment.replicaNodeIds.includes(nodeId);
      if (!isMember && first.has(segment.segmentId.toString('hex'))) {
        this.#leftovers.note(segment, nodeId);
      }
      if (segment.fullNodeIds.includes(nodeId) && !isFull(segment, first)) suspects.push(segment);
    });
    if (suspects.length === 0) return;
    const second = byId(await orders.inventory(nodeId));
    const lost = suspects.filter((segment) => !isFull(segment, second));
    if (lost.length === 0) return;
    logger.error(
      { nodeId, segments: lost.length },
      'a journal has lost replicas, or some are damaged',
    );
    for (const segment of lost) await this.#drop(segment, nodeId);
  }

  async #drop(segment: Segment, nodeId: string): Promise<void> {
    const { image, rows, logger } = this.#options;
    let dropped: Segment | undefined;
    await rows.change(segment, (now) => {
      const fullNodeIds = now.fullNodeIds.filter((one) => one !== nodeId);
      if (fullNodeIds.length === now.fullNodeIds.length) return undefined;
      // A journal that was removed keeps nothing for anybody.
      const isLast = !fullNodeIds.some((one) => image.nodes.has(one));
      if (!isLast) return (dropped = { ...now, fullNodeIds });
      const { segmentId, shardId, ackQuorum, replicaNodeIds } = now;
      const replicas = replicaNodeIds.length;
      const hex = segmentId.toString('hex');
      const fields = { segmentId: hex, shardId, nodeId, replicas, ackQuorum };
      logger.error(fields, 'the last full replica of a segment is lost or damaged');
      return undefined;
    });
    if (dropped !== undefined) this.#note(dropped);
  }

  #note(segment: Segment): void {
    const hex = segment.segmentId.toString('hex');
    const copies = segment.fullNodeIds.length;
    const known = this.#due.get(hex);
    if (known !== undefined) known.copies = copies;
    else {
      const damagedAt = new Set<string>();
      const times = { delayMs: firstDelayMs, notBeforeMs: 0, tries: 0 };
      this.#due.set(hex, { segment, copies, ...times, damagedAt });
    }
  }

  #noteDown(): void {
    const { image, clock } = this.#options;
    const nowMs = clock.monotonicMs();
    for (const nodeId of image.nodes.keys()) {
      if (image.liveNode(nodeId) !== undefined) this.#downSinceMs.delete(nodeId);
      else if (!this.#downSinceMs.has(nodeId)) this.#downSinceMs.set(nodeId, nowMs);
    }
    for (const nodeId of this.#downSinceMs.keys()) {
      if (image.nodes.has(nodeId)) continue;
      this.#downSinceMs.delete(nodeId);
      this.#lacking.forget(nodeId);
    }
  }

  #plan(segment: Segment, due: Due | undefined): RepairPlan | undefined {
    const { image, nodes, clock, downGraceMs } = this.#options;
    const nowMs = clock.monotonicMs();
    const isAway = (nodeId: string): boolean => {
      const sinceMs = this.#downSinceMs.get(nodeId);
      return sinceMs !== undefined && nowMs - sinceMs >= downGraceMs;
    };
    const journals = nodes.journalCandidates();
    const { replicationFactor } = readTopicConfig(image.topicOf(segment.shardId)?.config ?? {});
    return decideRepair({
      segment,
      wanted: Math.min(replicationFactor, journals.length),
      isLive: (nodeId) => image.liveNode(nodeId) !== undefined,
      isGivenUp: (nodeId) =>
        !image.isWantedOn(nodeId) || due?.damagedAt.has(nodeId) === true || isAway(nodeId),
      spares: journals
        .toSorted((left, right) => (right.freeBytes ?? 0) - (left.freeBytes ?? 0))
        .map(({ nodeId }) => nodeId),
    });
  }

  async #repair(): Promise<void> {
    const { image, clock, rows, repairer, logger } = this.#options;
    const nowMs = clock.monotonicMs();
    const ready = [...this.#due].filter(([, { notBeforeMs }]) => notBeforeMs <= nowMs);
    ready.sort(([, left], [, right]) => left.copies - right.copies);
    const repairs: Repair[] = [];
    let bytes = 0;
    for (const [hex, due] of ready) {
      if (repairs.length >= repairsPerPass || bytes >= bytesPerPass) break;
      const segment = await rows.read(due.segment);
      const plan = segment && this.#plan(segment, due);
      if (segment === undefined || plan === undefined) {
        this.#due.delete(hex);
        continue;
      }
      due.notBeforeMs = nowMs + due.delayMs;
      due.delayMs = Math.min(due.delayMs * 2, lastDelayMs);
      const target = plan.targets[due.tries % Math.max(1, plan.targets.length)];
      // Nobody takes over from a damaged replica: it is tried once more where it is.
      if (target === undefined) due.damagedAt.clear();
      if (target === undefined) continue;
      const { sources } = plan;
      repairs.push({ segment, target, sources, problem: undefined, isDamaged: false });
      bytes += segment.sizeBytes;
    }
    if (repairs.length === 0) return;
    const incarnationOf = (nodeId: string): number | undefined =>
      image.liveNode(nodeId)?.incarnation;
    const before = repairs.map(({ target }) => incarnationOf(target.nodeId));
    await repairer.run(repairs);
    repairs.forEach((repair, at) => {
      this.#noteOutcome(repair);
      const { nodeId } = repair.target;
      // It may have lost its disk, and been compared before its replica was recorded.
      if (incarnationOf(nodeId) !== before[at]) this.#suspects.add(nodeId);
    });
    const failed = repairs.filter(({ problem }) => problem !== undefined);
    const fields = { repaired: repairs.length - failed.length, failed: failed.length, bytes };
    logger.info({ ...fields, example: failed[0]?.problem }, 'replicas of sealed segments repaired');
  }

  #noteOutcome({ segment, target, problem, isDamaged }: Repair): void {
    const due = this.#due.get(segment.segmentId.toString('hex'));
    if (due === undefined) return;
    if (isDamaged) due.damagedAt.add(target.nodeId);
    // The next pass sees whether it lacks another one.
    const left = problem === undefined ? target.replaces : target.nodeId;
    // A copy that nobody waited for may be complete by now.
    if (left !== undefined) this.#leftovers.note(segment, left);
    if (problem === undefined) due.delayMs = firstDelayMs;
    else due.tries++;
    if (problem === undefined || isDamaged) due.notBeforeMs = 0;
  }
}

function byId(replicas: readonly ReplicaSummary[]): Map<string, ReplicaSummary> {
  return new Map(replicas.map((replica) => [replica.segmentId.toString('hex'), replica]));
}

function isFull(segment: Segment, replicas: ReadonlyMap<string, ReplicaSummary>): boolean {
  const replica = replicas.get(segment.segmentId.toString('hex'));
  if (replica === undefined || replica.damaged) return false;
  return replica.length >= segment.endOffset - segment.baseOffset;
}
