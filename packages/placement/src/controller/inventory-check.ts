import type { Logger } from '@robustmq/core';
import { type ReplicaSummary, Segment, type Shard } from '@robustmq/rpc';
import type { MetadataStore } from '../store/metadata-store.ts';
import { nextTurn } from '../store/next-turn.ts';
import type { Image } from './image.ts';
import type { JournalOrders } from './journal-orders.ts';
import { beforeOffset, segmentsPrefix } from './keys.ts';
import { noticeOf, type SealNotices } from './seal-notices.ts';
import { UnopenedReplicas } from './unopened-replicas.ts';

export interface InventoryCheckOptions {
  readonly store: MetadataStore;
  readonly image: Image;
  readonly orders: Pick<JournalOrders, 'inventory'>;
  readonly notices: Pick<SealNotices, 'tell'>;
  readonly logger: Logger;
  /** Whether an attempt to open that segment still runs. */
  readonly isPending: (segmentIdHex: string) => boolean;
  /** Orders the deletion of a replica that never was part of a chain. */
  readonly abandon: (segmentId: Buffer, nodeId: string) => void;
  /** Told how many replicas with records a journal has that no chain knows. */
  readonly onUnknown: (nodeId: string, count: number) => void;
}

/** Replicas after which other work gets its turn. */
const replicasPerTurn = 500;
const rowsPerPage = 1_000;

/**
 * Compares what a journal has with the chains, when it comes: makes up for seal notices that were lost,
 * and for attempts to open a segment that died between preparing and recording it. A replica that has
 * records and stands in no chain is reported and never deleted, nor is what others have prepared of it.
 */
export class InventoryCheck {
  readonly #options: InventoryCheckOptions;
  readonly #unopened: UnopenedReplicas;
  /** Journals to be compared again. */
  readonly #unchecked = new Set<string>();

  constructor(options: InventoryCheckOptions) {
    this.#options = options;
    this.#unopened = new UnopenedReplicas(options.image);
  }

  /** Journals that are up and could not be asked, or have what waited for others: to be compared again. */
  get unchecked(): readonly string[] {
    return [...this.#unchecked];
  }

  /** Rejects when the journal cannot be asked; it is {@link unchecked} then. */
  async check(nodeId: string): Promise<void> {
    this.#unchecked.delete(nodeId);
    try {
      await this.#compare(nodeId);
    } catch (thrown) {
      if (this.#options.image.liveNode(nodeId) !== undefined) this.#unchecked.add(nodeId);
      throw thrown;
    }
  }

  async #compare(nodeId: string): Promise<void> {
    const { orders, notices, logger, onUnknown, abandon } = this.#options;
    const unsealed: Segment[] = [];
    const neverOpened: ReplicaSummary[] = [];
    const unknown: ReplicaSummary[] = [];
    const replicas = await orders.inventory(nodeId);
    for (const [at, replica] of replicas.entries()) {
      if (at % replicasPerTurn === 0) await nextTurn();
      const found = await this.#find(replica);
      if (found === 'never-opened') neverOpened.push(replica);
      else if (found === 'unknown') unknown.push(replica);
      else if (found !== 'known' && !replica.sealed) unsealed.push(found);
    }
    await notices.tell(nodeId, unsealed.map(noticeOf));
    this.#unopened.heard(nodeId, unknown, neverOpened);
    const sure = neverOpened.filter((replica) => this.#unopened.isSure(replica));
    for (const segmentId of await this.#stillUnused(
      nodeId,
      sure.map((replica) => replica.segmentId),
    )) {
      abandon(segmentId, nodeId);
    }
    for (const other of this.#unopened.takeReady()) this.#unchecked.add(other);
    onUnknown(nodeId, unknown.length);
    if (unknown.length > 0) {
      logger.error(
        { nodeId, replicas: unknown.length },
        'a journal has replicas that no chain knows',
      );
    }
    const counts = { replicas: replicas.length, neverOpened: neverOpened.length };
    logger.info({ nodeId, ...counts, sealNotices: unsealed.length }, 'inventory compared');
  }

  /**
   * Those that are unused when the journal is asked again. A replica that was prepared when the list was
   * made may have been opened, filled and sealed while it was compared, and stand in no view any more;
   * but whatever is in no chain and not pending will never be opened, so the second answer is final.
   */
  async #stillUnused(nodeId: string, segmentIds: readonly Buffer[]): Promise<readonly Buffer[]> {
    if (segmentIds.length === 0) return segmentIds;
    const replicas = await this.#options.orders.inventory(nodeId);
    const unused = new Set(
      replicas.filter(wasNeverUsed).map(({ segmentId }) => segmentId.toString('hex')),
    );
    return segmentIds.filter((segmentId) => unused.has(segmentId.toString('hex')));
  }

  /** The sealed segment of a replica, or what else it is. */
  async #find(replica: ReplicaSummary): Promise<Segment | 'known' | 'never-opened' | 'unknown'> {
    const { image, isPending } = this.#options;
    const hex = replica.segmentId.toString('hex');
    const shard = image.shards.get(replica.shardId)?.value.shard;
    const shown = shard && segmentIn(shard, replica.segmentId);
    if (shown !== undefined) return shown.fullNodeIds.length > 0 ? shown : 'known';
    if (image.deleting.has(hex) || isPending(hex)) return 'known';
    const stored = await this.#stored(replica);
    if (stored !== undefined) return stored;
    return wasNeverUsed(replica) ? 'never-opened' : 'unknown';
  }

  /**
   * The same for a replica that never got a frame, and does not know where its segment begins: it is a
   * member all the same, and may be filled at any time.
   */
  async #storedAnywhere({ shardId, segmentId }: ReplicaSummary): Promise<Segment | undefined> {
    let after: string | undefined;
    for (;;) {
      const { entries } = await this.#options.store.range(segmentsPrefix(shardId), {
        ...(after !== undefined && { after }),
        limit: rowsPerPage,
      });
      const found = entries
        .map(({ value }) => Segment.decode(value))
        .find((segment) => segment.segmentId.equals(segmentId));
      after = entries.at(-1)?.key;
      if (found !== undefined || entries.length < rowsPerPage) return found;
    }
  }

  /** The row of a sealed segment that no view shows: the first that ends behind the replica's base. */
  async #stored(replica: ReplicaSummary): Promise<Segment | undefined> {
    if (!replica.baseKnown) return this.#storedAnywhere(replica);
    const { shardId, baseOffset, segmentId } = replica;
    const { entries } = await this.#options.store.range(segmentsPrefix(shardId), {
      after: beforeOffset(shardId, baseOffset),
      limit: 1,
    });
    const segment = entries[0] && Segment.decode(entries[0].value);
    return segment?.segmentId.equals(segmentId) === true ? segment : undefined;
  }
}

/** Whether it was prepared, and neither led, followed nor sealed. */
function wasNeverUsed({ length, sealed, damaged, baseKnown }: ReplicaSummary): boolean {
  return length === 0 && !sealed && !damaged && !baseKnown;
}

function segmentIn(shard: Shard, segmentId: Buffer): Segment | undefined {
  return shard.segments.find((segment) => segment.segmentId.equals(segmentId));
}
