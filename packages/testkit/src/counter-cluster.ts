import { type OperatingError, OperatingError as Failure } from '@robustmq/core';
import { type CoordinatorContext, CoordinatorHost, type SnapshotPolicy } from '@robustmq/kernel';
import { Catalog } from '@robustmq/placement-client';
import { type CatalogEntry, NodeRole, NodeState, type Shard } from '@robustmq/rpc';
import { type CounterCommand, CounterMachine } from './counter-machine.ts';
import { type MemoryLogClient, MemoryLogs, type MemoryStep } from './memory-log.ts';
import { VirtualClock } from './virtual-clock.ts';

/** The shard of the one coordinator `counters/0`. */
export const counterShard = 7;
const kind = 'counters';

export interface CounterBrokerOptions {
  /** Called around each append of this broker; it may kill the client. */
  readonly step?: (client: MemoryLogClient, step: MemoryStep) => void;
  readonly snapshotPolicy?: SnapshotPolicy;
}

/** Brokers that run the coordinator of a {@link CounterMachine} one after another, over logs in memory. */
export class CounterCluster {
  readonly clock = new VirtualClock();
  readonly logs = new MemoryLogs();
  readonly brokers: CounterBroker[] = [];
  epoch = 0;
  #revision = 0;

  /** A broker that knows of no owner yet. */
  broker(options: CounterBrokerOptions = {}): CounterBroker {
    const broker = new CounterBroker(this, this.brokers.length + 1, options);
    this.brokers.push(broker);
    return broker;
  }

  /** Makes `owner` the owner with a new epoch; only those in `heardBy` learn of it. */
  assign(owner: CounterBroker | undefined, heardBy: readonly CounterBroker[] = this.brokers): void {
    this.epoch++;
    const entry: CatalogEntry = {
      entry: {
        $case: 'coordinator',
        value: {
          kind,
          index: 0,
          shardId: counterShard,
          ownerNodeId: owner?.nodeId ?? '',
          ownerIncarnation: owner === undefined ? 0 : 1,
          epoch: this.epoch,
        },
      },
    };
    for (const broker of heardBy) this.tell(broker, entry);
  }

  /** The shard as placement knows it. */
  shard(): Shard {
    const log = this.logs.log(counterShard);
    return {
      shardId: counterShard,
      topic: `$${kind}`,
      partition: 0,
      epoch: 1,
      trimOffset: log.trimOffset,
      endOffset: log.endOffset,
      segments: [],
    };
  }

  tell(broker: CounterBroker, ...entries: CatalogEntry[]): void {
    this.#revision++;
    broker.catalog.apply({
      revision: this.#revision,
      fullListBegins: false,
      entries,
      removals: [],
      placementEpoch: 1,
    });
  }

  /** Lets time pass until the promise has settled. */
  async settle<T>(promise: Promise<T>): Promise<T> {
    const settled = Promise.allSettled([promise]);
    for (let i = 0; i < 2000; i++) {
      const isSettled = await Promise.race([settled.then(() => true), this.clock.advance(5)]);
      if (isSettled === true) return await promise;
    }
    throw new Error('nothing has come of it in 10 s');
  }
}

/** One broker of a {@link CounterCluster}. */
export class CounterBroker {
  readonly nodeId: string;
  readonly catalog: Catalog;
  readonly client: MemoryLogClient;
  readonly host: CoordinatorHost;
  /** The machines that were made, oldest first. */
  readonly machines: CounterMachine[] = [];
  readonly trims: number[] = [];
  /** Resolves when the broker was killed. */
  readonly dead: Promise<'dead'>;
  #die: () => void = () => {};

  constructor(cluster: CounterCluster, number: number, options: CounterBrokerOptions) {
    this.nodeId = `broker-${number}`;
    this.catalog = new Catalog(cluster.clock);
    this.dead = new Promise((resolve) => (this.#die = () => resolve('dead')));
    this.client = cluster.logs.client((client, step) => {
      options.step?.(client, step);
      if (client.isKilled) this.#die();
    });
    const { snapshotPolicy } = options;
    this.host = new CoordinatorHost({
      self: { nodeId: this.nodeId, incarnation: 1 },
      catalog: this.catalog,
      journal: this.client,
      clock: cluster.clock,
      placement: {
        resolveShards: () => Promise.resolve([cluster.shard()]),
        trimShards: (trims) => {
          const log = cluster.logs.log(counterShard);
          for (const { offset } of trims) {
            if (this.client.isKilled) continue;
            this.trims.push(offset);
            log.trimOffset = Math.max(log.trimOffset, offset);
          }
          return Promise.resolve([cluster.shard()]);
        },
      },
      ...(snapshotPolicy && { snapshotPolicy }),
    });
    this.host.register({ kind, shards: 1, create: (context) => this.#newMachine(context) });
    this.host.start();
  }

  get phase(): string | undefined {
    return this.host.coordinators()[0]?.phase;
  }

  /** The machine that serves, or the last one. */
  get machine(): CounterMachine | undefined {
    return this.machines.at(-1);
  }

  kill(): void {
    this.client.kill();
    this.#die();
  }

  /** Sends a command as this broker itself. */
  command(command: CounterCommand): Promise<string> {
    return new Promise((resolve, reject: (error: OperatingError) => void) => {
      const payload = Buffer.from(JSON.stringify(command));
      const refusal = this.host.command({ kind, index: 0 }, payload, this.host.self, {
        ok: (answer) => resolve(answer.toString()),
        fail: reject,
      });
      if (refusal !== undefined) reject(refusal);
    });
  }

  #newMachine(context: CoordinatorContext): CounterMachine {
    const machine = new CounterMachine(context);
    this.machines.push(machine);
    return machine;
  }
}

/** A node as the catalog shows it. */
export function brokerNode(
  nodeId: string,
  options: { incarnation?: number; state?: NodeState; address?: string } = {},
): CatalogEntry {
  const { incarnation = 1, state = NodeState.UP, address = '' } = options;
  return {
    entry: {
      $case: 'node',
      value: {
        nodeId,
        role: NodeRole.BROKER,
        address,
        zone: '',
        incarnation,
        state,
        listeners: [],
        diskUuid: '',
      },
    },
  };
}

/** Carries out each command exactly once, over as many owners as it takes. */
export class CounterScript {
  readonly #cluster: CounterCluster;
  readonly #nextBroker: (index: number) => CounterBroker;
  #current: CounterBroker;

  /** `nextBroker` makes the owner that follows; the first one has index 0. */
  constructor(cluster: CounterCluster, nextBroker: (index: number) => CounterBroker) {
    this.#cluster = cluster;
    this.#nextBroker = nextBroker;
    this.#current = this.#elect();
  }

  /** The owner now. */
  get current(): CounterBroker {
    return this.#current;
  }

  /** In waves of so many commands at once. */
  async carryOut(commands: readonly CounterCommand[], atOnce: number): Promise<string[]> {
    const answers: string[] = [];
    for (let at = 0; at < commands.length; at += atOnce) {
      const wave = commands.slice(at, at + atOnce).map((command) => this.#carryOut(command));
      answers.push(...(await this.#cluster.settle(Promise.all(wave))));
    }
    return answers;
  }

  async #carryOut(command: CounterCommand): Promise<string> {
    for (let tries = 0; tries < 100; tries++) {
      const broker = this.#current;
      const answer = broker.command(command).then(
        (value) => ({ value }),
        () => 'refused' as const,
      );
      const outcome = await Promise.race([answer, broker.dead]);
      if (typeof outcome === 'object') return outcome.value;
      if (outcome === 'dead' && this.#current === broker) this.#current = this.#elect();
      await new Promise((resolve) => this.#cluster.clock.setTimer(5, () => resolve(undefined)));
    }
    throw new Failure('UNAVAILABLE', 'a hundred tries came to nothing');
  }

  #elect(): CounterBroker {
    const broker = this.#nextBroker(this.#cluster.brokers.length);
    const { entry } = { entry: { $case: 'shard' as const, value: this.#cluster.shard() } };
    this.#cluster.tell(broker, { entry });
    this.#cluster.assign(broker, [broker]);
    return broker;
  }
}
