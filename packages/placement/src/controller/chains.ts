import type { Clock, Logger, OperatingError, Random } from '@robustmq/core';
import type { Node, Segment } from '@robustmq/rpc';
import type { PlacementMetrics } from '../metrics.ts';
import type { MetadataStore } from '../store/metadata-store.ts';
import { Activator } from './activator.ts';
import type { Background } from './background.ts';
import type { CatalogCopies } from './catalog-copies.ts';
import { Deleter } from './deleter.ts';
import { Drains } from './drains.ts';
import { Failovers } from './failovers.ts';
import { Growth } from './growth.ts';
import type { JournalOrders } from './journal-orders.ts';
import type { Ledger } from './ledger.ts';
import type { NodeRegistry } from './node-registry.ts';
import { Opener } from './opener.ts';
import { Retention } from './retention.ts';
import { RollPreparer } from './roll-preparer.ts';
import { Roller } from './roller.ts';
import { SealNotices } from './seal-notices.ts';
import { SealRepair } from './seal-repair.ts';
import { Sealer } from './sealer.ts';
import { ShardSeals } from './shard-seals.ts';

export interface ChainsOptions {
  readonly store: MetadataStore;
  readonly ledger: Ledger;
  readonly orders: JournalOrders;
  readonly nodes: NodeRegistry;
  readonly copies: CatalogCopies;
  readonly background: Background;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  readonly metrics: PlacementMetrics;
  readonly onOldStore: (error: OperatingError) => void;
  /** Told of each segment with records that was sealed. */
  readonly onSealed: (segment: Segment) => void;
}

/** All that makes chains of segments longer, and shorter: how they are opened, sealed, rolled and trimmed. */
export class Chains {
  readonly sealer: Sealer;
  readonly opener: Opener;
  readonly rollPreparer: RollPreparer;
  readonly roller: Roller;
  readonly shardSeals: ShardSeals;
  readonly drains: Drains;
  readonly retention: Retention;
  readonly notices: SealNotices;
  readonly deleter: Deleter;
  readonly #options: ChainsOptions;
  readonly #repair: SealRepair;
  readonly #growth: Growth;
  readonly #failovers: Failovers;
  readonly #activator: Activator;
  /** Notices of one turn travel together. */
  #sealed: Segment[] = [];

  constructor(options: ChainsOptions) {
    const { store, ledger, orders, nodes, copies, clock, random, logger, metrics } = options;
    const { image } = ledger;
    this.#options = options;
    const onSealed = (segment: Segment, removed: boolean): void => this.#onSealed(segment, removed);
    const common = { ledger, image, orders, nodes, clock, logger };
    this.#failovers = new Failovers(image, clock, (seconds) =>
      metrics.failoverSeconds.observe(seconds),
    );
    this.notices = new SealNotices(image, orders);
    const sealer = new Sealer({
      ...common,
      store,
      onSealed,
      onAttempt: (seconds) => metrics.sealSeconds.observe(seconds),
      onOldStore: options.onOldStore,
    });
    this.sealer = sealer;
    this.shardSeals = new ShardSeals({ ...common, sealer });
    this.drains = new Drains({ ...common, store, sealer });
    this.#repair = new SealRepair({ image, sealer, clock });
    this.#growth = new Growth({ ...common, sealer });
    const activator = new Activator({
      ...common,
      onRefused: (shardIds) =>
        options.background.run('seal', async () => {
          await sealer.seal(shardIds);
        }),
    });
    this.#activator = activator;
    this.deleter = new Deleter({
      ...common,
      copies,
      onDeleted: (count) => metrics.segmentsDeleted.inc(count),
    });
    this.opener = new Opener({
      ...common,
      sealer,
      copies,
      activator,
      random,
      onAbandoned: (segmentId, replicas) => this.deleter.abandon(segmentId, replicas),
      onOpened: (count) => metrics.segmentsOpened.inc(count),
    });
    this.rollPreparer = new RollPreparer({ ...common, opener: this.opener });
    this.roller = new Roller({
      ...common,
      opener: this.opener,
      preparer: this.rollPreparer,
      activator,
      onSealed,
    });
    this.retention = new Retention({
      ...common,
      store,
      onDropped: (count) => {
        metrics.segmentsDropped.inc(count);
        this.deleter.schedule();
      },
      onHoldOverridden: () => metrics.holdsOverridden.inc(),
    });
  }

  /** Shards whose seal waits for somebody. */
  get stuckSeals(): number {
    return this.#repair.stuck;
  }

  /** Somebody may lead what he cannot serve: what needs a seal gets it. */
  seal(): void {
    this.#options.background.run('seal', () => this.#repair.pass());
  }

  /** A journal is there. What it leads still may not have been told to it: placement may have been killed. */
  journalUp(nodeId: string): void {
    const { background, ledger } = this.#options;
    background.run('seal', () => this.#repair.journalUp(nodeId));
    background.run('activate', () => this.#activator.activate([...ledger.image.ledBy(nodeId)]));
    this.deleter.schedule();
  }

  /** A journal is gone. */
  journalDown(node: Node): void {
    this.#failovers.begin(node);
    this.seal();
  }

  /** Compares what should be with what is, and goes on with what was not finished. */
  async pass(): Promise<void> {
    this.rollPreparer.pass();
    await this.#repair.pass();
    this.#failovers.settle();
    await this.#growth.pass();
    await this.drains.pass();
    await this.notices.retry();
    await this.#activator.retry();
  }

  #onSealed(segment: Segment, removed: boolean): void {
    const { metrics, background } = this.#options;
    if (removed) {
      metrics.segmentsRemovedEmpty.inc();
      this.deleter.schedule();
      return;
    }
    metrics.segmentsSealed.inc();
    this.retention.sealed(segment.shardId);
    this.#options.onSealed(segment);
    this.#sealed.push(segment);
    if (this.#sealed.length === 1) background.run('seal notices', () => this.#sendNotices());
  }

  async #sendNotices(): Promise<void> {
    await Promise.resolve();
    const segments = this.#sealed;
    this.#sealed = [];
    this.#failovers.settle();
    await this.notices.send(segments);
  }
}
