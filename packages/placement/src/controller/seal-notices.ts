import type { ErrorCode } from '@robustmq/core';
import type { SealedSegment, Segment } from '@robustmq/rpc';
import { ByNode } from './by-node.ts';
import type { Image } from './image.ts';
import type { JournalOrders, OrderOutcome } from './journal-orders.ts';

/** With these nobody knows whether a journal has been told. */
const notTold: ReadonlySet<ErrorCode> = new Set([
  'UNAVAILABLE',
  'INDETERMINATE',
  'RESOURCE_EXHAUSTED',
  'DISK_FULL',
]);

/**
 * Tells journals the ends of their segments (docs/journal.md 2.7, S7), gathered over a turn, and again until
 * they have answered: a replica that does not know its end serves no reader and hands no producers over. A
 * journal that is away is told when its replicas are compared with the chains.
 */
export class SealNotices {
  readonly #image: Image;
  readonly #orders: JournalOrders;
  /** By journal, then by segment id in hex. */
  readonly #owed = new Map<string, Map<string, SealedSegment>>();

  constructor(image: Image, orders: JournalOrders) {
    this.#image = image;
    this.#orders = orders;
  }

  async send(segments: readonly Segment[]): Promise<void> {
    const byNode = new ByNode<SealedSegment>();
    for (const segment of segments) {
      for (const nodeId of segment.replicaNodeIds) byNode.add(nodeId, noticeOf(segment));
    }
    await byNode.forEach((nodeId, notices) => this.tell(nodeId, notices));
  }

  /** Tells again what was not answered. */
  async retry(): Promise<void> {
    const owed = [...this.#owed];
    this.#owed.clear();
    await Promise.all(owed.map(([nodeId, notices]) => this.tell(nodeId, [...notices.values()])));
  }

  async tell(nodeId: string, notices: readonly SealedSegment[]): Promise<void> {
    if (this.#image.liveNode(nodeId) === undefined) return;
    const outcomes = await this.#orders.sealNotify(nodeId, notices);
    notices.forEach((notice, at) => this.#note(nodeId, notice, outcomes[at]));
  }

  #note(nodeId: string, notice: SealedSegment, outcome: OrderOutcome): void {
    if (outcome === undefined || !notTold.has(outcome.code)) return;
    const owed = this.#owed.get(nodeId) ?? new Map<string, SealedSegment>();
    owed.set(notice.segmentId.toString('hex'), notice);
    this.#owed.set(nodeId, owed);
  }
}

export function noticeOf(segment: Segment): SealedSegment {
  return {
    segmentId: segment.segmentId,
    length: segment.endOffset - segment.baseOffset,
    baseOffset: segment.baseOffset,
    epoch: segment.sealEpoch,
  };
}
