/** A placement on a virtual clock and queues, with fake journals: for the tests of this package. */
import { type Logger, type Random, seededRandom, silentLogger } from '@robustmq/core';
import { NodeRegistration, PlacementClient } from '@robustmq/placement-client';
import {
  brokerPeerMethods,
  type CoordinatorKind,
  inProcessTransport,
  Node,
  NodeRole,
  type RpcServer,
  SegmentState,
  type Shard,
  type Transport,
} from '@robustmq/rpc';
import {
  FakeJournal,
  type FakeJournalOptions,
  MemoryMetadataStore,
  turns,
  VirtualClock,
} from '@robustmq/testkit';
import { Registry } from 'prom-client';
import type { PlacementConfig } from './controller/controller.ts';
import { type PlacementServer, startPlacement } from './placement-server.ts';
import type { MetadataStore } from './store/metadata-store.ts';

export const placementAddress = 'placement:1';

export interface ClusterOptions {
  readonly store?: MetadataStore;
  readonly config?: Partial<PlacementConfig>;
  readonly logger?: Logger;
  /** Whether the timeouts of calls run on the virtual clock, too. */
  readonly virtualCalls?: boolean;
  /** Waits until nothing is under way, at least so many turns. */
  readonly turns?: (count: number) => Promise<void>;
}

export class Cluster implements AsyncDisposable {
  readonly clock: VirtualClock;
  readonly random: Random = seededRandom(7);
  readonly transport: Transport;
  readonly store: MetadataStore;
  readonly turns: (count: number) => Promise<void>;
  readonly journals: FakeJournal[] = [];
  registry = new Registry();
  placement!: PlacementServer;
  client!: PlacementClient;
  readonly #options: ClusterOptions;
  readonly #owned: AsyncDisposable[] = [];

  private constructor(options: ClusterOptions) {
    this.#options = options;
    this.store = options.store ?? new MemoryMetadataStore();
    this.turns = options.turns ?? turns;
    this.clock = new VirtualClock(undefined, this.turns);
    const { clock } = this;
    const timed = options.virtualCalls === true ? { clock } : {};
    this.transport = inProcessTransport({ graceMs: 0, ...timed });
  }

  static async start(options: ClusterOptions = {}): Promise<Cluster> {
    const cluster = new Cluster(options);
    await cluster.startPlacement();
    cluster.client = await cluster.newClient();
    return cluster;
  }

  async startPlacement(
    store: MetadataStore = this.store,
    config: Partial<PlacementConfig> = {},
  ): Promise<void> {
    this.registry = new Registry();
    this.placement = await startPlacement({
      dataDir: '',
      listen: placementAddress,
      transport: this.transport,
      clock: this.clock,
      random: this.random,
      logger: this.#options.logger ?? silentLogger(),
      registry: this.registry,
      store,
      config: { ...this.#options.config, ...config },
    });
  }

  async restartPlacement(): Promise<void> {
    await this.placement[Symbol.asyncDispose]();
    await this.startPlacement();
    await this.settle(2_000);
  }

  async newClient(nodeId = 'test'): Promise<PlacementClient> {
    const { transport, clock, random } = this;
    const client = new PlacementClient({
      placement: [placementAddress],
      transport,
      clock,
      random,
      nodeId,
    });
    this.#owned.push(client);
    client.start();
    await client.catalog.ready();
    return client;
  }

  async journal(nodeId: string, options: Partial<FakeJournalOptions> = {}): Promise<FakeJournal> {
    const { transport, clock } = this;
    const journal = new FakeJournal({
      transport,
      clock,
      placement: [placementAddress],
      nodeId,
      ...options,
    });
    this.journals.push(journal);
    await journal.start();
    await this.turns(20);
    return journal;
  }

  async broker(
    nodeId: string,
    kinds: CoordinatorKind[] = [],
    incarnation = 1,
  ): Promise<FakeBroker> {
    const broker = new FakeBroker(this, nodeId, kinds, incarnation);
    this.#owned.push(broker);
    await broker.start();
    await this.turns(20);
    return broker;
  }

  /** Creates a topic and returns its shards. */
  async topic(
    name: string,
    partitions = 1,
    config: Record<string, string> = {},
  ): Promise<number[]> {
    const [topic] = await this.client.createTopics([{ name, partitions, config }]);
    if (topic === undefined || topic instanceof Error) throw topic ?? new Error('no answer');
    return topic.shardIds;
  }

  /** The shard as placement has it. */
  async shard(shardId: number): Promise<Shard> {
    const [shard] = await this.client.resolveShards([shardId]);
    if (shard === undefined || shard instanceof Error) throw shard ?? new Error('no answer');
    return shard;
  }

  /** Lets time pass, so that passes run and clients come back. */
  async settle(ms = 0): Promise<void> {
    await this.clock.advance(ms);
    await this.turns(30);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const journal of this.journals) await journal[Symbol.asyncDispose]();
    for (const owned of this.#owned) await owned[Symbol.asyncDispose]();
    await this.placement[Symbol.asyncDispose]();
  }
}

/** Plays a broker's part towards placement. */
export class FakeBroker implements AsyncDisposable {
  readonly registration: NodeRegistration;
  readonly #cluster: Cluster;
  readonly #nodeId: string;
  readonly #incarnation: number;
  #server: RpcServer | undefined;

  constructor(cluster: Cluster, nodeId: string, kinds: CoordinatorKind[], incarnation: number) {
    this.#cluster = cluster;
    this.#nodeId = nodeId;
    this.#incarnation = incarnation;
    this.registration = new NodeRegistration({
      placement: [placementAddress],
      transport: cluster.transport,
      clock: cluster.clock,
      random: cluster.random,
      node: Node.create({
        nodeId,
        role: NodeRole.BROKER,
        address: `${nodeId}:1`,
        incarnation,
      }),
      coordinatorKinds: kinds,
      clusterId: '',
      placementEpoch: 0,
    });
  }

  async start(): Promise<void> {
    this.#server = await this.#cluster.transport.listen(`${this.#nodeId}:1`, (registry) => {
      registry.unary(brokerPeerMethods.probe, () => ({
        nodeId: this.#nodeId,
        incarnation: this.#incarnation,
      }));
    });
    this.registration.start();
  }

  /** Ends as a process that is killed. */
  async kill(): Promise<void> {
    await this.#server?.[Symbol.asyncDispose]();
    await this.registration[Symbol.asyncDispose]();
    this.#server = undefined;
    await this.#cluster.turns(20);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.kill();
  }
}

/** The chain as `base-end` of each segment that a view shows, with the state of the last. */
export function chainOf(shard: Shard): string {
  return shard.segments
    .map(({ state, baseOffset, endOffset }) => {
      if (state === SegmentState.SEALED) return `${baseOffset}-${endOffset}`;
      return `${baseOffset}-${state === SegmentState.OPEN ? 'open' : 'sealing'}`;
    })
    .join(' ');
}
