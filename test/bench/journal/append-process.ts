/** The generator of `pnpm bench journal`: keeps batches under way at every shard, as a broker would. */
import { type ShardId, shardId, systemClock, systemRandom } from '@robustmq/core';
import { createJournalClient, type JournalClient } from '@robustmq/journal-client';
import { PlacementClient } from '@robustmq/placement-client';
import { RECORD_OVERHEAD_BYTES_MAX, RecordBatchWriter } from '@robustmq/record-batch';
import { grpcTransport } from '@robustmq/rpc';

import type { AppendOrder, AppendPlan, AppendReport } from './append-plan.ts';

const noFilter = Buffer.alloc(0);

process.once('message', (plan) => {
  run(plan as AppendPlan).catch((error: unknown) => {
    console.error(error);
    process.exit(1);
  });
});

async function run(plan: AppendPlan): Promise<void> {
  const common = { transport: grpcTransport(), clock: systemClock(), random: systemRandom() };
  await using placement = new PlacementClient({
    ...common,
    placement: [plan.placement],
    nodeId: 'bench',
  });
  const { catalog } = placement;
  await using client = createJournalClient({ ...common, catalog, placement });
  placement.start();
  await catalog.ready();
  const shards = await createTopic(placement, plan);
  const load = new AppendLoad(client, shards, plan);
  const stopped = Promise.withResolvers<void>();
  process.on('message', (order: AppendOrder) => {
    if (order === 'sample') process.send?.(load.report());
    else stopped.resolve();
  });
  await Promise.race([load.run(), stopped.promise.then(() => load.stop())]);
  await load.check();
  await placement.deleteTopics([plan.topic]);
  // Whoever asked ends this process: a message may be lost with a process that ends by itself.
  process.send?.(load.report());
}

async function createTopic(
  placement: PlacementClient,
  { topic: name, shards: partitions }: AppendPlan,
): Promise<ShardId[]> {
  const [topic] = await placement.createTopics([{ name, partitions, config: {} }]);
  if (topic === undefined || topic instanceof Error) throw topic ?? new Error('no answer');
  const { catalog } = placement;
  await catalog.waitFor(() => topic.shardIds.every((id) => catalog.shard(id) !== undefined));
  return topic.shardIds.map(shardId);
}

/** Batches without a producer id, as those of a Kafka client that wants no idempotence. */
class AppendLoad {
  readonly #client: JournalClient;
  readonly #shards: readonly ShardId[];
  readonly #plan: AppendPlan;
  readonly #records: number;
  readonly #batch: Buffer;
  #batches = 0;
  #allBatches = 0;
  #latenciesMs: number[] = [];
  #isStopped = false;
  #running: Promise<unknown> = Promise.resolve();

  constructor(client: JournalClient, shards: readonly ShardId[], plan: AppendPlan) {
    const writer = new RecordBatchWriter();
    const value = Buffer.alloc(plan.recordBytes, 'bench');
    while (writer.byteLength + value.length + RECORD_OVERHEAD_BYTES_MAX <= plan.batchBytes) {
      writer.append(Date.now(), null, value);
    }
    this.#client = client;
    this.#shards = shards;
    this.#plan = plan;
    this.#records = writer.recordCount;
    this.#batch = writer.finish();
  }

  /** Resolves when it was stopped and everything has its answer; rejects with the first refusal. */
  run(): Promise<unknown> {
    const { window } = this.#plan;
    const slots = this.#shards.flatMap((id) =>
      Array.from({ length: window }, () => this.#slot(id)),
    );
    this.#running = Promise.all(slots);
    return this.#running;
  }

  stop(): Promise<unknown> {
    this.#isStopped = true;
    return this.#running;
  }

  async #slot(id: ShardId): Promise<void> {
    while (!this.#isStopped) {
      const begin = performance.now();
      await this.#client.appendBatch({
        shardId: id,
        // One buffer for all: gRPC copies it, and these batches are sent once.
        batch: this.#batch,
        filter: noFilter,
        ackLevel: 'quorum',
        writerEpoch: 0,
      });
      this.#latenciesMs.push(performance.now() - begin);
      this.#batches++;
      this.#allBatches++;
    }
  }

  report(): AppendReport {
    const batches = this.#batches;
    const latenciesMs = this.#latenciesMs;
    this.#batches = 0;
    this.#latenciesMs = [];
    return { batches, bytes: batches * this.#records * this.#plan.recordBytes, latenciesMs };
  }

  /** Throws unless the shards hold exactly what was acknowledged. */
  async check(): Promise<void> {
    const ends = await Promise.all(this.#shards.map((id) => this.#client.endOffset(id)));
    const held = ends.reduce((sum: number, end) => sum + end, 0);
    const acknowledged = this.#allBatches * this.#records;
    if (held === acknowledged) return;
    throw new Error(`${acknowledged} records were acknowledged, the shards hold ${held}`);
  }
}
