import { setTimeout as delay } from 'node:timers/promises';

import { Cluster } from '../../harness/cluster.ts';
import { SeededRandom } from '../kill/seeded-random.ts';
import { Nemesis, type NemesisCounts } from './nemesis.ts';
import { ShardHistory } from '../../history/shard-history.ts';
import { Violations } from '../../history/violations.ts';
import { TortureClient } from './torture-client.ts';
import { TortureReader, TortureTail } from './torture-reader.ts';
import { AppenderWriter, ProducerWriter, type TortureWriter } from './torture-writer.ts';

export interface TortureOptions {
  readonly seed: number;
  /** Blows of the nemesis. */
  readonly rounds: number;
  readonly log?: (line: string) => void;
  /** Folder for the data; a new one by default. */
  readonly dataDir?: string;
}

export interface TortureResult {
  /** Empty when nothing was wrong. */
  readonly violations: readonly string[];
  readonly acknowledged: number;
  readonly reads: number;
  readonly segments: number;
  readonly counts: NemesisCounts;
  /** Longest time from the end of a blow to the next acknowledgement in every shard, ms. */
  readonly slowestMs: number;
}

const partitions = 4;
/** Small, so that shards roll, log files are used again and checkpoints are written all the time. */
const topicConfig = { 'segment.bytes': '65536', 'retention.ms': '-1' };
const journalArgs = ['--wal-file-bytes', '1MiB'];
const writeEveryMs = 20;
const readEveryMs = 30;
const progressWithinMs = 40_000;

/** A journal and placement under idempotent writers, tails and readers, while the nemesis strikes. */
export async function tortureJournal(options: TortureOptions): Promise<TortureResult> {
  const { dataDir } = options;
  await using cluster = await Cluster.start({
    brokers: 0,
    journalArgs,
    ...(dataDir === undefined ? {} : { dataDir }),
  });
  const address = cluster.role('placement').address('grpc');
  const connect = (name: string): Promise<TortureClient> =>
    TortureClient.connect(name, address, { seed: options.seed });
  await using first = await connect('writer-1');
  await using second = await connect('writer-2');
  await using readers = await connect('reader');
  const shards = await first.createTopic('torture', partitions, topicConfig);
  const run = new TortureRun(cluster, { writers: [first, second], readers }, options);
  return await run.run(shards);
}

class TortureRun {
  readonly #cluster: Cluster;
  readonly #clients: { writers: readonly TortureClient[]; readers: TortureClient };
  readonly #options: TortureOptions;
  readonly #random: SeededRandom;
  readonly #violations = new Violations();
  readonly #nemesis: Nemesis;
  readonly #ended = new AbortController();
  #histories: readonly ShardHistory[] = [];
  #writers: readonly TortureWriter[] = [];
  #readers: readonly TortureReader[] = [];
  #tails: readonly TortureTail[] = [];
  #writing = true;
  #look: () => void = () => {};
  #slowestMs = 0;

  constructor(
    cluster: Cluster,
    clients: { writers: readonly TortureClient[]; readers: TortureClient },
    options: TortureOptions,
  ) {
    this.#cluster = cluster;
    this.#clients = clients;
    this.#options = options;
    this.#random = new SeededRandom(options.seed);
    this.#nemesis = new Nemesis(cluster, this.#random.fork());
  }

  async run(shards: readonly number[]): Promise<TortureResult> {
    this.#begin(shards);
    const background = [this.#writeOn(), this.#readOn()];
    for (let round = 0; round < this.#options.rounds; round++) await this.#round(round);
    this.#writing = false;
    await this.#within('answers', () => this.#writers.every((each) => each.outstanding === 0));
    await this.#within('tails', () => this.#tailsAtEnd());
    this.#ended.abort();
    await Promise.all(background);
    for (const tail of this.#tails) tail[Symbol.dispose]();
    const readers = this.#readers.slice(0, this.#histories.length);
    for (const reader of readers) await reader.readAll();
    return this.#result();
  }

  #begin(shards: readonly number[]): void {
    const { writers, readers } = this.#clients;
    this.#histories = shards.map((shard) => new ShardHistory(shard, this.#violations));
    const onAck = (): void => this.#look();
    this.#writers = writers.flatMap((client) =>
      this.#histories.flatMap((history) => [
        new AppenderWriter(client, history, { random: this.#random.fork(), onAck }),
        new ProducerWriter(client, history, { random: this.#random.fork(), onAck }),
      ]),
    );
    this.#readers = this.#histories.map(
      (history) => new TortureReader(readers, history, this.#random.fork()),
    );
    this.#tails = this.#histories.map(
      (history) => new TortureTail(readers, history, { from: 0, onMoved: onAck }),
    );
  }

  async #writeOn(): Promise<void> {
    while (!this.#ended.signal.aborted) {
      if (this.#writing) for (const writer of this.#writers) writer.write();
      await delay(writeEveryMs);
    }
  }

  async #readOn(): Promise<void> {
    while (!this.#ended.signal.aborted) {
      const reader = this.#random.pick(this.#readers);
      await (this.#random.below(5) === 0 ? reader.askEnd() : reader.readSomewhere());
      await delay(readEveryMs);
    }
  }

  async #round(round: number): Promise<void> {
    await delay(this.#random.below(400));
    if (this.#random.below(3) === 0) this.#trim();
    const what = await this.#nemesis.strike();
    const goals = this.#histories.map((history) => history.acknowledged + 1);
    const begin = performance.now();
    await this.#within('progress', () =>
      this.#histories.every((history, at) => history.acknowledged >= (goals[at] ?? 0)),
    );
    const ms = performance.now() - begin;
    this.#slowestMs = Math.max(this.#slowestMs, ms);
    this.#options.log?.(`round ${round}: ${what}; all shards go on after ${ms.toFixed(0)} ms`);
  }

  /** Trims a shard somewhere below its end; the answer may be lost. */
  #trim(): void {
    const history = this.#random.pick(this.#histories);
    const offset = this.#random.below(history.endAcknowledged + 1);
    history.trimming(offset);
    const trims = [{ shardId: history.shardId, offset }];
    this.#clients.readers.placement.trimShards(trims).catch(() => undefined);
  }

  #tailsAtEnd(): boolean {
    return this.#tails.every((tail, at) => {
      const end = this.#histories[at]?.endAcknowledged ?? 0;
      return tail.position >= end;
    });
  }

  async #result(): Promise<TortureResult> {
    const chains = await Promise.all(
      this.#histories.map(({ shardId }) =>
        this.#clients.readers.placement.listSegments(shardId, 0, 10_000),
      ),
    );
    return {
      violations: this.#violations.list(),
      acknowledged: this.#histories.reduce((sum, { acknowledged }) => sum + acknowledged, 0),
      reads: this.#readers.reduce((sum, { reads }) => sum + reads, 0),
      segments: chains.reduce((sum, chain) => sum + chain.length, 0),
      counts: this.#nemesis.counts,
      slowestMs: this.#slowestMs,
    };
  }

  /** Waits until it holds; looks after each answer and each piece of a tail. */
  async #within(what: string, holds: () => boolean): Promise<void> {
    let timeout: NodeJS.Timeout | undefined;
    const late = new Promise<never>((_, reject) => {
      timeout = setTimeout(() => reject(this.#stuck(what)), progressWithinMs);
    });
    const held = new Promise<void>((resolve) => {
      this.#look = () => {
        if (holds()) resolve();
      };
      this.#look();
    });
    await Promise.race([held, late]);
    clearTimeout(timeout);
    this.#look = () => {};
  }

  #stuck(what: string): Error {
    const logs = ['placement', 'journal-1'].flatMap((name) => [
      `--- ${name}${this.#cluster.role(name).running ? '' : ', which has ended'}`,
      ...this.#cluster.role(name).log.slice(-40),
    ]);
    const state = this.#histories.map(
      ({ shardId, acknowledged, endAcknowledged }, at) =>
        `shard ${shardId}: ${acknowledged} acknowledged, end ${endAcknowledged}, tail at ${this.#tails[at]?.position}`,
    );
    const waiting = this.#writers.map((writer) => writer.outstanding).join(', ');
    const lines = [`no ${what} within ${progressWithinMs} ms (seed ${this.#options.seed})`];
    lines.push(...state, `outstanding: ${waiting}`, ...this.#violations.list(), ...logs);
    return new Error(lines.join('\n'));
  }
}
