import {
  type Clock,
  type Logger,
  OperatingError,
  type Random,
  toOperatingError,
} from '@robustmq/core';
import {
  type HeartbeatRequest,
  type NewTopic,
  type Node,
  NodeRole,
  type Segment,
  type Transport,
} from '@robustmq/rpc';
import type { PlacementMetrics } from '../metrics.ts';
import type { Leadership, MetadataStore } from '../store/metadata-store.ts';
import type { PlacementIdentity } from './watch-session.ts';
import { Auditor } from './auditor.ts';
import { Background } from './background.ts';
import { CatalogCopies } from './catalog-copies.ts';
import { Chains } from './chains.ts';
import { type ClusterIdentity, startEpoch } from './cluster.ts';
import { Coordinators } from './coordinators.ts';
import type { HeartbeatTerms } from './heartbeat-session.ts';
import { Image } from './image.ts';
import { InventoryCheck } from './inventory-check.ts';
import { JournalOrders } from './journal-orders.ts';
import { Ledger } from './ledger.ts';
import { NodeClients } from './node-clients.ts';
import { NodeRegistry } from './node-registry.ts';
import { Periodic } from './periodic.ts';
import { Repairer } from './repairer.ts';
import { SealedRows } from './sealed-rows.ts';
import { Topics } from './topics.ts';

/** How placement behaves. All times in ms. */
export interface PlacementConfig {
  /** How long a node is believed to live without a heartbeat. */
  readonly leaseMs: number;
  /** How long a journal's sync may be under way before its disk counts as hung. */
  readonly hungSyncMs: number;
  /** How long a journal may wait for an answer of a peer before the two count as cut from each other. */
  readonly peerSilentMs: number;
  /** How often leases are looked at. */
  readonly detectEachMs: number;
  /** How often what should be is compared with what is. */
  readonly repairEachMs: number;
  /** How often a page of the sealed segments is looked at, and some of what they lack is made. */
  readonly auditEachMs: number;
  /** How long a journal may be away before others take its replicas over. */
  readonly downGraceMs: number;
  /** How often coordinators are evened out. */
  readonly balanceEachMs: number;
  /** How often old segments are looked for. */
  readonly retentionEachMs: number;
  /** Partitions of a topic that does not say. */
  readonly defaultPartitions: number;
  /** Topics that the cluster begins with. */
  readonly defaultTopics: readonly NewTopic[];
}

export interface ControllerOptions {
  readonly store: MetadataStore;
  readonly transport: Transport;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  readonly metrics: PlacementMetrics;
  readonly config: PlacementConfig;
}

/**
 * Placement without its listener: what is known, what is decided, and the passes that repair whatever an
 * event did not. Everything is a compare-and-swap, so that it may be killed between any two steps.
 */
export class Controller implements AsyncDisposable {
  readonly image: Image;
  readonly ledger: Ledger;
  readonly identity: ClusterIdentity;
  readonly nodes: NodeRegistry;
  readonly chains: Chains;
  readonly topics: Topics;
  readonly #options: ControllerOptions;
  readonly #leadership: Leadership;
  /** Random, new with each time that this server begins to decide. */
  readonly #instance: Buffer;
  readonly #clients: NodeClients;
  readonly #background: Background;
  readonly #copies: CatalogCopies;
  readonly #coordinators: Coordinators;
  readonly #inventory: InventoryCheck;
  readonly #auditor: Auditor;
  readonly #periodics: readonly Periodic[];

  /**
   * Loads the store and raises the placement epoch. The leadership is the controller's from now on, also
   * when this throws.
   */
  static async start(options: ControllerOptions, leadership: Leadership): Promise<Controller> {
    try {
      return await Controller.#begin(options, leadership);
    } catch (error) {
      await leadership[Symbol.asyncDispose]();
      throw error;
    }
  }

  static async #begin(options: ControllerOptions, leadership: Leadership): Promise<Controller> {
    const { store, metrics, random, config } = options;
    const image = await Image.load(store);
    const ledger = new Ledger(store, leadership, image, (result, operations) => {
      metrics.transactions.inc({ result });
      metrics.transactionOperations.observe(operations);
    });
    const instance = random.bytes(16);
    const identity = await startEpoch(ledger, random, instance, config.defaultTopics);
    const controller = new Controller(options, leadership, ledger, identity, instance);
    await controller.topics.removeOrphans();
    controller.nodes.grantAll();
    options.logger.info({ ...identity, shards: image.shards.size }, 'placement leads');
    return controller;
  }

  private constructor(
    options: ControllerOptions,
    leadership: Leadership,
    ledger: Ledger,
    identity: ClusterIdentity,
    instance: Buffer,
  ) {
    const { transport, store, clock, random, logger, metrics, config } = options;
    const { image } = ledger;
    this.#options = options;
    this.#leadership = leadership;
    this.image = image;
    this.ledger = ledger;
    this.identity = identity;
    this.#instance = instance;
    this.#background = new Background(logger);
    this.#clients = new NodeClients(transport, image);
    const orders = new JournalOrders({
      image,
      clients: this.#clients,
      authority: () => ({
        ...identity,
        placementInstance: this.#instance,
        startRevision: ledger.startRevision,
        revision: ledger.revision,
        lineage: image.cluster?.value.lineage ?? [],
      }),
      onOldStore: (error) => this.#stopOldStore(error),
      onUnreachable: (nodeId, incarnation) => this.reportUnreachable(nodeId, incarnation),
    });
    this.#copies = new CatalogCopies({
      image,
      orders,
      clock,
      logger,
      placementInstance: this.#instance,
      startRevision: ledger.startRevision,
      onOldStore: (error) => this.#stopOldStore(error),
    });
    this.nodes = new NodeRegistry({
      ledger,
      clients: this.#clients,
      clock,
      logger,
      times: {
        leaseMs: config.leaseMs,
        passEachMs: config.detectEachMs,
        hungSyncMs: config.hungSyncMs,
      },
      peerSilentMs: config.peerSilentMs,
      onCut: () => this.chains.seal(),
      onSuspected: (node) => this.reportUnreachable(node.nodeId, node.incarnation),
      onUp: (node) => this.#onUp(node),
      onDown: (node) => this.#onDown(node),
      onLeaving: (node) => this.#onDown(node),
    });
    this.chains = new Chains({
      ...options,
      ledger,
      orders,
      nodes: this.nodes,
      copies: this.#copies,
      background: this.#background,
      onOldStore: (error) => this.#stopOldStore(error),
      onSealed: (segment) => this.#auditor.sealed(segment),
    });
    const { sealer, retention, opener, deleter, notices } = this.chains;
    this.topics = new Topics({
      ledger,
      sealer,
      retention,
      random,
      logger,
      defaultPartitions: config.defaultPartitions,
    });
    this.#coordinators = new Coordinators({
      ledger,
      random,
      logger,
      onMoved: (count) => metrics.coordinatorsMoved.inc(count),
    });
    this.#inventory = new InventoryCheck({
      store,
      image,
      orders,
      notices,
      logger,
      isPending: (segmentIdHex) => opener.isPending(segmentIdHex),
      abandon: (segmentId, nodeId) => deleter.abandon(segmentId, [nodeId]),
      onUnknown: (node, count) => metrics.unknownReplicas.set({ node }, count),
    });
    const rows = new SealedRows(store, ledger);
    const onRepaired = ({ sizeBytes }: Segment): void => {
      metrics.replicasRepaired.inc();
      metrics.repairedBytes.inc(sizeBytes);
    };
    this.#auditor = new Auditor({
      image,
      rows,
      repairer: new Repairer({ image, rows, orders, logger, onRepaired }),
      orders,
      nodes: this.nodes,
      clock,
      logger,
      downGraceMs: config.downGraceMs,
    });
    const underReplicated = (): number => this.#auditor.underReplicated;
    metrics.observe({ image, underReplicated, stuckSeals: () => this.chains.stuckSeals });
    this.#periodics = this.#startPasses();
  }

  /** What each step of a watch tells. */
  get watchIdentity(): PlacementIdentity {
    const { placementEpoch } = this.identity;
    return { placementEpoch, placementInstance: this.#instance };
  }

  /** What each answer to a heartbeat tells. */
  heartbeatTerms(): HeartbeatTerms {
    return { ...this.identity, leaseMs: this.#options.config.leaseMs };
  }

  /** Throws WRONG_CLUSTER, or CONFLICT when the node has seen a newer placement than this one. */
  checkHeartbeat({ clusterId, placementEpoch }: HeartbeatRequest): void {
    const { identity, ledger } = this;
    if (ledger.stopped !== undefined) throw ledger.stopped;
    if (clusterId !== '' && clusterId !== identity.clusterId) {
      const message = `this placement serves cluster ${identity.clusterId}, the node belongs to ${clusterId}: check --placement and --data-dir`;
      throw new OperatingError('WRONG_CLUSTER', message);
    }
    if (placementEpoch <= identity.placementEpoch) return;
    const message = `the node has seen placement epoch ${placementEpoch}, this placement has ${identity.placementEpoch}: its data folder is an old copy; stop it, and start the newer one or run "robustmq placement rebuild"`;
    throw new OperatingError('CONFLICT', message);
  }

  /** Somebody could not reach a node: asks it at once, without being waited for. */
  reportUnreachable(nodeId: string, incarnation: number): void {
    this.#background.run('probe', () => this.nodes.probe(nodeId, incarnation));
  }

  /** Goes on with the shards of deleted topics without being waited for. */
  finishDeletions(): void {
    this.#background.run('delete topics', () => this.topics.finishDeletions());
  }

  /** Ends what runs, in order; at once where it could not change anything any more. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#background.stop();
    this.#options.metrics.observe(undefined);
    if (this.#leadership.lost.aborted) await this.#clients[Symbol.asyncDispose]();
    await Promise.all(this.#periodics.map((periodic) => periodic.stop()));
    await this.#clients[Symbol.asyncDispose]();
    await this.chains.deleter.idle();
    await this.#leadership[Symbol.asyncDispose]();
  }

  #startPasses(): Periodic[] {
    const { clock, logger, config } = this.#options;
    const pass = (name: string, eachMs: number, work: () => Promise<void>): Periodic =>
      new Periodic({ clock, logger, name, eachMs, work });
    return [
      pass('detect', config.detectEachMs, () => this.nodes.detect()),
      pass('copies', config.repairEachMs, () => this.#copies.pass()),
      pass('store', config.repairEachMs, () => this.ledger.retryStore()),
      pass('repair', config.repairEachMs, async () => {
        await this.chains.pass();
        await this.topics.finishDeletions();
      }),
      pass('inventory', config.repairEachMs, async () => {
        await Promise.all(this.#inventory.unchecked.map((nodeId) => this.#compare(nodeId)));
      }),
      pass('audit', config.auditEachMs, () => this.#auditor.pass()),
      pass('balance', config.balanceEachMs, () => this.#coordinators.balance()),
      pass('retention', config.retentionEachMs, async () => {
        await this.chains.retention.pass();
        this.chains.deleter.schedule();
      }),
    ];
  }

  /** Topics and settings of an answer are at the journals, too, as far as those are there. */
  async copyCatalog(): Promise<void> {
    await this.#copies.pass();
  }

  /**
   * Journals have obeyed a placement that knew more than this one: deciding from its store would give
   * offsets twice. It serves nobody any more.
   */
  #stopOldStore(error: OperatingError): void {
    if (this.ledger.stopped !== undefined) return;
    this.#options.logger.error({ code: error.code }, error.message);
    const message = `${error.message}; stop it, and run "robustmq placement rebuild"`;
    this.ledger.stop(new OperatingError('CONFLICT', message));
  }

  #onUp(node: Node): void {
    if (node.role === NodeRole.BROKER) {
      this.#background.run('coordinators', async () => {
        const kinds = this.image.nodes.get(node.nodeId)?.value.coordinatorKinds ?? [];
        await this.#coordinators.announce(kinds);
        await this.#coordinators.assign();
      });
      return;
    }
    this.chains.journalUp(node.nodeId);
    this.#background.run('inventory', () => this.#compare(node.nodeId));
  }

  /** Nothing is compared with a store that is older than what the journal knows. */
  async #compare(nodeId: string): Promise<void> {
    this.#copies.forget(nodeId);
    await this.#copies.ensure([nodeId], this.image.revision);
    if (this.ledger.stopped !== undefined) return;
    try {
      await this.#inventory.check(nodeId);
      await this.#auditor.compare(nodeId);
    } catch (thrown) {
      // It has gone meanwhile, which others tell; it is compared when it is back.
      if (toOperatingError(thrown).code !== 'UNAVAILABLE') throw thrown;
    }
  }

  #onDown(node: Node): void {
    if (node.role !== NodeRole.BROKER) this.chains.journalDown(node);
    else this.#background.run('coordinators', () => this.#coordinators.assign());
  }
}
