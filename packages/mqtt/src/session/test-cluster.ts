import { OperatingError, type Random, seededRandom } from '@robustmq/core';
import {
  BrokerPeer,
  CoordinatorClient,
  CoordinatorHost,
  type CoordinatorKind,
} from '@robustmq/kernel';
import { Catalog } from '@robustmq/placement-client';
import { RecordCursor } from '@robustmq/record-batch';
import {
  type CatalogEntry,
  inProcessTransport,
  NodeState,
  type RpcServer,
  type Shard,
  type Topic,
} from '@robustmq/rpc';
import {
  brokerNode,
  type MemoryLogClient,
  MemoryLogs,
  turns,
  VirtualClock,
} from '@robustmq/testkit';

/** A coordinator that test brokers run. */
export interface TestKind {
  readonly kind: string;
  readonly create: (broker: TestBroker) => CoordinatorKind;
}

export interface TestBrokerOptions {
  /** Called around each append to a log; it may kill the broker. */
  readonly step?: (broker: TestBroker) => void;
  readonly snapshotBytes?: number;
}

/** First shard of the shared topic; it has 16. */
export const sharedShard = 100;
const coordinatorShard = 7;
const sharedPartitions = 16;

/** Brokers that run the one coordinator of a kind and call it, over logs in memory and one virtual clock. */
export class TestCluster {
  readonly clock = new VirtualClock();
  readonly logs = new MemoryLogs();
  readonly random: Random;
  readonly transport = inProcessTransport();
  readonly kind: TestKind;
  readonly brokers: TestBroker[] = [];
  readonly topics: Topic[] = [];
  /** What is held of each shard, by holder. */
  readonly holds = new Map<string, number>();
  #revision = 0;
  #epoch = 0;
  #number = 0;

  constructor(kind: TestKind, seed = 1) {
    this.kind = kind;
    this.random = seededRandom(seed);
    this.topics.push(topicOf(`$${kind.kind}`, [coordinatorShard]));
    const shared = Array.from({ length: sharedPartitions }, (_, i) => sharedShard + i);
    this.topics.push(topicOf('mqtt', shared));
  }

  /** A broker that all others know of. */
  async broker(options: TestBrokerOptions = {}): Promise<TestBroker> {
    const broker = new TestBroker(this, ++this.#number, options);
    await broker.listen();
    this.brokers.push(broker);
    for (const topic of this.topics) {
      this.tell([broker], { entry: { $case: 'topic', value: topic } });
    }
    this.tell([broker], { entry: { $case: 'shard', value: this.shard() } });
    for (const other of this.brokers) {
      this.tell([broker], other.entry());
      this.tell([other], broker.entry());
    }
    return broker;
  }

  addTopic(topic: Topic): void {
    this.topics.push(topic);
    this.tell(this.brokers, { entry: { $case: 'topic', value: topic } });
  }

  /** Makes `owner` the coordinator's owner with a new epoch. */
  assign(owner: TestBroker | undefined, heardBy: readonly TestBroker[] = this.brokers): void {
    const value = {
      kind: this.kind.kind,
      index: 0,
      shardId: coordinatorShard,
      ownerNodeId: owner?.nodeId ?? '',
      ownerIncarnation: owner === undefined ? 0 : 1,
      epoch: ++this.#epoch,
    };
    this.tell(heardBy, { entry: { $case: 'coordinator', value } });
  }

  /** Everybody hears that the broker is gone. */
  gone(broker: TestBroker): void {
    broker.isGone = true;
    const others = this.brokers.filter((each) => each !== broker);
    this.tell(others, broker.entry());
  }

  tell(brokers: readonly TestBroker[], entry: CatalogEntry): void {
    for (const { catalog, isDead } of brokers) {
      if (isDead) continue;
      catalog.apply({
        revision: ++this.#revision,
        fullListBegins: false,
        entries: [entry],
        removals: [],
        placementEpoch: 1,
      });
    }
  }

  shard(): Shard {
    const log = this.logs.log(coordinatorShard);
    return {
      shardId: coordinatorShard,
      topic: `$${this.kind.kind}`,
      partition: 0,
      epoch: 1,
      trimOffset: log.trimOffset,
      endOffset: log.endOffset,
      segments: [],
    };
  }

  /** Lets time pass until the promise has settled. */
  async settle<T>(promise: Promise<T>): Promise<T> {
    let isSettled = false;
    void Promise.allSettled([promise]).then(() => (isSettled = true));
    // Each step ends before the next thing begins: the clock knows one step at a time.
    for (let i = 0; i < 4000; i++) {
      await turns(1);
      if (isSettled) return await promise;
      await this.clock.advance(5);
    }
    throw new OperatingError('UNAVAILABLE', 'nothing has come of it in 20 s');
  }

  /** What was appended to the partitions of the shared topic, in order for each. */
  published(): { key: string; value: string | null; timestampMs: number }[] {
    const cursor = new RecordCursor();
    const found: { key: string; value: string | null; timestampMs: number }[] = [];
    for (let i = 0; i < sharedPartitions; i++) {
      for (const { batch } of this.logs.log(sharedShard + i).batches) {
        cursor.reset(batch);
        while (cursor.next()) {
          const { buffer, keyStart, keyEnd, valueStart, valueEnd, timestampMs } = cursor;
          const value = valueStart < 0 ? null : buffer.toString('utf8', valueStart, valueEnd);
          found.push({ key: buffer.toString('utf8', keyStart, keyEnd), value, timestampMs });
        }
      }
    }
    return found;
  }

  /** Placement's part that takes holds. */
  holdShards(
    holder: string,
    holds: readonly { readonly shardId: number; readonly offset: number }[],
    releases: readonly number[] = [],
  ): Promise<void> {
    for (const { shardId, offset } of holds) this.holds.set(`${holder} ${shardId}`, offset);
    for (const shardId of releases) this.holds.delete(`${holder} ${shardId}`);
    return Promise.resolve();
  }

  trim(offset: number): void {
    const log = this.logs.log(coordinatorShard);
    log.trimOffset = Math.max(log.trimOffset, offset);
  }
}

/** One broker of a {@link TestCluster}. */
export class TestBroker {
  readonly nodeId: string;
  readonly catalog: Catalog;
  readonly logClient: MemoryLogClient;
  readonly host: CoordinatorHost;
  readonly calls: CoordinatorClient;
  readonly cluster: TestCluster;
  readonly #peer: BrokerPeer;
  #server: RpcServer | undefined;
  isDead = false;
  /** The catalog shows it as gone, whether it is or not. */
  isGone = false;
  /** Called once when it is killed. */
  onDeath: () => void = () => {};

  constructor(cluster: TestCluster, number: number, options: TestBrokerOptions) {
    this.cluster = cluster;
    this.nodeId = `broker-${number}`;
    this.catalog = new Catalog(cluster.clock);
    this.logClient = cluster.logs.client(() => options.step?.(this));
    const self = { nodeId: this.nodeId, incarnation: 1 };
    const { clock, transport } = cluster;
    const { catalog, logClient: journal } = this;
    const placement = {
      resolveShards: () => Promise.resolve([cluster.shard()]),
      trimShards: (trims: readonly { readonly offset: number }[]) => {
        for (const { offset } of trims) if (!this.isDead) cluster.trim(offset);
        return Promise.resolve([cluster.shard()]);
      },
    };
    const bytesMin = options.snapshotBytes;
    const snapshotPolicy = bytesMin === undefined ? undefined : { bytesMin, recordsMax: 500_000 };
    this.host = new CoordinatorHost({
      self,
      catalog,
      journal,
      placement,
      clock,
      ...(snapshotPolicy && { snapshotPolicy }),
    });
    this.host.register({ ...cluster.kind.create(this), shards: 1 });
    this.host.start();
    this.#peer = new BrokerPeer(this.host);
    this.calls = new CoordinatorClient({
      host: this.host,
      catalog,
      peer: this.#peer,
      transport,
      clock,
    });
  }

  get phase(): string | undefined {
    return this.host.coordinators()[0]?.phase;
  }

  async listen(): Promise<void> {
    const register = this.#peer;
    this.#server = await this.cluster.transport.listen('127.0.0.1:0', (registry) =>
      register.register(registry),
    );
  }

  entry(): CatalogEntry {
    const address = this.#server?.address ?? '';
    const state = this.isGone ? NodeState.DOWN : NodeState.UP;
    return brokerNode(this.nodeId, { address, state });
  }

  /** Nothing of it arrives any more, and nobody reaches it. */
  kill(): void {
    if (this.isDead) return;
    this.isDead = true;
    this.logClient.kill();
    void this.#server?.[Symbol.asyncDispose]();
    this.onDeath();
  }
}

function topicOf(name: string, shardIds: number[]): Topic {
  return { name, topicId: Buffer.alloc(16), shardIds, config: {} };
}
