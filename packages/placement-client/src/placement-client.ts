import {
  type Clock,
  type Logger,
  OperatingError,
  type Random,
  silentLogger,
  toOperatingError,
} from '@robustmq/core';
import {
  type DescribeClusterResponse,
  errorOfStatus,
  type NewTopic,
  type PrepareRoll,
  placementAdminMethods,
  placementNodeMethods,
  type RollSegment,
  type Segment,
  type Shard,
  type ShardOffset,
  type ShardResult,
  type Status,
  type Topic,
  type TopicResult,
  type Transport,
} from '@robustmq/rpc';
import { Catalog } from './catalog.ts';
import { CatalogWatch } from './catalog-watch.ts';
import { PlacementServers } from './placement-servers.ts';
import { ShardBatcher } from './shard-batcher.ts';

export interface PlacementClientOptions {
  /** HOST:PORT of each placement server; at least one. */
  readonly placement: readonly string[];
  readonly transport: Transport;
  readonly clock: Clock;
  readonly random: Random;
  /** Who asks, for placement's log. */
  readonly nodeId: string;
  readonly logger?: Logger;
}

/** What became of one topic: the topic as it is now, or why not. */
export type TopicOutcome = Topic | OperatingError;
/** What became of one shard: the end of its chain, or why not. */
export type ShardOutcome = Shard | OperatingError;

/** Ids that nobody else gets: `first` to `first + count - 1`. */
export interface ProducerIdBlock {
  readonly first: number;
  readonly count: number;
}

/** What a leader asks to roll. */
export interface RollOrder {
  readonly nodeId: string;
  readonly incarnation: number;
  readonly segments: RollSegment[];
}

/** What a leader asks to have prepared, so that it can roll at once. */
export interface PrepareOrder {
  readonly nodeId: string;
  readonly incarnation: number;
  readonly segments: PrepareRoll[];
}

/**
 * Asks placement and keeps a {@link Catalog} of what it knows. Each call goes to the placement server
 * that answered last and, while one is UNAVAILABLE or does not decide, to another; it rejects with
 * UNAVAILABLE when none does. Answers that tell the end of a chain are in the catalog before the promise resolves.
 */
export class PlacementClient implements AsyncDisposable {
  readonly catalog: Catalog;
  readonly #servers: PlacementServers;
  readonly #watch: CatalogWatch;
  readonly #nodeId: string;
  readonly #opening: ShardBatcher;
  readonly #resolving: ShardBatcher;

  constructor(options: PlacementClientOptions) {
    const { transport, placement, clock, random, nodeId, logger = silentLogger() } = options;
    this.catalog = new Catalog(clock);
    const servers = new PlacementServers(transport, placement, clock);
    this.#servers = servers;
    this.#nodeId = nodeId;
    this.#watch = new CatalogWatch({
      servers,
      catalog: this.catalog,
      clock,
      random,
      logger,
      nodeId,
    });
    const apply = (shard: Shard): Shard => this.catalog.applyShard(shard);
    this.#opening = new ShardBatcher(async (shardIds) => {
      const request = { shardIds };
      return (await servers.call(placementNodeMethods.openSegments, request)).results;
    }, apply);
    this.#resolving = new ShardBatcher(async (shardIds) => {
      const request = { shardIds };
      return (await servers.call(placementNodeMethods.resolveShards, request)).results;
    }, apply);
  }

  /** Begins to watch. Await `catalog.ready()` for the first full list. */
  start(): void {
    this.#watch.start();
  }

  /** Whether placement answers the watch now. Calls may be tried all the same. */
  get connected(): boolean {
    return this.#watch.connected;
  }

  /**
   * Opens a segment if the shard has none, and tells the end of its chain. All calls of one
   * event-loop turn travel together, and calls for one shard share one answer.
   */
  openSegments(shardId: number): Promise<Shard> {
    return this.#opening.get(shardId);
  }

  /** The ends of chains as they are in the store, in the order of the ids; nothing is opened. */
  resolveShards(shardIds: readonly number[]): Promise<ShardOutcome[]> {
    return Promise.all(
      shardIds.map((shardId) => this.#resolving.get(shardId).catch(toOperatingError)),
    );
  }

  /** Segments of a chain from the one that holds `fromOffset`, oldest first. */
  async listSegments(shardId: number, fromOffset: number, limit = 100): Promise<Segment[]> {
    const request = { shardId, fromOffset, limit };
    const answer = await this.#servers.call(placementNodeMethods.listSegments, request);
    throwIfRefused(answer.status);
    return answer.segments;
  }

  /**
   * Has the next segments prepared: at most 1,000. In the order of the request: undefined when the roll may
   * begin, else why it has to wait. Rejects with UNSUPPORTED at a placement that does not know the call.
   */
  async prepareRolls(order: PrepareOrder): Promise<(OperatingError | undefined)[]> {
    const answer = await this.#servers.call(placementNodeMethods.prepareRolls, order);
    return order.segments.map(({ shardId }, at) => {
      const status = answer.results[at];
      if (status === undefined) return emptyAnswer(`the next segment of shard ${shardId}`);
      return status.code === 0 ? undefined : errorOfStatus(status);
    });
  }

  /** Seals segments at ends that their frozen leader knows: at most 1,000. In the order of the request. */
  async rollSegments(order: RollOrder): Promise<ShardOutcome[]> {
    const answer = await this.#servers.call(placementNodeMethods.rollSegments, order);
    return answer.results.map((result) => this.#shardOutcome(result));
  }

  /** Tells that a node refuses connections, or gives no answer (`silent`). Never rejects: it is a hint. */
  async reportUnreachable(nodeId: string, incarnation: number, silent = false): Promise<void> {
    const request = { nodeId, incarnation, reporterNodeId: this.#nodeId, silent };
    try {
      await this.#servers.call(placementNodeMethods.reportUnreachable, request);
    } catch (thrown) {
      toOperatingError(thrown); // Placement's own probes find out.
    }
  }

  /** A block of producer ids that nobody else gets. At most 10,000. */
  async allocateProducerIds(count: number): Promise<ProducerIdBlock> {
    const answer = await this.#servers.call(placementNodeMethods.allocateProducerIds, { count });
    throwIfRefused(answer.status);
    return { first: answer.first, count: answer.count };
  }

  /** Raises trim offsets. In the order of the request. */
  async trimShards(trims: ShardOffset[]): Promise<ShardOutcome[]> {
    const answer = await this.#servers.call(placementNodeMethods.trimShards, { trims });
    return answer.results.map((result) => this.#shardOutcome(result));
  }

  /** Sets from which offsets on `holder` still needs the records, and what it needs no more. */
  async holdShards(holder: string, holds: ShardOffset[], releases: number[] = []): Promise<void> {
    const request = { holder, holds, releases };
    throwIfRefused((await this.#servers.call(placementNodeMethods.holdShards, request)).status);
  }

  /** Creates topics, or checks whether they could be. In the order of the request. */
  async createTopics(topics: NewTopic[], validateOnly = false): Promise<TopicOutcome[]> {
    const request = { topics, validateOnly };
    const answer = await this.#servers.call(placementAdminMethods.createTopics, request);
    return answer.results.map(topicOutcome);
  }

  /** Deletes topics. In the order of the request. */
  async deleteTopics(names: string[]): Promise<TopicOutcome[]> {
    const answer = await this.#servers.call(placementAdminMethods.deleteTopics, { names });
    return answer.results.map(topicOutcome);
  }

  /** Changes settings of a topic, or adds partitions. */
  async alterTopic(change: TopicChange): Promise<Topic> {
    const { name, set = {}, remove = [], partitions = 0 } = change;
    const request = { name, set, remove, partitions };
    const answer = await this.#servers.call(placementAdminMethods.alterTopic, request);
    const outcome = topicOutcome(answer.result);
    if (outcome instanceof OperatingError) throw outcome;
    return outcome;
  }

  /** Takes a journal out of use, or takes that order back. */
  async drainNode(nodeId: string, cancel = false): Promise<void> {
    const request = { nodeId, cancel };
    throwIfRefused((await this.#servers.call(placementAdminMethods.drainNode, request)).status);
  }

  /** Forgets a journal that is drained or down, and holds nothing that is only there. */
  async removeNode(nodeId: string): Promise<void> {
    throwIfRefused((await this.#servers.call(placementAdminMethods.removeNode, { nodeId })).status);
  }

  /** What placement knows, from its store: of one topic, or of all when `topic` is empty. */
  describeCluster(topic = '', includeInternal = false): Promise<DescribeClusterResponse> {
    const request = { topic, includeInternal };
    return this.#servers.call(placementAdminMethods.describeCluster, request);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#watch.stop();
    await this.#servers[Symbol.asyncDispose]();
  }

  #shardOutcome({ status, shard, shardId }: ShardResult): ShardOutcome {
    const current = shard === undefined ? undefined : this.catalog.applyShard(shard);
    if (status !== undefined && status.code !== 0) return errorOfStatus(status);
    return current ?? emptyAnswer(`shard ${shardId}`);
  }
}

/** A change of a topic; what is absent stays as it is. */
export interface TopicChange {
  readonly name: string;
  /** Settings to set. */
  readonly set?: Record<string, string>;
  /** Settings to remove, so that the default holds again. */
  readonly remove?: string[];
  /** New number of partitions, larger than now. */
  readonly partitions?: number;
}

function throwIfRefused(status: Status | undefined): void {
  if (status !== undefined && status.code !== 0) throw errorOfStatus(status);
}

function topicOutcome(result: TopicResult | undefined): TopicOutcome {
  if (result?.status !== undefined && result.status.code !== 0) return errorOfStatus(result.status);
  return result?.topic ?? emptyAnswer(`topic ${result?.name ?? ''}`);
}

function emptyAnswer(about: string): OperatingError {
  return new OperatingError('INTERNAL', `placement gave an empty answer for ${about}`);
}
