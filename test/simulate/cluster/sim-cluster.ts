import { type Segment, SegmentState } from '@robustmq/rpc';
import { SimNetwork } from '../network/sim-network.ts';
import { BrokerProducer } from '../workload/broker-producer.ts';
import { IdempotentProducer, type Producer } from '../workload/producer.ts';
import { SimulatedHistory } from '../workload/simulated-history.ts';
import type { Plan } from '../world/plan.ts';
import type { SimProcess } from '../world/sim-process.ts';
import type { World } from '../world/world.ts';
import { Operator } from './operator.ts';
import { PlacementGroup } from './placement-group.ts';
import { SimBroker } from './sim-broker.ts';
import { SimJournal } from './sim-journal.ts';

const rebuildWithinMs = 5_000;

/** All machines of a run, what writes to them, and what is known of it. */
export class SimCluster {
  readonly world: World;
  readonly plan: Plan;
  readonly network: SimNetwork;
  readonly placement: PlacementGroup;
  readonly operator: Operator;
  readonly journals: SimJournal[] = [];
  /** Those that were not there from the begin: they may go again. */
  readonly added: SimJournal[] = [];
  readonly histories: SimulatedHistory[] = [];
  brokers: readonly SimBroker[] = [];
  producers: readonly Producer[] = [];
  #isQuiet = false;
  #journalsMade = 0;

  constructor(world: World, plan: Plan) {
    this.world = world;
    this.plan = plan;
    const { latency, lost, twice } = plan;
    this.network = new SimNetwork(world, { latency, lost, twice });
    this.placement = new PlacementGroup(plan.placements, this.network);
    this.operator = new Operator(this.network, this.placement);
    for (let at = 0; at < plan.journals; at++) this.newJournal(at < plan.faultyDisks);
  }

  newJournal(diskLies: boolean): SimJournal {
    const journal = new SimJournal({
      name: `j${++this.#journalsMade}`,
      network: this.network,
      placement: this.placement.addresses,
      diskMs: this.plan.diskMs,
      logFileBytes: this.plan.logFileBytes,
      producerExpiryMs: this.plan.producerExpiryMs,
      diskLies,
      isRefused: () => this.placement.runsOldStore,
      onGone: (gone) => this.#gone(gone),
    });
    this.journals.push(journal);
    return journal;
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
    return this.ledBy(journal).length > 0;
  }

  /** Open segments that a broker takes a journal for the leader of. */
  ledBy(journal: string): Segment[] {
    const catalogs = this.brokers.flatMap(({ placement }) => placement?.catalog ?? []);
    return catalogs.flatMap((catalog) =>
      this.histories.flatMap(({ shardId }) => {
        const last = catalog.shard(shardId)?.segments.at(-1);
        const isLed = last?.state === SegmentState.OPEN && last.leaderNodeId === journal;
        return isLed ? last : [];
      }),
    );
  }

  /** An operator ends all that is open. */
  sealAll(): void {
    for (const { shardId } of this.histories) this.operator.seal(shardId);
  }

  /** An operator gives up what nobody has any more. */
  giveUp(): void {
    for (const { shardId } of this.histories) this.operator.giveUp(shardId);
  }

  machines(): string[] {
    return [...this.placement.servers, ...this.journals, ...this.brokers].map(nameOf);
  }

  /** Starts placement and journals, and makes the topic. */
  async start(): Promise<void> {
    this.placement.revive();
    for (const journal of this.journals) journal.start();
    this.operator.start();
    const { replicas, minInSync, segmentMs, shards } = this.plan;
    const config = {
      'replication.factor': String(replicas),
      'min.insync.replicas': String(minInSync),
      'segment.bytes': '65536',
      'segment.ms': String(segmentMs),
      'retention.ms': '-1',
    };
    this.operator.createTopic('topic', shards, config, (shardIds) => {
      for (const shardId of shardIds)
        this.histories.push(new SimulatedHistory(shardId, this.world));
    });
    const isOver = (): boolean => this.histories.length > 0;
    await this.world.run({ ms: 200_000, steps: 200_000, isOver });
    if (!isOver()) this.world.violate('the topic cannot be created');
    this.#startWork();
  }

  /** Something that happens only while there are faults. */
  later(inMs: number, work: () => void): void {
    this.world.schedule(inMs, 'nemesis', () => {
      if (!this.#isQuiet) work();
    });
  }

  /** Once all is healed, a supervisor starts what ends. */
  #gone(journal: SimJournal): void {
    if (!this.#isQuiet || !this.journals.includes(journal)) return;
    this.world.schedule(100, 'supervisor', () => this.revive(journal));
  }

  revive(journal: SimJournal): void {
    if (!journal.process.isAlive && this.journals.includes(journal)) journal.start();
  }

  killBroker(broker: SimBroker): void {
    if (!broker.process.isAlive) return;
    broker.kill();
    for (const producer of this.producers) producer.brokerDied(broker);
  }

  reviveBrokers(): void {
    for (const broker of this.brokers) if (!broker.process.isAlive) broker.start();
  }

  /** Everything is repaired and runs again. */
  heal(): void {
    this.#isQuiet = true;
    if (this.plan.weights.drain > 0) {
      for (const { name } of this.journals) this.operator.undrain(name);
    }
    this.world.note('-- heal');
    this.network.heal();
    for (const { process } of [...this.placement.servers, ...this.journals, ...this.brokers]) {
      process.resume();
    }
    for (const journal of this.journals) {
      journal.disk.faults.failingSyncs = 0;
      journal.disk.faults.failingWrites = 0;
      journal.disk.capacityBytes = Number.MAX_SAFE_INTEGER;
      journal.diskMs = this.plan.diskMs;
      journal.onTornWrite = undefined;
      this.revive(journal);
    }
    this.placement.endOldStore();
    this.placement.revive();
    this.reviveBrokers();
    if (this.plan.losesStore) this.#rebuild();
    else this.#rebuildIfRefused(this.world.nowMs + rebuildWithinMs);
  }

  /** An operator does what a placement asks for that journals refuse. */
  #rebuildIfRefused(untilMs: number): void {
    this.world.schedule(500, 'operator', () => {
      if (this.placement.isRefused) this.#rebuild();
      else if (this.world.nowMs < untilMs) this.#rebuildIfRefused(untilMs);
    });
  }

  #rebuild(): void {
    this.operator.rebuild(() => this.journals.map(({ address }) => address));
  }

  newReader(): SimBroker {
    return new SimBroker('reader', this.network, this.placement, this.histories);
  }

  #startWork(): void {
    const { world, plan, network } = this;
    this.brokers = Array.from({ length: plan.clients }, (_, at) => {
      const broker = new SimBroker(`b${at + 1}`, network, this.placement, this.histories);
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
