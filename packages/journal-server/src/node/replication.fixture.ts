import { nodeId, OperatingError, seededRandom, segmentId, silentLogger } from '@robustmq/core';
import {
  type ActivateSegment,
  type Authority,
  inProcessTransport,
  journalControlMethods,
  type Node,
  NodeRole,
  NodeState,
  type PrepareReplica,
  type RpcClient,
  type RollSegment,
  type RpcServer,
  segmentIdToBytes,
  Shard,
  type Transport,
} from '@robustmq/rpc';
import { MemoryDisk, VirtualClock } from '@robustmq/testkit';
import { openStorage } from '../storage/open-storage.ts';
import type { JournalStorage } from '../storage/storage.ts';
import { smallLimits } from '../storage/storage-fixture.ts';
import { journalLimits, type JournalLimits } from './journal-limits.ts';
import { JournalNode } from './journal-node.ts';
import { registerJournal } from './journal-services.ts';
import { until } from './node.fixture.ts';
import type { PlacementPort } from './placement-port.ts';
import type { Replica } from './replica.ts';
import { AppendClient, codeOf, ReadClient } from './stream-clients.fixture.ts';

export const authority: Authority = { clusterId: 'cluster-1', placementEpoch: 1, lineage: [] };

/** One journal of a {@link ReplicaSetFixture}: it may die and come back on the same disk. */
export class Member {
  readonly name: string;
  readonly disk = new MemoryDisk();
  /** Warnings of all its lives. */
  readonly warnings: string[] = [];
  readonly #cluster: ReplicaSetFixture;
  #running: { storage: JournalStorage; node: JournalNode; server: RpcServer } | undefined;

  constructor(name: string, cluster: ReplicaSetFixture) {
    this.name = name;
    this.#cluster = cluster;
  }

  get address(): string {
    return `${this.name}:1`;
  }

  get storage(): JournalStorage {
    return this.#parts.storage;
  }

  get node(): JournalNode {
    return this.#parts.node;
  }

  async start(): Promise<void> {
    const { clock, transport, limits } = this.#cluster;
    const warn = (_fields: object, message: string): number => this.warnings.push(message);
    const logger = { ...silentLogger(), warn };
    const storage = await openStorage({
      disk: this.disk.mount(),
      clock,
      random: seededRandom(7),
      logger,
      nodeId: nodeId(this.name),
      onFatal: (error) => {
        throw error;
      },
      limits: smallLimits,
    });
    const placement = this.#cluster.placement;
    const node = new JournalNode({ storage, placement, transport, clock, limits, logger });
    const server = await transport.listen(this.address, (registry) =>
      registerJournal(registry, node),
    );
    this.#running = { storage, node, server };
  }

  /** The process dies: what was not synced may be lost. */
  async crash(): Promise<void> {
    const { server } = this.#parts;
    this.disk.crash({ next: () => 0.5, bytes: (count) => Buffer.alloc(count) });
    await server[Symbol.asyncDispose]();
    this.#running = undefined;
  }

  async stop(): Promise<void> {
    if (this.#running === undefined) return;
    const { storage, server } = this.#running;
    await server[Symbol.asyncDispose]();
    this.disk.releaseSyncs();
    await storage[Symbol.asyncDispose]();
  }

  get isRunning(): boolean {
    return this.#running !== undefined;
  }

  get #parts(): { storage: JournalStorage; node: JournalNode; server: RpcServer } {
    if (this.#running === undefined) throw new Error(`${this.name} runs`);
    return this.#running;
  }
}

/** Lets connections go deaf, as those do for a while that were cut; new ones are well. */
class DeafeningTransport implements Transport {
  readonly #inner = inProcessTransport({ graceMs: 1 });
  readonly #connections: { readonly address: string; isDeaf: boolean }[] = [];

  /** No stream on any connection that there is to this address says anything more. */
  deafen(address: string): void {
    for (const one of this.#connections) one.isDeaf ||= one.address === address;
  }

  listen: Transport['listen'] = (address, register) => this.#inner.listen(address, register);

  connect: Transport['connect'] = (address, kind) => {
    const client = this.#inner.connect(address, kind);
    const connection = { address, isDeaf: false };
    this.#connections.push(connection);
    return {
      address,
      call: (method, request, options) => client.call(method, request, options),
      open: (method, handlers) =>
        client.open(method, {
          message: (response) => {
            if (!connection.isDeaf) handlers.message(response);
          },
          drain: () => handlers.drain?.(),
          closed: (error) => handlers.closed(error),
        }),
      [Symbol.asyncDispose]: () => client[Symbol.asyncDispose](),
    };
  };
}

/** Three journals that replicate one segment of shard 1, led by the first; placement only names them. */
export class ReplicaSetFixture implements AsyncDisposable {
  readonly clock = new VirtualClock();
  readonly transport = new DeafeningTransport();
  readonly limits: JournalLimits;
  readonly members: readonly [Member, Member, Member];
  readonly segmentId = segmentId('ab'.repeat(16));
  readonly placement: PlacementPort;
  /** Journals that placement was told cannot be reached. */
  readonly reported: string[] = [];
  /** What placement was asked to roll. */
  readonly rolls: RollSegment[] = [];
  #client: RpcClient | undefined;

  private constructor(limits: Partial<JournalLimits>) {
    this.limits = { ...journalLimits, ...limits };
    this.members = [new Member('a', this), new Member('b', this), new Member('c', this)];
    this.placement = {
      connected: false,
      reportUnreachable: (name) => {
        this.reported.push(name);
        return Promise.resolve();
      },
      prepareRolls: ({ segments }) => Promise.resolve(segments.map(() => undefined)),
      rollSegments: ({ segments }) => {
        this.rolls.push(...segments);
        return Promise.reject(new OperatingError('UNAVAILABLE', 'no journal for the next segment'));
      },
      resolveShards: (shardIds) =>
        Promise.resolve(shardIds.map((shardId) => Shard.create({ shardId }))),
      catalog: {
        node: (name) => this.#describe(name),
        shard: (): Shard | undefined => undefined,
        onChange: () => () => {},
      },
    };
  }

  static async start(limits: Partial<JournalLimits> = {}): Promise<ReplicaSetFixture> {
    const fixture = new ReplicaSetFixture(limits);
    for (const member of fixture.members) await member.start();
    await fixture.#open();
    return fixture;
  }

  get leader(): Member {
    return this.members[0];
  }

  get followers(): readonly [Member, Member] {
    return [this.members[1], this.members[2]];
  }

  replica(member: Member): Replica {
    const replica = member.node.replica(this.segmentId);
    if (replica === undefined) throw new Error(`${member.name} has a replica`);
    return replica;
  }

  appends(): AppendClient {
    return new AppendClient(this.client(this.leader));
  }

  reads(member: Member): ReadClient {
    return new ReadClient(this.client(member));
  }

  client(member: Member): RpcClient {
    return this.transport.connect(member.address, 'bulk');
  }

  async fence(member: Member, epoch: number, order = 0): Promise<void> {
    const segments = [{ segmentId: segmentIdToBytes(this.segmentId), epoch }];
    await this.client(member).call(journalControlMethods.fence, { authority, segments, order });
  }

  /** Copies what a fenced member lacks up to `length` from another one; the status and the length then. */
  async recover(
    member: Member,
    from: Member,
    order: { epoch: number; length: number; copy?: PrepareReplica },
  ): Promise<{ code: string; length: number }> {
    const source = this.#describe(from.name);
    const segment = {
      segmentId: segmentIdToBytes(this.segmentId),
      baseOffset: 100,
      sources: source === undefined ? [] : [source],
      copy: undefined,
      ...order,
    };
    const answer = await this.client(member).call(journalControlMethods.recover, {
      authority,
      segments: [segment],
    });
    const [result] = answer.results;
    if (result === undefined) throw new Error('the order was refused');
    return { code: codeOf(result.status), length: result.length };
  }

  async #open(): Promise<void> {
    const bytes = segmentIdToBytes(this.segmentId);
    const replicaNodeIds = this.members.map(({ name }) => name);
    const replica = { segmentId: bytes, shardId: 1, epoch: 1, replicaNodeIds, ackQuorum: 2 };
    for (const member of this.members) {
      const request = { authority, replicas: [replica] };
      await this.client(member).call(journalControlMethods.prepare, request);
    }
    const segment: ActivateSegment = {
      segmentId: bytes,
      epoch: 1,
      baseOffset: 100,
      incarnation: this.leader.storage.incarnation,
      previousSegmentId: Buffer.alloc(0),
      previousFullNodes: [],
      policy: undefined,
    };
    this.#client = this.client(this.leader);
    await this.#client.call(journalControlMethods.activate, { authority, segments: [segment] });
  }

  #describe(name: string): Node | undefined {
    const member = this.members.find((one) => one.name === name);
    if (member === undefined) return undefined;
    return {
      nodeId: name,
      role: NodeRole.JOURNAL,
      address: member.address,
      zone: '',
      incarnation: 1,
      state: NodeState.UP,
      listeners: [],
      diskUuid: '',
    };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    // A drain then waits for nobody.
    Object.assign(this.placement, { connected: false });
    if (this.leader.isRunning) await this.leader.node.drain();
    for (const member of this.members) await member.stop();
  }
}

/** Until both logs are the same, durably. */
export async function untilEqual(set: ReplicaSetFixture, member: Member): Promise<void> {
  const leader = set.replica(set.leader).stored;
  await until(() => {
    const { stored } = set.replica(member);
    return stored.durableLength === leader.length && stored.chain === leader.chain;
  });
}
