import { type ShardId, shardId, systemClock, systemRandom } from '@robustmq/core';
import {
  createJournalClient,
  type JournalClient,
  type PendingBatch,
} from '@robustmq/journal-client';
import { PlacementClient } from '@robustmq/placement-client';
import { noHeaders } from '@robustmq/record-batch';
import { grpcTransport, NodeState, type Segment, SegmentState } from '@robustmq/rpc';

const noTokens = new Uint32Array();

/** Appends to shards and counts their segments, as a broker would: over gRPC, with retries inside. */
export class ProbeClient implements AsyncDisposable {
  readonly #placement: PlacementClient;
  readonly #journal: JournalClient;

  private constructor(placement: PlacementClient, journal: JournalClient) {
    this.#placement = placement;
    this.#journal = journal;
  }

  static async connect(address: string): Promise<ProbeClient> {
    const common = { transport: grpcTransport(), clock: systemClock(), random: systemRandom() };
    const placement = new PlacementClient({ ...common, placement: [address], nodeId: 'bench' });
    const { catalog } = placement;
    const client = new ProbeClient(
      placement,
      createJournalClient({ ...common, catalog, placement }),
    );
    placement.start();
    await catalog.ready();
    return client;
  }

  /** Creates a topic and returns the shards of its partitions. */
  async createTopic(name: string, partitions: number): Promise<ShardId[]> {
    const [topic] = await this.#placement.createTopics([{ name, partitions, config: {} }]);
    if (topic === undefined || topic instanceof Error) throw topic ?? new Error('no answer');
    const { catalog } = this.#placement;
    await catalog.waitFor(() => topic.shardIds.every((id) => catalog.shard(id) !== undefined));
    return topic.shardIds.map(shardId);
  }

  /** Appends one record to each shard; resolves when all are acknowledged, with the time of each in ms since the call. */
  appendToEach(shardIds: readonly ShardId[]): Promise<number[]> {
    const begin = performance.now();
    const timesMs: number[] = [];
    return new Promise((resolve, reject) => {
      const batchSettled = (batch: PendingBatch): void => {
        if (batch.error !== undefined) reject(batch.error);
        else if (timesMs.push(performance.now() - begin) === shardIds.length) resolve(timesMs);
      };
      for (const id of shardIds) {
        const batch = this.#journal.appender(id).append(probe, 'quorum');
        if (batch === undefined) reject(new Error(`shard ${id} takes no append`));
        else batch.addListener({ batchSettled });
      }
    });
  }

  /** Who leads the open segment of a shard, as far as is known here. */
  leaderOf(id: ShardId): string | undefined {
    return this.#openSegment(id)?.leaderNodeId;
  }

  /** Replicas of the open segment of a shard whose journals are up, its leader in the incarnation that leads. */
  liveReplicas(id: ShardId): number {
    const { catalog } = this.#placement;
    const segment = this.#openSegment(id);
    if (segment === undefined) return 0;
    const up = segment.replicaNodeIds.filter(
      (nodeId) => catalog.node(nodeId)?.state === NodeState.UP,
    );
    const leader = catalog.node(segment.leaderNodeId);
    return leader?.incarnation === segment.leaderIncarnation ? up.length : 0;
  }

  #openSegment(id: ShardId): Segment | undefined {
    const last = this.#placement.catalog.shard(id)?.segments.at(-1);
    return last?.state === SegmentState.OPEN ? last : undefined;
  }

  /** How many segments each shard has, by shard. */
  async segmentCounts(shardIds: readonly ShardId[]): Promise<Map<ShardId, number>> {
    const counts = new Map<ShardId, number>();
    const waiting = [...shardIds];
    const next = async (): Promise<void> => {
      for (let id = waiting.pop(); id !== undefined; id = waiting.pop()) {
        counts.set(id, (await this.#placement.listSegments(id, 0)).length);
      }
    };
    await Promise.all(Array.from({ length: 100 }, next));
    return counts;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#journal[Symbol.asyncDispose]();
    await this.#placement[Symbol.asyncDispose]();
  }
}

const probe = {
  timestampMs: 0,
  key: null,
  value: Buffer.from('probe'),
  headers: noHeaders,
  filterTokens: noTokens,
};
