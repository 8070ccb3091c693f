import { expectOperatingError } from '@robustmq/core';
import {
  type DescribeClusterRequest,
  type DescribeClusterResponse,
  type Hold,
  placementAdminMethods,
  type SealShardRequest,
  type SealShardResponse,
  type ServiceRegistry,
  type Shard,
  type Status,
  type Topic,
  type TopicResult,
  toStatus,
} from '@robustmq/rpc';
import type { Controller } from '../controller/controller.ts';
import { type Image, shardOf } from '../controller/image.ts';
import { isInternal } from '../core/topic-name.ts';
import { signedBy } from './caller-check.ts';
import { checkCount } from './request-limits.ts';

/** Topics of one request, as the contract says. */
const topicsMax = 100;

/** What operators and protocols' administration call. */
export class PlacementAdminService {
  readonly #current: () => Controller;

  /** @param current throws NOT_LEADER while another placement server decides. */
  constructor(current: () => Controller) {
    this.#current = current;
  }

  get #controller(): Controller {
    return this.#current();
  }

  register(registry: ServiceRegistry): void {
    registry.unary(placementAdminMethods.createTopics, async (request) => {
      const { topics } = this.#controller;
      checkCount(request.topics, 'topics', topicsMax);
      const results: TopicResult[] = [];
      for (const wanted of request.topics) {
        const create = (): Promise<Topic> => topics.create(wanted, request.validateOnly);
        results.push(await resultOf(wanted.name, create));
      }
      await this.#controller.copyCatalog();
      return { results };
    });
    registry.unary(placementAdminMethods.deleteTopics, async ({ names }) => {
      const { topics } = this.#controller;
      checkCount(names, 'topics', topicsMax);
      const results: TopicResult[] = [];
      for (const name of names) results.push(await resultOf(name, () => topics.delete(name)));
      this.#controller.finishDeletions();
      return { results };
    });
    registry.unary(placementAdminMethods.alterTopic, async (request) => {
      const { topics } = this.#controller;
      const result = await resultOf(request.name, () => topics.alter(request));
      await this.#controller.copyCatalog();
      return { result };
    });
    registry.unary(placementAdminMethods.describeCluster, (request) => this.#describe(request));
    registry.unary(placementAdminMethods.sealShard, ({ shardId, unsafe }, { caller }) =>
      this.#seal({ shardId, unsafe: unsafe && signedBy(caller, unsafe) }),
    );
    registry.unary(placementAdminMethods.drainNode, ({ nodeId, cancel }) => {
      const { drains } = this.#controller.chains;
      return statusOf(() => (cancel ? drains.cancel(nodeId) : drains.order(nodeId)));
    });
    registry.unary(placementAdminMethods.removeNode, ({ nodeId }) =>
      statusOf(() => this.#controller.chains.drains.remove(nodeId)),
    );
  }

  async #seal({ shardId, unsafe }: SealShardRequest): Promise<SealShardResponse> {
    const { chains, image } = this.#controller;
    const shard = (): Shard | undefined => image.shards.get(shardId)?.value.shard;
    try {
      await chains.shardSeals.seal(shardId, unsafe);
      return { status: undefined, shard: shard() };
    } catch (thrown) {
      return { status: toStatus(expectOperatingError(thrown)), shard: shard() };
    }
  }

  #describe({ topic, includeInternal }: DescribeClusterRequest): DescribeClusterResponse {
    const { image, identity, nodes, chains } = this.#controller;
    const isWanted = (name: string): boolean =>
      topic === '' ? includeInternal || !isInternal(name) : name === topic;
    const shards = [...image.shards.values()]
      .map((row) => shardOf(row.value))
      .filter((shard) => isWanted(shard.topic));
    return {
      ...identity,
      revision: image.revision,
      nodes: [...image.nodes.values()].flatMap((row) => row.value.node ?? []),
      topics: [...image.topics.values()]
        .map((row) => row.value)
        .filter((found) => isWanted(found.name)),
      shards,
      coordinators: [...image.coordinators.values()].flatMap((ofKind) =>
        [...ofKind.values()].map((row) => row.value),
      ),
      journalHealth: Object.fromEntries(nodes.health()),
      holds: shards.flatMap(({ shardId }) => holdsOf(image, shardId)),
      drains: chains.drains.status(),
    };
  }
}

function holdsOf(image: Image, shardId: number): Hold[] {
  const rows = [...(image.holds.get(shardId) ?? [])];
  return rows.map(([holder, { value }]) => ({ holder, shardId, offset: value.offset }));
}

async function statusOf(work: () => Promise<void>): Promise<{ status: Status | undefined }> {
  try {
    await work();
    return { status: undefined };
  } catch (thrown) {
    return { status: toStatus(expectOperatingError(thrown)) };
  }
}

async function resultOf(name: string, work: () => Promise<Topic>): Promise<TopicResult> {
  try {
    return { name, status: undefined, topic: await work() };
  } catch (thrown) {
    const error = expectOperatingError(thrown);
    return { name, status: toStatus(error), topic: undefined };
  }
}
