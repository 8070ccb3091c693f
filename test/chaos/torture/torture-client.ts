import { seededRandom, shardId as asShard, systemClock } from '@robustmq/core';
import { createJournalClient, type JournalClient } from '@robustmq/journal-client';
import { PlacementClient } from '@robustmq/placement-client';
import { type ClusterTls, grpcTransport } from '@robustmq/rpc';

/** One process's worth of clients: placement and journal over gRPC, as a broker has them. */
export class TortureClient implements AsyncDisposable {
  readonly name: string;
  readonly placement: PlacementClient;
  readonly journal: JournalClient;

  private constructor(name: string, placement: PlacementClient, journal: JournalClient) {
    this.name = name;
    this.placement = placement;
    this.journal = journal;
  }

  /** @param tls what it shows to the tiers; plaintext without. */
  static async connect(
    name: string,
    address: string,
    { seed, tls }: { seed: number; tls?: ClusterTls | undefined },
  ): Promise<TortureClient> {
    const random = seededRandom(seed);
    const common = { transport: grpcTransport({ tls }), clock: systemClock(), random };
    const placement = new PlacementClient({ ...common, placement: [address], nodeId: name });
    const { catalog } = placement;
    const journal = createJournalClient({ ...common, catalog, placement });
    placement.start();
    await catalog.ready();
    return new TortureClient(name, placement, journal);
  }

  /** Creates a topic; its shards. */
  async createTopic(
    name: string,
    partitions: number,
    config: Record<string, string>,
  ): Promise<number[]> {
    const [topic] = await this.placement.createTopics([{ name, partitions, config }]);
    if (topic === undefined || topic instanceof Error) throw topic ?? new Error('no answer');
    return topic.shardIds;
  }

  endOffset(shard: number): Promise<number> {
    return this.journal.endOffset(asShard(shard));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.journal[Symbol.asyncDispose]();
    await this.placement[Symbol.asyncDispose]();
  }
}
