import type { Logger } from '@robustmq/core';
import type { Segment } from '@robustmq/rpc';
import { ByNode } from './by-node.ts';
import type { Image } from './image.ts';
import type { JournalOrders } from './journal-orders.ts';
import type { SealedRows } from './sealed-rows.ts';

export interface LeftoversOptions {
  readonly image: Image;
  readonly rows: SealedRows;
  readonly orders: Pick<JournalOrders, 'deleteLeftovers'>;
  readonly logger: Logger;
  /** Whether the segment has as many full replicas as it should. */
  readonly isWell: (segment: Segment) => boolean;
}

interface Leftover {
  readonly segment: Segment;
  readonly nodeId: string;
}

const ordersPerPass = 1_000;

/**
 * Replicas on journals whose place in a sealed segment another journal has taken: deleted once the segment
 * has all full replicas that it should have without them, and not on journals that are being drained, which
 * end with all that they have. To be called by the auditor between its repairs,
 * which may make such a journal a member again.
 */
export class Leftovers {
  readonly #options: LeftoversOptions;
  readonly #known = new Map<string, Leftover>();

  constructor(options: LeftoversOptions) {
    this.#options = options;
  }

  /** The journal has a replica of a segment that it is no member of. */
  note(segment: Segment, nodeId: string): void {
    this.#known.set(`${segment.segmentId.toString('hex')}/${nodeId}`, { segment, nodeId });
  }

  /** Orders those to be deleted that are due. */
  async pass(): Promise<void> {
    const { image, rows, orders, logger } = this.#options;
    const byNode = new ByNode<readonly [string, Buffer]>();
    for (const [key, { segment, nodeId }] of [...this.#known].slice(0, ordersPerPass)) {
      const now = await rows.read(segment);
      const isThere = image.liveNode(nodeId) !== undefined;
      // One that is away, and what is not well yet, is found again when the journal is compared.
      if (!isThere || now === undefined || now.replicaNodeIds.includes(nodeId)) {
        this.#known.delete(key);
      } else if (image.isWantedOn(nodeId) && this.#options.isWell(now))
        byNode.add(nodeId, [key, now.segmentId]);
      else this.#putLast(key);
    }
    await byNode.forEach(async (nodeId, items) => {
      const segmentIds = items.map(([, segmentId]) => segmentId);
      const outcomes = await orders.deleteLeftovers(nodeId, segmentIds);
      const done = items.filter((_, at) => outcomes[at] === undefined);
      for (const [key] of done) this.#known.delete(key);
      logger.info(
        { nodeId, deleted: done.length, ordered: items.length },
        'replicas that others have taken over are deleted',
      );
    });
  }

  #putLast(key: string): void {
    const leftover = this.#known.get(key);
    this.#known.delete(key);
    if (leftover !== undefined) this.#known.set(key, leftover);
  }
}
