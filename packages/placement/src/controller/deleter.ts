import { type Logger, type OperatingError, expectOperatingError } from '@robustmq/core';
import { Segment, SegmentState } from '@robustmq/rpc';
import { ByNode } from './by-node.ts';
import type { CatalogCopies } from './catalog-copies.ts';
import { deletingKey } from './keys.ts';
import type { JournalOrders } from './journal-orders.ts';
import type { Ledger } from './ledger.ts';
import { put } from './ledger.ts';

export interface DeleterOptions {
  readonly ledger: Ledger;
  readonly orders: JournalOrders;
  readonly copies: Pick<CatalogCopies, 'ensure'>;
  readonly logger: Logger;
  /** Told how many segments are gone from all their journals. */
  readonly onDeleted: (count: number) => void;
}

/**
 * Orders journals to delete the replicas of segments that left their chain: the only way that data ever
 * goes. A row stays until every replica's journal has obeyed, so a journal that is away gets its orders
 * when it is back.
 */
export class Deleter {
  readonly #options: DeleterOptions;
  /** Journals that have obeyed, by segment id in hex. Lost with the process: orders may be repeated. */
  readonly #obeyed = new Map<string, Set<string>>();
  /** Not in the store yet. */
  #abandoned: Segment[] = [];
  #running: Promise<void> | undefined;
  #again = false;

  constructor(options: DeleterOptions) {
    this.#options = options;
  }

  /** Deletes replicas of a segment that never was in a chain. */
  abandon(segmentId: Buffer, replicaNodeIds: readonly string[]): void {
    this.#abandoned.push({
      ...Segment.create({ segmentId, state: SegmentState.DELETING }),
      replicaNodeIds: [...replicaNodeIds],
    });
    this.schedule();
  }

  /** Deletes what is due, unless that already happens; then once more afterwards. */
  schedule(): void {
    if (this.#running !== undefined) {
      this.#again = true;
      return;
    }
    this.#running = this.#run().finally(() => {
      this.#running = undefined;
      if (!this.#again) return;
      this.#again = false;
      this.schedule();
    });
  }

  /** Resolves when nothing runs any more. */
  async idle(): Promise<void> {
    while (this.#running !== undefined) await this.#running;
  }

  async #run(): Promise<void> {
    try {
      await this.#note();
      await this.#order();
      await this.#forget();
    } catch (thrown) {
      const error = expectOperatingError(thrown);
      this.#options.logger.warn({ error: error.message }, 'deleting segments: trying again later');
    }
  }

  async #note(): Promise<void> {
    const { ledger } = this.#options;
    while (this.#abandoned.length > 0) {
      const chunk = this.#abandoned.slice(0, ledger.operationsMax);
      const rows = this.#rowsOf(chunk).map((row) =>
        put(deletingKey(row.segmentId), Segment.encode(row)),
      );
      await ledger.transact([], rows);
      this.#abandoned = this.#abandoned.slice(chunk.length);
    }
  }

  /** One row a segment: its replicas may be abandoned by several, and one after the other. */
  #rowsOf(abandoned: readonly Segment[]): Segment[] {
    const rows = new Map<string, Segment>();
    for (const segment of abandoned) {
      const hex = segment.segmentId.toString('hex');
      const row = rows.get(hex) ?? this.#options.ledger.image.deleting.get(hex)?.value ?? segment;
      const replicaNodeIds = [...new Set([...row.replicaNodeIds, ...segment.replicaNodeIds])];
      rows.set(hex, { ...row, replicaNodeIds });
      // They have been seen there since.
      for (const nodeId of segment.replicaNodeIds) this.#obeyed.get(hex)?.delete(nodeId);
    }
    return [...rows.values()];
  }

  async #order(): Promise<void> {
    const { ledger, orders, copies } = this.#options;
    const byNode = new ByNode<Buffer>();
    let revision = 0;
    for (const [hex, { value, revision: rowRevision }] of ledger.image.deleting) {
      revision = Math.max(revision, rowRevision);
      for (const nodeId of value.replicaNodeIds) {
        if (this.#obeyed.get(hex)?.has(nodeId) === true) continue;
        if (ledger.image.removedNodes.has(nodeId)) this.#noteObeyed(hex, nodeId);
        else if (ledger.image.liveNode(nodeId) !== undefined) byNode.add(nodeId, value.segmentId);
      }
    }
    await byNode.forEach(async (nodeId, segmentIds) => {
      await copies.ensure([nodeId], revision);
      const outcomes = await orders.delete(nodeId, segmentIds);
      segmentIds.forEach((segmentId, at) => {
        if (isGone(outcomes[at])) this.#noteObeyed(segmentId.toString('hex'), nodeId);
      });
    });
  }

  #noteObeyed(hex: string, nodeId: string): void {
    const nodes = this.#obeyed.get(hex);
    if (nodes === undefined) this.#obeyed.set(hex, new Set([nodeId]));
    else nodes.add(nodeId);
  }

  async #forget(): Promise<void> {
    const { ledger, onDeleted } = this.#options;
    const done = [...this.#obeyed].filter(([hex, nodes]) => {
      const row = ledger.image.deleting.get(hex);
      return row === undefined || row.value.replicaNodeIds.every((nodeId) => nodes.has(nodeId));
    });
    for (let at = 0; at < done.length; at += ledger.operationsMax) {
      const keys = done.slice(at, at + ledger.operationsMax).map(([hex]) => hex);
      const operations = keys.map((hex) => ({
        kind: 'delete' as const,
        key: deletingKey(Buffer.from(hex, 'hex')),
      }));
      await ledger.transact([], operations);
      for (const hex of keys) this.#obeyed.delete(hex);
      onDeleted(keys.length);
    }
  }
}

/** A journal that does not know the segment has nothing to delete. */
function isGone(outcome: OperatingError | undefined): boolean {
  return (
    outcome === undefined || outcome.code === 'SEGMENT_UNKNOWN' || outcome.code === 'NOT_FOUND'
  );
}
