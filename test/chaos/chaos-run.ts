import { monitorEventLoopDelay } from 'node:perf_hooks';
import { setTimeout as delay } from 'node:timers/promises';

import { ChaosCluster } from './cluster/chaos-cluster.ts';
import { Deck } from './faults/deck.ts';
import type { CountedKind, Fault, Scene } from './faults/fault.ts';
import { Violations } from './history/violations.ts';
import { SeededRandom } from './kill/seeded-random.ts';
import { type Outages, OutageTable } from './outages.ts';
import { within } from './within.ts';
import { MqttLoad } from './workload/mqtt-load.ts';
import { ShardLoad } from './workload/shard-load.ts';

export interface ChaosOptions {
  readonly seed: number;
  readonly journals: number;
  /** How often faults are drawn. */
  readonly rounds: number;
  /** A part of the names of the faults that are drawn; all by default. */
  readonly only?: string;
  /** No namespaces and no small disks. */
  readonly plain?: boolean;
  readonly log: (line: string) => void;
}

export interface ChaosResult {
  /** Empty when nothing was wrong. */
  readonly violations: readonly string[];
  readonly counts: Readonly<Partial<Record<CountedKind, number>>>;
  /** Records through the journal's API, and MQTT messages. */
  readonly acknowledged: number;
  readonly reads: number;
  readonly segments: number;
  readonly outages: Outages;
}

const replicas = 3;
const settleWithinMs = 60_000;
/** After a fault's end the shards are watched for so long, for outages that it leaves. */
const watchedMs = 1_500;
const faultWithinMs = 120_000;

/**
 * Real processes under writers, readers and MQTT clients, with faults that the seed draws; the checkers
 * decide. Rejects when something does not go on although everything is up.
 */
export async function runChaos(options: ChaosOptions): Promise<ChaosResult> {
  const random = new SeededRandom(options.seed);
  const isPlain = options.plain ?? false;
  // Half of the runs have the machine's own disk, with the times that its syncs take.
  const smallDisks = random.below(2) === 0 && !isPlain;
  await using chaos = await ChaosCluster.start({
    journals: options.journals,
    brokers: 2,
    network: !isPlain,
    smallDisks,
  });
  const violations = new Violations();
  const wake = new Wake();
  const shared = { random: random.fork(), onProgress: () => wake.now() };
  const placement = chaos.cluster.role('placement').address('grpc');
  await using load = await ShardLoad.start({ ...shared, placement, violations });
  const brokers = chaos.brokers.map((name) => chaos.cluster.mqtt(name));
  await using mqtt = new MqttLoad({ ...shared, random: random.fork(), brokers });
  await within(settleWithinMs, 'the first subscriptions', mqtt.start());
  const run = new ChaosRun({ chaos, load, mqtt, violations, wake }, options, random);
  return await run.run();
}

/** Whoever waits looks again after each piece of progress. */
class Wake {
  #looks = new Set<() => void>();

  now(): void {
    for (const look of this.#looks) look();
  }

  async until(holds: () => boolean): Promise<void> {
    const looks = this.#looks;
    await new Promise<void>((resolve) => {
      const look = (): void => {
        if (!holds()) return;
        looks.delete(look);
        resolve();
      };
      looks.add(look);
      look();
    });
  }
}

interface Parts {
  readonly chaos: ChaosCluster;
  readonly load: ShardLoad;
  readonly mqtt: MqttLoad;
  readonly violations: Violations;
  readonly wake: Wake;
}

class ChaosRun {
  readonly #parts: Parts;
  readonly #options: ChaosOptions;
  readonly #random: SeededRandom;
  readonly #deck: Deck;
  readonly #scene: Scene;
  readonly #outages = new OutageTable();
  readonly #counts: Partial<Record<CountedKind, number>> = {};

  constructor(parts: Parts, options: ChaosOptions, random: SeededRandom) {
    this.#parts = parts;
    this.#options = options;
    this.#random = random;
    this.#deck = new Deck(options.only);
    const { chaos } = parts;
    const corruptible = random.pick(chaos.journals);
    const { placement } = parts.load;
    this.#scene = { chaos, placement, random: random.fork(), corruptible, log: options.log };
  }

  async run(): Promise<ChaosResult> {
    const { load, mqtt, violations, chaos } = this.#parts;
    for (const line of this.#deck.missing(chaos)) this.#options.log(`not done, ${line}`);
    for (let round = 0; round < this.#options.rounds; round++) await this.#round(round);
    await this.#until('answers and tails', () => load.finished());
    await this.#within('answers of the brokers', mqtt.finish());
    await this.#until('deliveries', () => mqtt.isComplete);
    const segments = await this.#within('the last read', load.conclude());
    for (const violation of mqtt.verdict()) violations.add(violation);
    const acknowledged = load.acknowledged.reduce((sum, each) => sum + each, mqtt.acknowledged);
    return {
      violations: violations.list(),
      counts: this.#counts,
      acknowledged,
      reads: load.reads,
      segments,
      outages: this.#outages.all(),
    };
  }

  async #round(round: number): Promise<void> {
    const { load, mqtt } = this.#parts;
    const wanted = Math.min(replicas, this.#options.journals);
    await this.#until('replicas of each shard', () => load.isWhole(wanted));
    await delay(300 + this.#random.below(700));
    const faults = this.#deck.draw(this.#scene);
    const what = faults.map((fault) => fault.what).join('; and ');
    this.#options.log(`round ${round}: ${what}`);
    if (this.#random.below(3) === 0) mqtt.moveSubscriber();
    const roles = load.steady.map(({ shardId }) => this.#rolesOf(faults, shardId));
    for (const writer of load.steady) writer.reset();
    using lag = monitorEventLoopDelay();
    lag.enable();
    await Promise.all(faults.map((fault) => this.#strike(fault)));
    const goals = load.acknowledged.map((each) => each + 20);
    await this.#until('progress', () =>
      load.acknowledged.every((each, at) => each >= (goals[at] ?? 0)),
    );
    await delay(watchedMs);
    const longest = load.steady.map((writer) => writer.longestMs);
    // What this process itself was late by counts as an outage, too: on a busy machine look at both.
    const own = `; this process was late by ${(lag.max / 1e6).toFixed(0)} ms at most`;
    this.#options.log(`  longest without an answer ${Math.max(...longest).toFixed(0)} ms${own}`);
    if (faults.length > 1) return;
    const [fault] = faults;
    longest.forEach((ms, at) => this.#outages.add(`${fault?.kind}, ${roles[at]}`, ms));
  }

  async #strike(fault: Fault): Promise<void> {
    await this.#within(`the begin of "${fault.what}"`, fault.begin(), faultWithinMs);
    await delay(fault.holdMs);
    await this.#within(`the end of "${fault.what}"`, fault.end(), faultWithinMs);
    for (const [kind, count] of Object.entries(fault.counts) as [CountedKind, number][]) {
      this.#counts[kind] = (this.#counts[kind] ?? 0) + count;
    }
  }

  /** What a shard loses by faults. */
  #rolesOf(faults: readonly Fault[], shardId: number): string {
    const roles = faults
      .flatMap(({ victims }) => victims)
      .map((victim) => this.#parts.load.roleOf(victim, shardId));
    if (roles.includes('leader')) return 'leader lost';
    return roles.includes('follower') ? 'follower lost' : 'nothing lost';
  }

  async #until(what: string, holds: () => boolean): Promise<void> {
    // Some of what is waited for makes no progress of its own.
    const tick = setInterval(() => this.#parts.wake.now(), 100);
    try {
      await this.#within(what, this.#parts.wake.until(holds));
    } finally {
      clearInterval(tick);
    }
  }

  async #within<T>(what: string, awaited: Promise<T>, ms = settleWithinMs): Promise<T> {
    try {
      return await within(ms, what, awaited);
    } catch (thrown) {
      throw new Error(this.#state(String(thrown)), { cause: thrown });
    }
  }

  #state(reason: string): string {
    const { chaos, load, mqtt, violations } = this.#parts;
    const logs = chaos.names.flatMap((name) => {
      const role = chaos.cluster.role(name);
      return [`--- ${name}${role.running ? '' : ', which has ended'}`, ...role.log.slice(-40)];
    });
    const lines = [reason, ...load.describe(), ...mqtt.describe(), ...violations.list(), ...logs];
    return lines.join('\n');
  }
}
