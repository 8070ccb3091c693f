import { monitorEventLoopDelay } from 'node:perf_hooks';
import { setTimeout as delay } from 'node:timers/promises';

import { Violations } from '../history/violations.ts';
import type { ChaosOptions, ChaosResult } from './chaos-options.ts';
import { ChaosCluster } from './cluster/chaos-cluster.ts';
import type { CountedKind, Fault, FaultSource, Scene } from './faults/fault.ts';
import { missingFaults } from './faults/kinds.ts';
import { SeededRandom } from './kill/seeded-random.ts';
import { OutageTable } from './outages.ts';
import { TimeShares } from './time-shares.ts';
import { Wake } from './wake.ts';
import { within } from './within.ts';
import { MqttLoad } from './workload/mqtt-load.ts';
import { ShardLoad } from './workload/shard-load.ts';

const replicas = 3;
const settleWithinMs = 60_000;
/** After the end of a lone fault the shards are watched for so long, for outages that it leaves. */
const watchedMs = 1_500;
const faultWithinMs = 120_000;
/** Between the time when everything is whole and the next fault, at most. */
const pauseMsMax = 500;
/** Records that each shard has to acknowledge to be seen to go on. */
const progressRecords = 20;

/**
 * Real processes under writers, readers and MQTT clients, with faults that the seed draws; the checkers
 * decide. Rejects when the cluster does not start.
 */
export async function runChaos(options: ChaosOptions): Promise<ChaosResult> {
  const random = new SeededRandom(options.seed);
  const isPlain = options.plain ?? false;
  const shares = new TimeShares();
  const starting = ChaosCluster.start({
    journals: options.journals,
    brokers: 2,
    network: !isPlain,
    smallDisks: options.disks === 'small' && !isPlain,
    tls: options.tls ?? false,
  });
  await using chaos = await shares.of('start', starting);
  const violations = new Violations();
  const wake = new Wake();
  const shared = { violations, onProgress: () => wake.now() };
  const { tls } = chaos;
  const placement = chaos.cluster.role('placement').address('grpc');
  await using load = await ShardLoad.start({ ...shared, random: random.fork(), placement, tls });
  const brokers = chaos.brokers.map((name) => chaos.cluster.mqtt(name));
  await using mqtt = new MqttLoad({ ...shared, random: random.fork(), brokers });
  await within(settleWithinMs, 'the first subscriptions', mqtt.start());
  const run = new ChaosRun({ chaos, load, mqtt, violations, wake, shares }, options, random);
  return await run.run();
}

interface Parts {
  readonly chaos: ChaosCluster;
  readonly load: ShardLoad;
  readonly mqtt: MqttLoad;
  readonly violations: Violations;
  readonly wake: Wake;
  readonly shares: TimeShares;
}

class ChaosRun {
  readonly #parts: Parts;
  readonly #options: ChaosOptions;
  readonly #random: SeededRandom;
  readonly #faults: FaultSource;
  readonly #scene: Scene;
  readonly #outages = new OutageTable();
  readonly #counts: Partial<Record<CountedKind, number>> = {};
  #rounds = 0;
  #segments = 0;

  constructor(parts: Parts, options: ChaosOptions, random: SeededRandom) {
    this.#parts = parts;
    this.#options = options;
    this.#random = random;
    this.#faults = options.faults(random.fork());
    const { chaos, violations } = parts;
    const corruptible = random.pick(chaos.journals);
    const { placement } = parts.load;
    const progress = (): Promise<void> => this.#progress();
    const { log } = options;
    const own = { corruptible, progress, violations, log };
    this.#scene = { chaos, placement, random: random.fork(), ...own };
  }

  async run(): Promise<ChaosResult> {
    let stuck: string | undefined;
    try {
      await this.#rounded();
      await this.#conclude();
    } catch (thrown) {
      stuck = this.#state(String(thrown));
    }
    const { load, mqtt, violations, shares } = this.#parts;
    this.#options.log(`time: ${shares.describe()}`);
    return {
      violations: violations.list(),
      violationCounts: violations.counts,
      stuck,
      rounds: this.#rounds,
      counts: this.#counts,
      acknowledged: load.acknowledged.reduce((sum, each) => sum + each, mqtt.acknowledged),
      reads: load.reads,
      segments: this.#segments,
      longestMs: Math.round(Math.max(...load.steady.map((writer) => writer.longestOfAllMs))),
      outages: this.#outages.all(),
    };
  }

  async #rounded(): Promise<void> {
    const { untilMs = Infinity } = this.#options;
    for (const line of missingFaults(this.#parts.chaos)) this.#options.log(`not done, ${line}`);
    await this.#whole();
    while (performance.now() < untilMs) {
      const faults = this.#faults.next(this.#scene);
      if (faults === undefined) return;
      await this.#round(faults);
      this.#rounds++;
    }
  }

  async #conclude(): Promise<void> {
    const { load, mqtt, shares } = this.#parts;
    await shares.of(
      'conclusion',
      (async () => {
        await this.#until('answers and tails', () => load.finished());
        await within(settleWithinMs, 'answers of the brokers', mqtt.finish());
        await this.#until('deliveries', () => mqtt.isComplete);
        this.#segments = await within(settleWithinMs, 'the last read', load.conclude());
        mqtt.conclude();
      })(),
    );
  }

  async #round(faults: readonly Fault[]): Promise<void> {
    const { load, mqtt, shares } = this.#parts;
    await shares.of('pauses', delay(this.#random.below(pauseMsMax)));
    const what = faults.map((fault) => fault.what).join('; and ');
    this.#options.log(`round ${this.#rounds}: ${what}`);
    if (this.#random.below(3) === 0) mqtt.moveSubscriber();
    using roles = load.watchRoles(faults.flatMap(({ victims }) => victims));
    for (const writer of load.steady) writer.reset();
    using lag = monitorEventLoopDelay();
    lag.enable();
    await Promise.all(faults.map((fault) => this.#strike(fault, roles)));
    await shares.of('progress after it', this.#progress());
    const isLone = faults.length === 1;
    if (isLone) await shares.of('watching', delay(watchedMs));
    else await this.#whole();
    const longest = load.steady.map((writer) => writer.longestMs);
    // What this process itself was late by counts as an outage, too: on a busy machine look at both.
    const own = `; this process was late by ${(lag.max / 1e6).toFixed(0)} ms at most`;
    this.#options.log(`  longest without an answer ${Math.max(...longest).toFixed(0)} ms${own}`);
    if (!isLone) return;
    const [fault] = faults;
    for (const { shardId, longestMs } of load.steady) {
      this.#outages.add(`${fault?.kind}, ${roles.lossOf(shardId)}`, longestMs);
    }
    await this.#whole();
  }

  async #strike(fault: Fault, roles: Disposable): Promise<void> {
    const { shares } = this.#parts;
    const begun = within(faultWithinMs, `the begin of "${fault.what}"`, fault.begin());
    await shares.of('begins of faults', begun);
    await shares.of('faults that last', delay(fault.holdMs));
    roles[Symbol.dispose]();
    const ended = within(faultWithinMs, `the end of "${fault.what}"`, fault.end());
    await shares.of('ends of faults', ended);
    for (const [kind, count] of Object.entries(fault.counts) as [CountedKind, number][]) {
      this.#counts[kind] = (this.#counts[kind] ?? 0) + count;
    }
  }

  /** Until each shard is led and has all its replicas. */
  async #whole(): Promise<void> {
    const { load, shares } = this.#parts;
    const wanted = Math.min(replicas, this.#options.journals);
    const isWhole = this.#until('replicas of each shard', () => load.isWhole(wanted));
    await shares.of('being whole again', isWhole);
  }

  /** Until each shard has acknowledged more than now. */
  async #progress(): Promise<void> {
    const { load } = this.#parts;
    const goals = load.acknowledged.map((each) => each + progressRecords);
    await this.#until('progress', () =>
      load.acknowledged.every((each, at) => each >= (goals[at] ?? 0)),
    );
  }

  async #until(what: string, holds: () => boolean): Promise<void> {
    // Some of what is waited for makes no progress of its own.
    const tick = setInterval(() => this.#parts.wake.now(), 50);
    try {
      await within(settleWithinMs, what, this.#parts.wake.until(holds));
    } finally {
      clearInterval(tick);
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
