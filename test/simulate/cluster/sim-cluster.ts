import { toOperatingError } from '@robustmq/core';
import { PlacementClient } from '@robustmq/placement-client';
import { SegmentState } from '@robustmq/rpc';
import { SimNetwork } from '../network/sim-network.ts';
import { BrokerProducer } from '../workload/broker-producer.ts';
import { IdempotentProducer, type Producer } from '../workload/producer.ts';
import { SimulatedHistory } from '../workload/simulated-history.ts';
import type { Plan } from '../world/plan.ts';
import { SimProcess } from '../world/sim-process.ts';
import { whenSettled } from '../world/when-settled.ts';
import type { World } from '../world/world.ts';
import { SimBroker } from './sim-broker.ts';
import { SimJournal } from './sim-journal.ts';
import { sharedStore, SimPlacement } from './sim-placement.ts';

const topic = 'topic';

/** All machines of a run, what writes to them, and what is known of it. */
export class SimCluster {
  readonly world: World;
  readonly plan: Plan;
  readonly network: SimNetwork;
  readonly placements: readonly SimPlacement[];
  readonly journals: readonly SimJournal[];
  readonly operator: SimProcess;
  readonly histories: SimulatedHistory[] = [];
  brokers: readonly SimBroker[] = [];
  producers: readonly Producer[] = [];
  #client: PlacementClient | undefined;
  #isQuiet = false;

  constructor(world: World, plan: Plan) {
    this.world = world;
    this.plan = plan;
    const { latency, lost, twice } = plan;
    this.network = new SimNetwork(world, { latency, lost, twice });
    const shared = sharedStore(plan.placements);
    this.placements = Array.from(
      { length: plan.placements },
      (_, at) => new SimPlacement(`p${at + 1}`, this.network, shared),
    );
    const placement = this.#placementAddresses();
    this.operator = new SimProcess('operator', world);
    this.journals = Array.from(
      { length: plan.journals },
      (_, at) =>
        new SimJournal({
          name: `j${at + 1}`,
          network: this.network,
          placement,
          diskMs: plan.diskMs,
          diskLies: at < plan.faultyDisks,
          onGone: (journal) => this.#gone(journal),
        }),
    );
  }

  get acknowledged(): number {
    return this.histories.reduce((sum, history) => sum + history.acknowledged, 0);
  }

  /** Batches whose producers still want to know. */
  get waiting(): number {
    return this.producers.reduce((sum, producer) => sum + producer.waiting, 0);
  }

  /** Whether a broker takes it for the leader of an open segment. */
  leads(journal: string): boolean {
    const catalogs = this.brokers.flatMap(({ placement }) => placement?.catalog ?? []);
    return catalogs.some((catalog) =>
      this.histories.some(({ shardId }) => {
        const last = catalog.shard(shardId)?.segments.at(-1);
        return last?.state === SegmentState.OPEN && last.leaderNodeId === journal;
      }),
    );
  }

  machines(): string[] {
    return [...this.placements, ...this.journals, ...this.brokers].map(nameOf);
  }

  /** Starts placement and journals, and makes the topic. */
  async start(): Promise<void> {
    for (const placement of this.placements) placement.start();
    for (const journal of this.journals) journal.start();
    this.operator.begin();
    const { clock } = this.operator;
    this.#client = new PlacementClient({
      placement: this.#placementAddresses(),
      transport: this.network.transportOf(this.operator),
      clock,
      random: this.operator.newRandom(),
      nodeId: 'operator',
    });
    this.#client.start();
    let created = false;
    this.#create(this.#client, () => {
      created = true;
    });
    await this.world.run({ ms: 200_000, steps: 200_000, isOver: () => created });
    if (!created) this.world.violate('the topic cannot be created');
    this.#startWork();
  }

  later(inMs: number, work: () => void): void {
    this.world.schedule(inMs, 'nemesis', () => {
      if (!this.#isQuiet) work();
    });
  }

  /** Once all is healed, a supervisor starts what ends. */
  #gone(journal: SimJournal): void {
    if (!this.#isQuiet) return;
    this.world.schedule(100, 'supervisor', () => this.revive(journal));
  }

  revive(journal: SimJournal): void {
    if (!journal.process.isAlive) journal.start();
  }

  revivePlacements(): void {
    for (const placement of this.placements) if (!placement.process.isAlive) placement.start();
  }

  #placementAddresses(): string[] {
    return this.placements.map(({ address }) => address);
  }

  killBroker(broker: SimBroker): void {
    if (!broker.process.isAlive) return;
    broker.kill();
    for (const producer of this.producers) producer.brokerDied(broker);
  }

  reviveBrokers(): void {
    for (const broker of this.brokers) if (!broker.process.isAlive) broker.start();
  }

  /** Lets go of the first half of a shard. */
  trim(): void {
    const history = this.world.pick(this.histories);
    if (history === undefined || history.endAcknowledged < 10) return;
    const offset = Math.floor(history.endAcknowledged * this.world.between(0, 0.7));
    history.trimming(offset);
    this.world.note(`trim shard ${history.shardId} to ${offset}`);
    const trims = [{ shardId: history.shardId, offset }];
    this.#order('trim', this.#client?.trimShards(trims));
  }

  /** An operator takes a journal out of service, and takes that back after a while. */
  drain(journal: SimJournal, forMs: number): void {
    this.#order('drain', this.#client?.drainNode(journal.name));
    this.later(forMs, () => this.#order('undrain', this.#client?.drainNode(journal.name, true)));
  }

  /** Until it is known to be in use again: an order may be lost with what is healed only after it. */
  #undrain(name: string): void {
    const again = (): void => {
      this.world.schedule(1_000, 'operator', () => this.#undrain(name));
    };
    whenSettled(this.#client?.drainNode(name, true) ?? Promise.resolve(), () => {}, again);
  }

  #order(what: string, done: Promise<unknown> | undefined): void {
    if (done === undefined) return;
    const report = (thrown: unknown): void =>
      this.world.note(`${what} fails: ${toOperatingError(thrown).code}`);
    whenSettled(done, () => {}, report);
  }

  /** Everything is repaired and runs again. */
  heal(): void {
    this.#isQuiet = true;
    for (const { name } of this.journals) {
      if (this.plan.weights.drain > 0) this.#undrain(name);
    }
    this.world.note('-- heal');
    this.network.heal();
    for (const { process } of [...this.placements, ...this.journals, ...this.brokers]) {
      process.resume();
    }
    for (const journal of this.journals) {
      journal.disk.faults.failingSyncs = 0;
      journal.disk.faults.failingWrites = 0;
      journal.disk.capacityBytes = Number.MAX_SAFE_INTEGER;
      journal.diskMs = this.plan.diskMs;
      this.revive(journal);
    }
    this.revivePlacements();
    this.reviveBrokers();
  }

  newReader(): SimBroker {
    return new SimBroker('reader', this.network, this.#placementAddresses(), this.histories);
  }

  #create(client: PlacementClient, done: () => void): void {
    const { replicas, minInSync, segmentMs } = this.plan;
    const config = {
      'replication.factor': String(replicas),
      'min.insync.replicas': String(minInSync),
      'segment.bytes': '65536',
      'segment.ms': String(segmentMs),
      'retention.ms': '-1',
    };
    const again = (): void => {
      this.operator.schedule(500, 'timer', () => this.#create(client, done));
    };
    whenSettled(this.#createNow(client, config), done, again);
  }

  async #createNow(client: PlacementClient, config: Record<string, string>): Promise<void> {
    const [made] = await client.createTopics([
      { name: topic, partitions: this.plan.shards, config },
    ]);
    const known = made instanceof Error ? (await client.describeCluster(topic)).topics[0] : made;
    if (known === undefined) throw made ?? new Error('no topic');
    for (const shardId of known.shardIds)
      this.histories.push(new SimulatedHistory(shardId, this.world));
  }

  #startWork(): void {
    const { world, plan, network } = this;
    const placement = this.#placementAddresses();
    this.brokers = Array.from({ length: plan.clients }, (_, at) => {
      const broker = new SimBroker(`b${at + 1}`, network, placement, this.histories);
      broker.start();
      return broker;
    });
    this.producers = this.histories.flatMap((history, at) => [
      new IdempotentProducer(`i${at}`, world, history, this.brokers),
      ...this.brokers.map(
        (broker) => new BrokerProducer(`${nameOf(broker)}-${at}`, world, history, broker),
      ),
    ]);
    for (const producer of this.producers) this.#drive(producer);
  }

  #drive(producer: Producer): void {
    const inMs = this.world.between(0.2, 1.8) * this.plan.appendEachMs;
    this.world.schedule(inMs, 'append', () => {
      producer.tick();
      this.#drive(producer);
    });
  }
}

function nameOf({ process }: { readonly process: SimProcess }): string {
  return process.name;
}
