import { type Clock, type Logger, type OperatingError, toOperatingError } from '@robustmq/core';
import { CatalogCopy, NodeRole, NodeState } from '@robustmq/rpc';
import { copyOf } from './catalog-copy.ts';
import type { Image } from './image.ts';
import type { JournalOrders } from './journal-orders.ts';

export interface CatalogCopiesOptions {
  readonly image: Image;
  readonly orders: Pick<JournalOrders, 'storeCatalog'>;
  readonly clock: Clock;
  readonly logger: Logger;
  /** 16 random bytes of this placement, and the revision of its store when it began to decide. */
  readonly placementInstance: Buffer;
  readonly startRevision: number;
  /** Told when a journal keeps a newer copy than this placement's store can make. */
  readonly onOldStore: (error: OperatingError) => void;
}

/** Chains change all the time: where they end is copied this often. */
const chainsEachMs = 10_000;

interface Encoded {
  readonly revision: number;
  readonly bytes: Buffer;
}

/**
 * Keeps a copy of the catalog at each journal (docs/journal.md 2.10, "Placement state lost"). A journal
 * that gets a replica has a copy with the replica's topic first, and one that is to delete a segment has a
 * copy that says so: what a journal holds is always explained by some copy.
 */
export class CatalogCopies {
  readonly #options: CatalogCopiesOptions;
  /** Revision of the copy that each journal keeps, as far as this process knows. */
  readonly #kept = new Map<string, number>();
  readonly #running = new Map<string, Promise<void>>();
  #encoded: Encoded | undefined;
  #lastAllMs = Number.NEGATIVE_INFINITY;

  constructor(options: CatalogCopiesOptions) {
    this.#options = options;
  }

  /** A new incarnation may have lost its disk. */
  forget(nodeId: string): void {
    this.#kept.delete(nodeId);
  }

  /**
   * Resolves when these journals keep a copy that shows `revision`, or could not be given one: a full disk
   * or an answer that does not come must not keep a shard from being opened.
   */
  async ensure(nodeIds: Iterable<string>, revision: number): Promise<void> {
    const behind = Array.from(nodeIds).filter((nodeId) => this.#revisionAt(nodeId) < revision);
    if (behind.length > 0) await Promise.all(behind.map((nodeId) => this.#give(nodeId, revision)));
  }

  /** Gives what is new to all live journals. */
  async pass(): Promise<void> {
    const { image, clock } = this.#options;
    const nowMs = clock.monotonicMs();
    const isDue = nowMs - this.#lastAllMs >= chainsEachMs;
    if (isDue) this.#lastAllMs = nowMs;
    await this.ensure(this.#journals(), isDue ? image.revision : image.catalogRevision);
  }

  #revisionAt(nodeId: string): number {
    return this.#kept.get(nodeId) ?? -1;
  }

  #journals(): string[] {
    const nodes = [...this.#options.image.nodes.values()].flatMap(({ value }) => value.node ?? []);
    return nodes
      .filter(({ role, state }) => role === NodeRole.JOURNAL && state !== NodeState.DOWN)
      .map(({ nodeId }) => nodeId);
  }

  /** One copy at a time for each journal; who asks meanwhile may need the next one. */
  async #give(nodeId: string, revision: number): Promise<void> {
    await this.#running.get(nodeId);
    if (this.#revisionAt(nodeId) >= revision) return;
    const running = this.#running.get(nodeId) ?? this.#send(nodeId);
    this.#running.set(nodeId, running);
    await running;
    if (this.#running.get(nodeId) === running) this.#running.delete(nodeId);
  }

  async #send(nodeId: string): Promise<void> {
    const { orders, logger, onOldStore } = this.#options;
    const { revision, bytes } = this.#encode();
    try {
      const { placementInstance, startRevision } = this.#options;
      const copy = { revision, copy: bytes, placementInstance, startRevision };
      await orders.storeCatalog(nodeId, copy);
      this.#kept.set(nodeId, Math.max(revision, this.#revisionAt(nodeId)));
    } catch (thrown) {
      const error = toOperatingError(thrown);
      if (error.code === 'OLD_STORE') onOldStore(error);
      else {
        const fields = { nodeId, code: error.code, error: error.message };
        logger.debug(fields, 'a journal did not take its copy of the catalog');
      }
    }
  }

  #encode(): Encoded {
    const { image } = this.#options;
    const { revision } = image;
    if (this.#encoded?.revision !== revision) {
      this.#encoded = { revision, bytes: Buffer.from(CatalogCopy.encode(copyOf(image)).finish()) };
    }
    return this.#encoded;
  }
}
