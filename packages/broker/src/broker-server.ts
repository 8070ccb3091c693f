import { FileAccessControl, nodeTextFiles } from '@robustmq/auth';
import {
  advertisedAddress,
  type Clock,
  endProcess,
  type Logger,
  type OperatingError,
  type Random,
} from '@robustmq/core';
import { createJournalClient, type JournalClient } from '@robustmq/journal-client';
import {
  BrokerPeer,
  CatchUpReads,
  CoordinatorClient,
  CoordinatorHost,
  type CoordinatorKind,
  createShareGroupKind,
  DirectFanOut,
  endShareMember,
  newShareGroupCounts,
  PartitionWriter,
  RecordReader,
  ShareGroupClient,
  type ShareStrategy,
} from '@robustmq/kernel';
import {
  type AutoSubscription,
  CoordinatorRetainedGateway,
  CoordinatorSessionGateway,
  createMqttShares,
  createRetainedKind,
  createSessionKind,
  type ListenerKind,
  type MqttLimits,
  mqttLimitsDefault,
  type MqttListenerOptions,
  type MqttObservation,
  MqttServer,
  mqttMetrics,
  mqttShares,
  registerBrokerAdmin,
  retainedMetrics,
  RetainedStats,
  type RewriteRule,
} from '@robustmq/mqtt';
import { NodeRegistration, PlacementClient } from '@robustmq/placement-client';
import { type Node, NodeRole, NodeState, type RpcServer, type Transport } from '@robustmq/rpc';
import type { Registry } from 'prom-client';

import { accessFamilies } from './access-metrics.ts';
import { registerMetrics } from './broker-metrics.ts';

export interface BrokerOptions {
  /** Unique in the cluster; made from random bytes when absent, since a broker keeps nothing. */
  readonly nodeId?: string;
  readonly zone?: string;
  /** Host under which clients and the other tiers reach it; that of the listeners when absent. */
  readonly advertiseHost?: string;
  /** gRPC HOST:PORT for the other brokers; port 0 takes a free one. */
  readonly listen: string;
  readonly placement: readonly string[];
  /** Where MQTT clients connect; none: it speaks no MQTT. */
  readonly mqttListeners: readonly MqttListenerOptions[];
  readonly mqttLimits?: Partial<MqttLimits>;
  /** What becomes of a publish of an MQTT 3 client that the rules do not allow; default: acknowledge. */
  readonly mqtt3RefusedPublish?: 'acknowledge' | 'close';
  /** Users, rules and bans; without it everybody may do everything. */
  readonly accessFile?: string;
  /** How MQTT's shared subscriptions choose a client. */
  readonly mqttSharedStrategy?: ShareStrategy;
  readonly mqttObservation?: Partial<MqttObservation>;
  readonly mqttRewriteRules?: readonly RewriteRule[];
  readonly mqttAutoSubscriptions?: readonly AutoSubscription[];
  /** Of the program, for those who ask. */
  readonly version: string;
  readonly transport: Transport;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  readonly registry: Registry;
}

export interface BrokerAddresses {
  readonly grpc: string;
  /** HOST:PORT of each listener, in the order of the options. */
  readonly mqtt: readonly { readonly kind: ListenerKind; readonly address: string }[];
}

export interface BrokerServer extends AsyncDisposable {
  readonly nodeId: string;
  readonly addresses: BrokerAddresses;
  /** Undefined when it can serve; else why not. */
  notReady(): string | undefined;
}

/** Time for clients, sessions and coordinators to be put away in order. */
const drainMs = 10_000;

/**
 * Starts a broker: registers with placement, follows the catalog, runs the coordinators that it is
 * given, and listens for clients. Resolves when it serves; waits for placement as long as it takes.
 */
export async function startBroker(options: BrokerOptions): Promise<BrokerServer> {
  const broker = new Broker(options);
  try {
    await broker.start();
    return broker;
  } catch (error) {
    await broker[Symbol.asyncDispose]();
    throw error;
  }
}

class Broker implements BrokerServer {
  readonly nodeId: string;
  readonly #incarnation: number;
  readonly #options: BrokerOptions;
  readonly #placement: PlacementClient;
  readonly #journal: JournalClient;
  readonly #host: CoordinatorHost;
  readonly #peer: BrokerPeer;
  readonly #coordinators: CoordinatorClient;
  readonly #fanOut: DirectFanOut;
  readonly #reader: RecordReader;
  #server: RpcServer | undefined;
  #mqtt: MqttServer | undefined;
  #access: FileAccessControl | undefined;
  #sessions: CoordinatorSessionGateway | undefined;
  #shareGroups: ShareGroupClient | undefined;
  readonly #shareCounts = newShareGroupCounts();
  #retained: CoordinatorRetainedGateway | undefined;
  readonly #retainedStats = new RetainedStats();
  #registration: NodeRegistration | undefined;
  #refused: OperatingError | undefined;
  #isServing = false;
  #stopping = false;

  constructor(options: BrokerOptions) {
    this.#options = options;
    const { transport, clock, random, logger, placement } = options;
    this.nodeId = options.nodeId ?? `broker-${random.bytes(4).toString('hex')}`;
    // A restart of the same node has to come later than its last start, on whatever machine.
    this.#incarnation = clock.wallMs();
    const common = { transport, clock, random };
    this.#placement = new PlacementClient({ ...common, placement, nodeId: this.nodeId, logger });
    const { catalog } = this.#placement;
    this.#journal = createJournalClient({ ...common, catalog, placement: this.#placement });
    const self = { nodeId: this.nodeId, incarnation: this.#incarnation };
    this.#host = new CoordinatorHost({
      self,
      catalog,
      journal: this.#journal,
      placement: this.#placement,
      clock,
      logger,
    });
    this.#peer = new BrokerPeer(this.#host);
    this.#coordinators = new CoordinatorClient({
      catalog,
      host: this.#host,
      peer: this.#peer,
      transport,
      clock,
    });
    this.#reader = new RecordReader({ journal: this.#journal, logger });
    this.#fanOut = new DirectFanOut({ journal: this.#journal, clock, logger });
  }

  get addresses(): BrokerAddresses {
    const grpc = this.#server?.address ?? this.#options.listen;
    return { grpc, mqtt: this.#mqtt?.listeners ?? [] };
  }

  async start(): Promise<void> {
    const { transport, listen, mqttListeners } = this.#options;
    this.#access = await this.#openAccess();
    this.#placement.start();
    this.#server = await transport.listen(listen, (registry) => {
      this.#peer.register(registry);
      registerBrokerAdmin(registry, () => this.#mqtt);
    });
    await this.#placement.catalog.ready();
    if (mqttListeners.length > 0) this.#mqtt = await this.#startMqtt();
    registerMetrics(this.#options.registry, {
      mqtt:
        this.#mqtt === undefined
          ? []
          : [...mqttMetrics(this.#mqtt), ...retainedMetrics(this.#retainedStats)],
      access: this.#access === undefined ? [] : accessFamilies(this.#access),
      journal: this.#journal,
      host: this.#host,
      shares: this.#shareCounts,
    });
    this.#register();
    await this.#registered();
    this.#isServing = true;
  }

  async #openAccess(): Promise<FileAccessControl | undefined> {
    const { accessFile: path, clock, random, logger } = this.#options;
    if (path === undefined) return undefined;
    const fetch = (url: string, init: RequestInit): Promise<Response> =>
      globalThis.fetch(url, init);
    return FileAccessControl.open({ path, files: nodeTextFiles(), fetch, clock, random, logger });
  }

  #startMqtt(): Promise<MqttServer> {
    const { clock, random, logger, mqttListeners, mqttLimits, mqttObservation } = this.#options;
    const { catalog } = this.#placement;
    const sessions = new CoordinatorSessionGateway({ calls: this.#coordinators, clock });
    this.#sessions = sessions;
    const retained = new CoordinatorRetainedGateway({ calls: this.#coordinators, catalog, clock });
    this.#retained = retained;
    const placement = this.#placement;
    const calls = this.#coordinators;
    const shareGroups = new ShareGroupClient({ calls, clock, logger });
    this.#shareGroups = shareGroups;
    const endMember = (member: Parameters<typeof endShareMember>[1]): Promise<void> =>
      endShareMember(calls, member);
    const fanOut = this.#fanOut;
    const bytesMax = mqttLimits?.retainedBytesMax ?? mqttLimitsDefault.retainedBytesMax;
    const stats = this.#retainedStats;
    this.#host.register(createSessionKind({ catalog, placement, endMember }));
    this.#host.register(
      createRetainedKind({ catalog, placement, fanOut, limits: { bytesMax }, stats }),
    );
    this.#host.register(this.#shareGroupKind());
    this.#host.start();
    return MqttServer.start({
      listeners: mqttListeners,
      catalog,
      journal: this.#journal,
      fanOut: this.#fanOut,
      log: this.#reader,
      logWriter: new PartitionWriter({ catalog, journal: this.#journal }),
      catchUp: new CatchUpReads({ reader: this.#reader }),
      sessions,
      retained,
      shareGroups,
      retainedMessages: () => stats.messages,
      nodeId: this.nodeId,
      version: this.#options.version,
      brokerId: `${this.nodeId}-${this.#incarnation}`,
      clock,
      random,
      logger,
      ...(mqttLimits && { limits: mqttLimits }),
      access: this.#access?.control,
      refusedPublish: this.#options.mqtt3RefusedPublish,
      ...(mqttObservation && { observation: mqttObservation }),
      rewriteRules: this.#options.mqttRewriteRules ?? [],
      autoSubscriptions: this.#options.mqttAutoSubscriptions ?? [],
    });
  }

  #shareGroupKind(): CoordinatorKind {
    const { mqttSharedStrategy: strategy, random } = this.#options;
    const { catalog } = this.#placement;
    const shares = createMqttShares({ catalog, ...(strategy && { strategy }) });
    return createShareGroupKind({
      protocols: { [mqttShares]: shares },
      catalog,
      placement: this.#placement,
      fanOut: this.#fanOut,
      endOffset: (shardId) => this.#journal.endOffset(shardId),
      random,
      counts: this.#shareCounts,
    });
  }

  #register(): void {
    const { placement, transport, clock, random, logger } = this.#options;
    this.#registration = new NodeRegistration({
      placement,
      transport,
      clock,
      random,
      logger,
      node: this.#node(),
      coordinatorKinds: this.#host.kinds(),
      clusterId: '',
      placementEpoch: 0,
      onRegistered: () => {
        this.#refused = undefined;
      },
      onRefused: (error) => this.#onRefused(error),
    });
    this.#registration.start();
  }

  /** A newer broker of this name, or another cluster, is final: clients have to go to one that serves. */
  #onRefused(error: OperatingError): void {
    this.#refused = error;
    const isFinal = error.code === 'FENCED' || error.code === 'WRONG_CLUSTER';
    if (isFinal && this.#isServing) endProcess(this.#options.logger, 'broker')(error);
  }

  #node(): Node {
    return {
      nodeId: this.nodeId,
      role: NodeRole.BROKER,
      address: this.#advertised(this.addresses.grpc),
      zone: this.#options.zone ?? '',
      incarnation: this.#incarnation,
      state: NodeState.UP,
      listeners: (this.#mqtt?.listeners ?? []).map(({ kind, address, advertised }) => ({
        protocol: kind,
        address: advertised ?? this.#advertised(address),
      })),
      diskUuid: '',
    };
  }

  #advertised(address: string): string {
    return advertisedAddress(address, this.#options.advertiseHost);
  }

  /** Resolves once placement has this broker in the catalog; rejects when it refuses it for good. */
  async #registered(): Promise<void> {
    const { catalog } = this.#placement;
    const known = (): boolean =>
      this.#refused !== undefined || catalog.node(this.nodeId)?.incarnation === this.#incarnation;
    await catalog.waitFor(known, {});
    if (this.#refused !== undefined) throw this.#refused;
  }

  notReady(): string | undefined {
    if (this.#stopping) return 'this broker is draining';
    if (this.#server === undefined) return 'this broker is starting';
    if (this.#refused !== undefined) {
      return `placement refuses this broker: ${this.#refused.message}`;
    }
    const journals = [...this.#placement.catalog.nodes()].filter(
      (node) => node.role === NodeRole.JOURNAL && node.state === NodeState.UP,
    );
    return journals.length === 0 ? 'no journal is up: nothing can be written or read' : undefined;
  }

  /** Drains: clients are told to go, sessions stored, coordinators released, then the rest is closed. */
  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#stopping) return;
    this.#stopping = true;
    this.#registration?.drain();
    await this.#withinDrainTime(async () => {
      await this.#mqtt?.[Symbol.asyncDispose]();
      this.#sessions?.[Symbol.dispose]();
      this.#shareGroups?.[Symbol.dispose]();
      this.#retained?.[Symbol.dispose]();
      await this.#coordinators[Symbol.asyncDispose]();
      await this.#host[Symbol.asyncDispose]();
    });
    await this.#access?.[Symbol.asyncDispose]();
    await this.#registration?.[Symbol.asyncDispose]();
    await this.#fanOut[Symbol.asyncDispose]();
    await this.#journal[Symbol.asyncDispose]();
    await this.#placement[Symbol.asyncDispose]();
    await this.#server?.[Symbol.asyncDispose]();
  }

  async #withinDrainTime(work: () => Promise<void>): Promise<void> {
    const { clock, logger } = this.#options;
    let cancel = (): void => {};
    const late = new Promise<void>((resolve) => {
      cancel = clock.setTimer(drainMs, () => {
        logger.warn(
          { drainMs },
          'not everything could be put away in time; it is taken up elsewhere',
        );
        resolve();
      });
    });
    await Promise.race([work(), late]);
    cancel();
  }
}
