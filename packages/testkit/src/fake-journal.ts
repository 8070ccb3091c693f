import {
  type Clock,
  errorNumber,
  type ErrorCode,
  OperatingError,
  type Random,
  seededRandom,
} from '@robustmq/core';
import { NodeRegistration } from '@robustmq/placement-client';
import {
  type ActivateSegment,
  type Authority,
  type FenceResult,
  type FenceSegment,
  JournalHealth,
  journalControlMethods,
  Node,
  NodeRole,
  NodeState,
  type PrepareReplica,
  type RecoverSegment,
  ReplicaSummary,
  type RpcServer,
  type ServiceRegistry,
  Status,
  type Transport,
} from '@robustmq/rpc';

/** One replica as it is on the disk of a fake journal. */
export interface FakeReplica {
  readonly order: PrepareReplica;
  baseOffset: number | undefined;
  length: number;
  sealed: boolean;
  damaged?: boolean;
  fencedEpoch: number;
  role: 'prepared' | 'leader' | 'closed';
  previousSegmentId: string;
}

/** The kinds of orders that placement gives. */
export type FakeOrder =
  | 'prepare'
  | 'activate'
  | 'fence'
  | 'recover'
  | 'sealNotify'
  | 'delete'
  | 'storeCatalog'
  | 'inventory';

export interface FakeJournalOptions {
  readonly transport: Transport;
  readonly clock: Clock;
  readonly placement: readonly string[];
  readonly nodeId: string;
  readonly zone?: string;
  /** HOST:PORT; a name of its own when it is not given. */
  readonly listen?: string;
  readonly random?: Random;
  /**
   * Called before each order is carried out, with its number of items: may throw to refuse it, or
   * return a promise to delay it.
   */
  readonly onOrder?: (order: FakeOrder, items: number) => Promise<void> | void;
}

/**
 * Plays a journal's part towards placement: obeys its orders, counts instead of storing records, and
 * keeps what it would have on its disk over a restart.
 */
export class FakeJournal implements AsyncDisposable {
  readonly nodeId: string;
  /** By segment id in hex. */
  readonly replicas = new Map<string, FakeReplica>();
  /** How many orders of each kind were carried out, in items. */
  readonly obeyed = new Map<FakeOrder, number>();
  readonly refusals: OperatingError[] = [];
  /** The copy of placement's catalog that it keeps. */
  catalog: { revision: number; copy: Buffer } = { revision: 0, copy: Buffer.alloc(0) };
  health: JournalHealth = JournalHealth.create({ freeBytes: 1_000_000_000 });
  /** Whether it can make a copy in the place of a damaged replica. */
  replacesDamaged = true;
  incarnation = 0;
  diskUuid: string;
  onOrder: FakeJournalOptions['onOrder'];
  readonly #options: FakeJournalOptions;
  /** Placement that gave the copy. */
  #catalogOf: Buffer = Buffer.alloc(0);
  #clusterId = '';
  #placementEpoch = 0;
  #address: string;
  #server: RpcServer | undefined;
  #registration: NodeRegistration | undefined;

  constructor(options: FakeJournalOptions) {
    this.#options = options;
    this.nodeId = options.nodeId;
    this.diskUuid = `disk-of-${options.nodeId}`;
    this.onOrder = options.onOrder;
    this.#address = options.listen ?? `${options.nodeId}:0`;
  }

  get address(): string {
    return this.#address;
  }

  get registered(): boolean {
    return this.#registration?.registered === true;
  }

  get registration(): NodeRegistration | undefined {
    return this.#registration;
  }

  /** Listens and registers, as a new incarnation that leads nothing. */
  async start(): Promise<void> {
    const { transport, clock, placement, random } = this.#options;
    this.incarnation++;
    for (const replica of this.replicas.values()) {
      if (replica.role === 'leader') replica.role = 'closed';
    }
    this.#server = await transport.listen(this.#address, (registry) => this.#serve(registry));
    this.#address = this.#server.address;
    const registered = Promise.withResolvers<void>();
    this.#registration = new NodeRegistration({
      placement,
      transport,
      clock,
      random: random ?? seededRandom(1),
      node: this.node(),
      clusterId: this.#clusterId,
      placementEpoch: this.#placementEpoch,
      onOtherDisk: (incarnationMin) => Promise.resolve((this.incarnation = incarnationMin)),
      onRegistered: (registration) => {
        this.#clusterId = registration.clusterId;
        registered.resolve();
      },
      onRefused: (error) => {
        this.refusals.push(error);
        registered.resolve();
      },
    });
    this.#registration.update(this.health);
    this.#registration.start();
    await registered.promise;
  }

  /** Ends as a process that is killed: its address refuses connections. */
  async kill(): Promise<void> {
    await this.#server?.[Symbol.asyncDispose]();
    await this.#registration?.[Symbol.asyncDispose]();
    this.#server = undefined;
    this.#registration = undefined;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.kill();
  }

  /** Appends records to the segment of a shard that it leads; false when it leads none. */
  append(shardId: number, records: number): boolean {
    for (const replica of this.replicas.values()) {
      if (replica.order.shardId !== shardId || replica.role !== 'leader') continue;
      replica.length += records;
      return true;
    }
    return false;
  }

  /** Shards that it leads a segment of. */
  led(): number[] {
    return [...this.replicas.values()]
      .filter((replica) => replica.role === 'leader')
      .map((replica) => replica.order.shardId);
  }

  node(): Node {
    return Node.create({
      nodeId: this.nodeId,
      role: NodeRole.JOURNAL,
      address: this.#address,
      zone: this.#options.zone ?? '',
      incarnation: this.incarnation,
      state: NodeState.UP,
      diskUuid: this.diskUuid,
    });
  }

  #serve(registry: ServiceRegistry): void {
    registry.unary(journalControlMethods.prepare, ({ authority, replicas }) =>
      this.#obey('prepare', authority, replicas, (order) => this.#prepare(order)),
    );
    registry.unary(journalControlMethods.activate, ({ authority, segments }) =>
      this.#obey('activate', authority, segments, (order) => this.#activate(order)),
    );
    registry.unary(journalControlMethods.sealNotify, ({ authority, segments }) =>
      this.#obey('sealNotify', authority, segments, ({ segmentId, length, baseOffset }) => {
        const replica = this.#replica(segmentId);
        if (replica === undefined) return 'SEGMENT_UNKNOWN';
        Object.assign(replica, { length, baseOffset, sealed: true, role: 'closed' });
        return undefined;
      }),
    );
    registry.unary(journalControlMethods.delete, ({ authority, segmentIds }) =>
      this.#obey('delete', authority, segmentIds, (segmentId) => {
        this.replicas.delete(segmentId.toString('hex'));
        return undefined;
      }),
    );
    registry.unary(journalControlMethods.fence, async ({ authority, segments }) => {
      await this.#begin('fence', authority, segments.length);
      return { status: undefined, results: segments.map((order) => this.#fence(order)) };
    });
    registry.unary(journalControlMethods.recover, async ({ authority, segments }) => {
      await this.#begin('recover', authority, segments.length);
      return { status: undefined, results: segments.map((order) => this.#recover(order)) };
    });
    registry.unary(journalControlMethods.storeCatalog, async (given) => {
      await this.#begin('storeCatalog', given.authority, 1);
      const { revision, startRevision, placementInstance } = given;
      const isOwn = placementInstance.equals(this.#catalogOf);
      const known = isOwn ? revision : startRevision;
      if (known < this.catalog.revision) return { status: statusOf('OLD_STORE') };
      this.catalog = { revision, copy: Buffer.from(given.copy) };
      this.#catalogOf = placementInstance;
      return { status: undefined };
    });
    registry.unary(journalControlMethods.readCatalog, () => ({
      ...this.catalog,
      nodeId: this.nodeId,
      clusterId: this.#clusterId,
      placementEpoch: this.#placementEpoch,
      copyEpoch: Number(this.catalog.revision > 0),
      diskUuid: `disk-of-${this.nodeId}`,
    }));
    registry.unary(journalControlMethods.probe, () => ({
      nodeId: this.nodeId,
      incarnation: this.incarnation,
    }));
    registry.stream(journalControlMethods.inventory, (stream) => ({
      message: () => {
        void this.onOrder?.('inventory', this.replicas.size);
        stream.send({ replicas: [...this.replicas.values()].map(summaryOf) });
        stream.end();
      },
      closed: () => stream.end(),
    }));
  }

  async #begin(order: FakeOrder, authority: Authority | undefined, items: number): Promise<void> {
    if (authority === undefined || authority.placementEpoch < this.#placementEpoch) {
      throw new OperatingError('FENCED', 'a newer placement was here');
    }
    this.#placementEpoch = authority.placementEpoch;
    await this.onOrder?.(order, items);
    this.obeyed.set(order, (this.obeyed.get(order) ?? 0) + items);
  }

  async #obey<Item>(
    order: FakeOrder,
    authority: Authority | undefined,
    items: readonly Item[],
    work: (item: Item) => ErrorCode | undefined,
  ): Promise<{ status: undefined; results: Status[] }> {
    await this.#begin(order, authority, items.length);
    return { status: undefined, results: items.map((item) => statusOf(work(item))) };
  }

  #prepare(order: PrepareReplica): ErrorCode | undefined {
    const hex = order.segmentId.toString('hex');
    if (this.replicas.has(hex)) return undefined;
    this.replicas.set(hex, {
      order,
      baseOffset: undefined,
      length: 0,
      sealed: false,
      fencedEpoch: 0,
      role: 'prepared',
      previousSegmentId: '',
    });
    return undefined;
  }

  #activate(order: ActivateSegment): ErrorCode | undefined {
    const replica = this.#replica(order.segmentId);
    if (replica === undefined) return 'SEGMENT_UNKNOWN';
    if (replica.fencedEpoch > order.epoch) return 'FENCED';
    if (order.incarnation !== this.incarnation) return 'NOT_LEADER';
    if (replica.role === 'leader') return undefined;
    if (replica.role === 'closed') return 'NOT_LEADER';
    replica.role = 'leader';
    replica.baseOffset = order.baseOffset;
    replica.previousSegmentId = order.previousSegmentId.toString('hex');
    return undefined;
  }

  #fence(order: FenceSegment): FenceResult {
    const replica = this.#replica(order.segmentId);
    const result = {
      length: replica?.length ?? 0,
      chain: replica?.length ?? 0,
      commitLength: 0,
      sizeBytes: (replica?.length ?? 0) * 100,
      maxTimestampMs: 0,
      sealed: replica?.sealed === true,
    };
    if (replica === undefined) return { ...result, status: statusOf('SEGMENT_UNKNOWN') };
    if (order.epoch < replica.fencedEpoch) {
      const status = { ...statusOf('FENCED'), hintEpoch: replica.fencedEpoch };
      return { ...result, status };
    }
    replica.fencedEpoch = order.epoch;
    if (replica.role === 'leader') replica.role = 'closed';
    if (replica.damaged === true) return { ...result, status: statusOf('DAMAGED') };
    return { ...result, status: statusOf(undefined) };
  }

  #recover({ segmentId, epoch, length, sources, copy, baseOffset }: RecoverSegment): FenceResult {
    const before = this.#replica(segmentId);
    const isToCopy = before === undefined || (before.damaged && this.replacesDamaged);
    if (copy !== undefined && sources.length > 0 && isToCopy) {
      this.replicas.delete(segmentId.toString('hex'));
      this.#prepare(copy);
      Object.assign(this.#replica(segmentId) ?? {}, {
        length,
        baseOffset,
        sealed: true,
        role: 'closed',
      });
    }
    const replica = this.#replica(segmentId);
    const isFenced = replica !== undefined && replica.fencedEpoch <= epoch;
    if (isFenced && sources.length > 0) replica.length = Math.max(replica.length, length);
    return this.#fence({ segmentId, epoch });
  }

  #replica(segmentId: Buffer): FakeReplica | undefined {
    return this.replicas.get(segmentId.toString('hex'));
  }
}

function statusOf(code: ErrorCode | undefined): Status {
  return Status.create({ code: code === undefined ? 0 : errorNumber(code), message: code ?? '' });
}

function summaryOf(replica: FakeReplica): ReplicaSummary {
  const { order, baseOffset, length, sealed, fencedEpoch } = replica;
  return ReplicaSummary.create({
    segmentId: order.segmentId,
    shardId: order.shardId,
    epoch: order.epoch,
    baseOffset: baseOffset ?? 0,
    baseKnown: baseOffset !== undefined,
    length,
    sealed,
    damaged: replica.damaged ?? false,
    fencedEpoch,
    replicaNodeIds: order.replicaNodeIds,
    ackQuorum: order.ackQuorum,
  });
}
