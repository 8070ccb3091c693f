import { setTimeout as delay } from 'node:timers/promises';

import type { PlacementClient } from '@robustmq/placement-client';
import { type ClusterTls, NodeState, type Segment } from '@robustmq/rpc';

import { ShardHistory } from '../../history/shard-history.ts';
import type { Violations } from '../../history/violations.ts';
import type { SeededRandom } from '../kill/seeded-random.ts';
import { TortureClient } from '../torture/torture-client.ts';
import { TortureReader, TortureTail } from '../torture/torture-reader.ts';
import { AppenderWriter, ProducerWriter, type TortureWriter } from '../torture/torture-writer.ts';
import { openSegmentOf, RoleWatch } from './role-watch.ts';
import { SteadyWriter } from './steady-writer.ts';

const partitions = 6;
const topic = 'chaos';
/**
 * Small, so that shards roll and most of what is read is sealed; the larger ones are written to segment
 * files from 1 MiB on, while the smaller ones stay in the log.
 */
const segmentBytes = ['262144', '3145728'] as const;
const writeEveryMs = 40;
const readEveryMs = 30;

export interface LoadOptions {
  readonly placement: string;
  readonly random: SeededRandom;
  readonly violations: Violations;
  readonly tls?: ClusterTls | undefined;
  /** After each answer and each step of a tail. */
  readonly onProgress: () => void;
}

/**
 * Idempotent writers, readers and tails of a topic's shards, over the journal's own API: appenders with
 * retries inside, whole batches with a producer of their own, reads here and there from any replica.
 */
export class ShardLoad implements AsyncDisposable {
  readonly steady: readonly SteadyWriter[];
  readonly #clients: readonly TortureClient[];
  readonly #reader: TortureClient;
  readonly #histories: readonly ShardHistory[];
  readonly #writers: readonly TortureWriter[];
  readonly #readers: readonly TortureReader[];
  readonly #tails: readonly TortureTail[];
  readonly #random: SeededRandom;
  readonly #writing = new AbortController();
  readonly #reading = new AbortController();
  readonly #running: Promise<void>[];

  private constructor(
    clients: { writers: readonly TortureClient[]; steady: TortureClient; reader: TortureClient },
    shards: readonly number[],
    { random, violations, onProgress: onAck }: LoadOptions,
  ) {
    const { writers, steady, reader } = clients;
    this.#clients = [...writers, steady, reader];
    this.#reader = reader;
    this.#random = random;
    this.#histories = shards.map((shard) => new ShardHistory(shard, violations));
    this.#writers = writers.flatMap((client) =>
      this.#histories.flatMap((history) => [
        new AppenderWriter(client, history, { random: random.fork(), onAck }),
        new ProducerWriter(client, history, { random: random.fork(), onAck }),
      ]),
    );
    this.steady = this.#histories.map((history) => new SteadyWriter(steady, history, onAck));
    this.#readers = this.#histories.map(
      (history) => new TortureReader(reader, history, random.fork()),
    );
    this.#tails = this.#histories.map(
      (history) => new TortureTail(reader, history, { from: 0, onMoved: onAck }),
    );
    this.#running = [
      ...this.steady.map((each) => each.run(this.#writing.signal)),
      this.#writeOn(),
      this.#readOn(),
    ];
  }

  static async start(options: LoadOptions): Promise<ShardLoad> {
    const connect = (name: string): Promise<TortureClient> =>
      TortureClient.connect(name, options.placement, {
        seed: options.random.below(2 ** 31),
        tls: options.tls,
      });
    const [first, second, steady, reader] = await Promise.all([
      connect('writer-1'),
      connect('writer-2'),
      connect('steady'),
      connect('reader'),
    ]);
    const config = {
      'segment.bytes': options.random.pick(segmentBytes),
      'retention.ms': '-1',
    };
    const shards = await first.createTopic(topic, partitions, config);
    const { catalog } = reader.placement;
    await catalog.waitFor(() => shards.every((id) => catalog.shard(id) !== undefined));
    return new ShardLoad({ writers: [first, second], steady, reader }, shards, options);
  }

  get placement(): PlacementClient {
    return this.#reader.placement;
  }

  get acknowledged(): readonly number[] {
    return this.#histories.map((history) => history.acknowledged);
  }

  get reads(): number {
    return this.#readers.reduce((sum, { reads }) => sum + reads, 0);
  }

  /** What the shards lose with these journals from now on. */
  watchRoles(victims: readonly string[]): RoleWatch {
    const { catalog } = this.#reader.placement;
    return new RoleWatch(
      catalog,
      this.#histories.map(({ shardId }) => shardId),
      victims,
    );
  }

  /** Whether each shard is led and has `replicas` live ones, as far as is known here. */
  isWhole(replicas: number): boolean {
    const { catalog } = this.#reader.placement;
    return this.#histories.every(({ shardId }) => {
      const open = this.#openSegment(shardId);
      if (open === undefined || open.replicaNodeIds.length < replicas) return false;
      const leader = catalog.node(open.leaderNodeId);
      return (
        leader?.incarnation === open.leaderIncarnation &&
        open.replicaNodeIds.every((id) => catalog.node(id)?.state === NodeState.UP)
      );
    });
  }

  /** Writes nothing new; true once everything has its answer and the tails have it. */
  finished(): boolean {
    this.#writing.abort();
    if (![...this.#writers, ...this.steady].every((each) => each.outstanding === 0)) return false;
    return this.#tails.every(
      (tail, at) => tail.position >= (this.#histories[at]?.endAcknowledged ?? 0),
    );
  }

  /** Stops, and reads everything once more; the histories say what they miss. Segments in all. */
  async conclude(): Promise<number> {
    this.#reading.abort();
    await Promise.all(this.#running);
    for (const tail of this.#tails) tail[Symbol.dispose]();
    for (const reader of this.#readers) await reader.readAll();
    let segments = 0;
    for (const history of this.#histories) segments += await this.#checkChain(history);
    return segments;
  }

  /** In words, for whoever waits in vain. */
  describe(): string[] {
    return this.#histories.map(({ shardId, acknowledged, endAcknowledged }, at) => {
      const open = this.#openSegment(shardId);
      const where = open && `led by ${open.leaderNodeId} on ${open.replicaNodeIds.join(', ')}`;
      const longest = this.steady[at]?.longestMs.toFixed(0);
      return `shard ${shardId}: ${acknowledged} acknowledged, end ${endAcknowledged}, tail at ${this.#tails[at]?.position}, ${where ?? 'not open'}, last answer within ${longest} ms`;
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#writing.abort();
    this.#reading.abort();
    await Promise.all(this.#clients.map((client) => client[Symbol.asyncDispose]()));
    await Promise.allSettled(this.#running);
  }

  async #checkChain(history: ShardHistory): Promise<number> {
    const chain = await this.#reader.placement.listSegments(history.shardId, 0, 10_000);
    chain.forEach(({ baseOffset }, at) => {
      const end = chain[at - 1]?.endOffset;
      if (end !== undefined && end !== baseOffset) {
        history.report('gap', `a segment begins at ${baseOffset} behind one that ends at ${end}`);
      }
    });
    return chain.length;
  }

  #openSegment(shard: number): Segment | undefined {
    return openSegmentOf(this.#reader.placement.catalog.shard(shard));
  }

  async #writeOn(): Promise<void> {
    while (!this.#writing.signal.aborted) {
      for (const writer of this.#writers) writer.write();
      await delay(writeEveryMs);
    }
  }

  async #readOn(): Promise<void> {
    while (!this.#reading.signal.aborted) {
      const reader = this.#random.pick(this.#readers);
      await (this.#random.below(5) === 0 ? reader.askEnd() : reader.readSomewhere());
      await delay(readEveryMs);
    }
  }
}
