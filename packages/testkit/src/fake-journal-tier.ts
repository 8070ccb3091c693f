import {
  assert,
  type Clock,
  OperatingError,
  type Random,
  seededRandom,
  type ShardId,
  shardId as toShardId,
  systemClock,
} from '@robustmq/core';
import {
  type AppendEntry,
  type CatalogEntry,
  type Coordinator,
  type Node,
  NodeRole,
  NodeState,
  type RpcServer,
  type Topic,
  type Transport,
} from '@robustmq/rpc';
import { FakeJournalNode, type FakeTier } from './fake-journal-node.ts';
import { type FakePlacementState, FakeWatchers, registerFakePlacement } from './fake-placement.ts';
import { FakeShard } from './fake-shard.ts';

export interface FakeJournalTierOptions {
  readonly transport: Transport;
  readonly clock?: Clock;
  readonly random?: Random;
  /** Number of journals. Default 2. */
  readonly journals?: number;
  /** Batch bytes that a client may have unanswered on a stream. Default 16 MiB. */
  readonly creditBytes?: number;
}

/** Decides about an append before it is done: an error refuses it. It may move leaders or cut streams, too. */
export type AppendFault = (entry: AppendEntry, nodeId: string) => OperatingError | undefined;

interface Running {
  readonly node: FakeJournalNode;
  server: RpcServer | undefined;
  readonly address: string;
}

/**
 * Plays the journal tier and placement towards brokers, in memory, behind the real service interfaces:
 * shards as chains of segments with one replica, idempotent producers, writer epochs, credit, long
 * polls, tails. Everything appended is committed at once. Tests refuse, kill, freeze, move and cut at
 * will.
 */
export class FakeJournalTier implements FakeTier, FakePlacementState, AsyncDisposable {
  readonly clock: Clock;
  readonly creditBytes: number;
  /** Broken promises of clients; empty in a good test. */
  readonly violations: string[] = [];
  /** Every append request: the journal that got it, and the shards of its batches. */
  readonly appendRequests: { readonly nodeId: string; readonly shardIds: readonly number[] }[] = [];
  readonly watchers = new FakeWatchers();
  fault: AppendFault = () => undefined;
  readonly #transport: Transport;
  readonly #random: Random;
  readonly #shards = new Map<number, FakeShard>();
  readonly #topics = new Map<string, Topic>();
  readonly #coordinators = new Map<string, Coordinator>();
  readonly #journals = new Map<string, Running>();
  #placement: RpcServer | undefined;
  #placementAddress = 'placement:0';
  #nextProducerId = 1_000;
  #nextShardId = 1;

  constructor(options: FakeJournalTierOptions) {
    this.#transport = options.transport;
    this.clock = options.clock ?? systemClock();
    this.#random = options.random ?? seededRandom(1);
    this.creditBytes = options.creditBytes ?? 16 * 1024 * 1024;
  }

  static async start(options: FakeJournalTierOptions): Promise<FakeJournalTier> {
    const fake = new FakeJournalTier(options);
    for (let at = 1; at <= (options.journals ?? 2); at++) await fake.startNode(`journal-${at}`);
    await fake.startPlacement();
    return fake;
  }

  /** HOST:PORT of placement. */
  get placementAddress(): string {
    return this.#placementAddress;
  }

  // What tests set up.

  createTopic(name: string, partitions: number, config: Record<string, string> = {}): ShardId[] {
    const shardIds = Array.from({ length: partitions }, () => this.#nextShardId++);
    const topic = { name, topicId: this.#random.bytes(16), shardIds, config };
    this.#topics.set(name, topic);
    shardIds.forEach((shardId, partition) => {
      this.#shards.set(shardId, new FakeShard(shardId, name, partition));
    });
    this.watchers.tell([
      { entry: { $case: 'topic', value: topic } },
      ...shardIds.map((shardId) => shardEntry(this.require(shardId))),
    ]);
    return shardIds.map(toShardId);
  }

  setCoordinator(coordinator: Coordinator): void {
    this.#coordinators.set(`${coordinator.kind}/${coordinator.index}`, coordinator);
    this.watchers.tell([{ entry: { $case: 'coordinator', value: coordinator } }]);
  }

  deleteShard(shardId: number): void {
    this.#shards.delete(shardId);
    this.watchers.tell([], [{ removal: { $case: 'shardId', value: shardId } }]);
  }

  // Faults.

  /** Seals the open segment; the next append opens another one. */
  seal(shardId: number): void {
    const shard = this.require(shardId);
    shard.seal();
    this.shardChanged(shard);
  }

  /** Seals and opens the next segment at another journal, if another one is up. */
  moveLeader(shardId: number): void {
    const shard = this.require(shardId);
    const before = shard.open?.leaderNodeId;
    shard.seal();
    const others = this.#liveNodes().filter((node) => node.nodeId !== before);
    this.#openAt(shard, others.length > 0 ? others : this.#liveNodes());
    this.shardChanged(shard);
  }

  /** Breaks the streams of every journal. */
  cutStreams(): void {
    for (const { node } of this.#journals.values()) node.cutStreams();
  }

  /** Stops answering, as a stopped process does; connections stay. */
  freeze(nodeId: string): void {
    this.#running(nodeId).node.frozen = true;
  }

  async kill(nodeId: string): Promise<void> {
    const running = this.#running(nodeId);
    const { server } = running;
    running.server = undefined;
    running.node.frozen = true;
    running.node.cutStreams();
    await server?.[Symbol.asyncDispose]();
    this.#tellNode(running);
  }

  /** Starts a journal, or starts it anew with what it had on disk. */
  async startNode(nodeId: string): Promise<void> {
    const known = this.#journals.get(nodeId);
    const node = new FakeJournalNode(nodeId, (known?.node.incarnation ?? 0) + 1, this);
    const server = await this.#transport.listen(known?.address ?? '127.0.0.1:0', (registry) => {
      node.register(registry);
    });
    const running = { node, server, address: server.address };
    this.#journals.set(nodeId, running);
    this.#tellNode(running);
  }

  async startPlacement(): Promise<void> {
    this.#placement = await this.#transport.listen(this.#placementAddress, (registry) => {
      registerFakePlacement(registry, this, this.watchers);
    });
    this.#placementAddress = this.#placement.address;
  }

  async stopPlacement(): Promise<void> {
    await this.#placement?.[Symbol.asyncDispose]();
    this.#placement = undefined;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stopPlacement();
    for (const nodeId of this.#journals.keys()) await this.kill(nodeId);
  }

  // What the services use.

  entries(): CatalogEntry[] {
    return [
      ...[...this.#journals.values()].map((running) => nodeEntry(running)),
      ...[...this.#topics.values()].map((value) => ({
        entry: { $case: 'topic' as const, value },
      })),
      ...[...this.#shards.values()].map((shard) => shardEntry(shard)),
      ...[...this.#coordinators.values()].map((value) => ({
        entry: { $case: 'coordinator' as const, value },
      })),
    ];
  }

  shard(shardId: number): FakeShard | undefined {
    return this.#shards.get(shardId);
  }

  /** The shard, which must exist. */
  require(shardId: number): FakeShard {
    const shard = this.#shards.get(shardId);
    assert(shard !== undefined, `shard ${shardId} was created`);
    return shard;
  }

  ensureOpen(shard: FakeShard): void {
    const { open } = shard;
    if (open !== undefined && this.#liveNodes().some((node) => node.leads(open))) return;
    shard.seal();
    this.#openAt(shard, this.#liveNodes());
    this.shardChanged(shard);
  }

  takeProducerIds(count: number): number {
    this.#nextProducerId += count;
    return this.#nextProducerId - count;
  }

  shardChanged(shard: FakeShard): void {
    this.watchers.tell([shardEntry(shard)]);
    for (const { node } of this.#journals.values()) node.shardChanged();
  }

  refusal(entry: AppendEntry, nodeId: string): OperatingError | undefined {
    return this.fault(entry, nodeId);
  }

  appendRequested(nodeId: string, shardIds: readonly number[]): void {
    this.appendRequests.push({ nodeId, shardIds });
  }

  violated(what: string): void {
    this.violations.push(what);
  }

  #openAt(shard: FakeShard, nodes: FakeJournalNode[]): void {
    const node = nodes[Math.floor(this.#random.next() * nodes.length)];
    if (node === undefined) throw new OperatingError('UNAVAILABLE', 'no journal is up');
    shard.openSegment(this.#random.bytes(16), node.nodeId, node.incarnation);
  }

  #liveNodes(): FakeJournalNode[] {
    const running = [...this.#journals.values()].filter(({ server }) => server !== undefined);
    return running.map(({ node }) => node).filter(({ frozen }) => !frozen);
  }

  #running(nodeId: string): Running {
    const running = this.#journals.get(nodeId);
    assert(running !== undefined, `journal ${nodeId} was started`);
    return running;
  }

  #tellNode(running: Running): void {
    this.watchers.tell([nodeEntry(running)]);
  }
}

function shardEntry(shard: FakeShard): CatalogEntry {
  return { entry: { $case: 'shard', value: shard.describe() } };
}

function nodeEntry({ node, server, address }: Running): CatalogEntry {
  const value: Node = {
    nodeId: node.nodeId,
    role: NodeRole.JOURNAL,
    address,
    zone: '',
    incarnation: node.incarnation,
    state: server === undefined ? NodeState.DOWN : NodeState.UP,
    listeners: [],
    diskUuid: node.nodeId,
  };
  return { entry: { $case: 'node', value } };
}
