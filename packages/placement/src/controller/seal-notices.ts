import type { SealedSegment, Segment } from '@robustmq/rpc';
import { ByNode } from './by-node.ts';
import type { Image } from './image.ts';
import type { JournalOrders } from './journal-orders.ts';

/**
 * Tells journals the ends of their segments (docs/journal.md 2.7, S7), gathered over a turn. A notice
 * that is lost is made up for when the journal's replicas are compared with the chains.
 */
export class SealNotices {
  readonly #image: Image;
  readonly #orders: JournalOrders;

  constructor(image: Image, orders: JournalOrders) {
    this.#image = image;
    this.#orders = orders;
  }

  async send(segments: readonly Segment[]): Promise<void> {
    const byNode = new ByNode<SealedSegment>();
    for (const segment of segments) {
      for (const nodeId of segment.replicaNodeIds) {
        if (this.#image.liveNode(nodeId) !== undefined) byNode.add(nodeId, noticeOf(segment));
      }
    }
    await byNode.forEach(async (nodeId, notices) => {
      await this.#orders.sealNotify(nodeId, notices);
    });
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
