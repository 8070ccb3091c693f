import {
  type Clock,
  delay,
  type ErrorCode,
  type Logger,
  type OperatingError,
} from '@robustmq/core';
import {
  type ActivateSegment,
  type Node,
  type Segment,
  SegmentState,
  type Shard,
} from '@robustmq/rpc';
import { unsealedSegment } from '../core/chain.ts';
import { readTopicConfig } from '../core/topic-config.ts';
import { ByNode } from './by-node.ts';
import type { Image } from './image.ts';
import type { JournalOrders } from './journal-orders.ts';

export interface ActivatorOptions {
  readonly image: Image;
  readonly orders: JournalOrders;
  readonly clock: Clock;
  readonly logger: Logger;
  /** Told of shards whose leader will never lead the open segment: it has to be sealed. */
  readonly onRefused: (shardIds: number[]) => void;
}

/** With these the leader says that it will not lead, however often it is asked. */
const finalRefusals: ReadonlySet<ErrorCode> = new Set([
  'FENCED',
  'NOT_LEADER',
  'SEGMENT_UNKNOWN',
  'DAMAGED',
  'CONFLICT',
]);

/**
 * How long whoever opened segments waits for their leaders, in ms: with the waits of `JournalOrders` less
 * than its own caller does. A leader that takes longer (it gets the producers from a journal that hangs)
 * is not hurried: the caller is told who leads, and asks there until it does.
 */
const activateWaitMs = 2_000;

/**
 * Makes leaders of open segments. An order may be given again at any time: a journal leads a segment at
 * most once per incarnation. So whatever is not known to be active (an answer was lost, placement was
 * killed after the transaction) is ordered again. So is what was refused, until it is sealed: the seal may
 * have found too few journals, and nothing else asks whether an open segment is led.
 */
export class Activator {
  readonly #options: ActivatorOptions;
  /** Shards whose open segment is not known to be active. */
  readonly #unconfirmed = new Set<number>();
  /** Those of them whose leaders were ordered and have not answered. */
  readonly #ordered = new Set<number>();

  constructor(options: ActivatorOptions) {
    this.#options = options;
  }

  /** Orders the leaders of the open segments of these shards to lead, and waits for them, but not for ever. */
  async activate(shardIds: Iterable<number>): Promise<void> {
    const byNode = new ByNode<number>();
    for (const shardId of shardIds) {
      const leader = this.#leaderOf(shardId);
      this.#unconfirmed.delete(shardId);
      if (leader === undefined) continue;
      this.#unconfirmed.add(shardId);
      byNode.add(leader.nodeId, shardId);
    }
    const gone = new AbortController();
    const { clock } = this.#options;
    const ordered = byNode.forEach((nodeId, items) => this.#order(nodeId, items));
    const waited = delay(clock, activateWaitMs, gone.signal).catch(() => undefined);
    await Promise.race([ordered, waited]);
    gone.abort();
  }

  /** Orders again what was not confirmed, unless an order is under way. */
  async retry(): Promise<void> {
    const due = [...this.#unconfirmed].filter((shardId) => !this.#ordered.has(shardId));
    if (due.length > 0) await this.activate(due);
  }

  async #order(nodeId: string, shardIds: readonly number[]): Promise<void> {
    const open = shardIds.flatMap((shardId) => this.#orderFor(shardId) ?? []);
    for (const { shardId } of open) this.#ordered.add(shardId);
    const outcomes = await this.#options.orders.activate(
      nodeId,
      open.map((item) => item.order),
    );
    for (const { shardId } of open) this.#ordered.delete(shardId);
    const refused: number[] = [];
    let example: OperatingError | undefined;
    open.forEach(({ shardId, segment }, at) => {
      const error = outcomes[at];
      if (!this.#isStillOpen(shardId, segment)) return;
      if (error === undefined) this.#unconfirmed.delete(shardId);
      else if (finalRefusals.has(error.code)) {
        refused.push(shardId);
        example = error;
      }
    });
    if (refused.length === 0) return;
    const fields = { nodeId, segments: refused.length, example: example?.message };
    this.#options.logger.warn(fields, 'a journal refuses to lead open segments: sealing them');
    this.#options.onRefused(refused);
  }

  /** The leader of the open segment, while it lives in the incarnation that was chosen. */
  #leaderOf(shardId: number): Node | undefined {
    const segment = this.#openSegment(shardId);
    if (segment === undefined) return undefined;
    const node = this.#options.image.liveNode(segment.leaderNodeId);
    return node?.incarnation === segment.leaderIncarnation ? node : undefined;
  }

  #orderFor(
    shardId: number,
  ): { shardId: number; segment: Segment; order: ActivateSegment } | undefined {
    const { image } = this.#options;
    const shard = image.shards.get(shardId)?.value.shard;
    const segment = this.#openSegment(shardId);
    if (shard === undefined || segment === undefined) return undefined;
    const config = readTopicConfig(image.topics.get(shard.topic)?.value.config ?? {});
    const previous = previousOf(shard);
    const order: ActivateSegment = {
      segmentId: segment.segmentId,
      epoch: segment.epoch,
      baseOffset: segment.baseOffset,
      incarnation: segment.leaderIncarnation,
      previousSegmentId: previous?.segmentId ?? Buffer.alloc(0),
      previousFullNodes: (previous?.fullNodeIds ?? []).flatMap((id) => image.node(id) ?? []),
      policy: { segmentBytes: config.segmentBytes, segmentMs: config.segmentMs },
    };
    return { shardId, segment, order };
  }

  #isStillOpen(shardId: number, segment: Segment): boolean {
    return this.#openSegment(shardId)?.segmentId.equals(segment.segmentId) === true;
  }

  #openSegment(shardId: number): Segment | undefined {
    const shard = this.#options.image.shards.get(shardId)?.value.shard;
    const segment = shard && unsealedSegment(shard);
    return segment?.state === SegmentState.OPEN ? segment : undefined;
  }
}

function previousOf(shard: Shard): Segment | undefined {
  return shard.segments.findLast((segment) => segment.state === SegmentState.SEALED);
}
