import { type Logger, OperatingError, type Random } from '@robustmq/core';
import { type AlterTopicRequest, type NewTopic, Topic } from '@robustmq/rpc';
import { unsealedSegment } from '../core/chain.ts';
import { checkSettingName, checkTopicConfig, readTopicConfig } from '../core/topic-config.ts';
import { checkTopicName, isInternal } from '../core/topic-name.ts';
import type { Condition, Operation } from '../store/metadata-store.ts';
import { holdKey, mqttPrefixKey, shardKey, topicDeletionKey, topicKey } from './keys.ts';
import { type Ledger, put } from './ledger.ts';
import type { Retention } from './retention.ts';
import type { Sealer } from './sealer.ts';
import { checkPrefix, planShards, planTopic } from './topic-plan.ts';

export interface TopicsOptions {
  readonly ledger: Ledger;
  readonly sealer: Sealer;
  readonly retention: Retention;
  readonly random: Random;
  readonly logger: Logger;
  /** Partitions of a topic that does not say. */
  readonly defaultPartitions: number;
}

export const partitionsMax = 10_000;
/** Rows of a topic itself, beside its shards: the counter, the topic, the old and the new prefix. */
const ownRowsMax = 4;

/** Creates, changes and deletes topics. */
export class Topics {
  readonly #options: TopicsOptions;
  #deleting = false;

  constructor(options: TopicsOptions) {
    this.#options = options;
  }

  /** Creates a topic, or only checks it. Throws INVALID_ARGUMENT or ALREADY_EXISTS. */
  async create(wanted: NewTopic, validateOnly: boolean): Promise<Topic> {
    const { ledger, random, logger } = this.#options;
    const { name, config } = wanted;
    const partitions =
      wanted.partitions === 0 ? this.#options.defaultPartitions : wanted.partitions;
    checkTopicName(name);
    checkTopicConfig(config);
    checkPartitions(partitions);
    let topic = planTopic(ledger.image, random, { name, partitions, config }).topic;
    if (validateOnly) return { ...topic, shardIds: [] };
    const madeShardIds = await this.#makeShards(name, 0, partitions);
    try {
      await ledger.change(() => {
        const plan = planTopic(ledger.image, random, { name, partitions, config, madeShardIds });
        topic = plan.topic;
        return plan;
      });
    } catch (error) {
      await this.#removeRows(madeShardIds);
      throw error;
    }
    logger.info({ topic: name, partitions }, 'topic created');
    return topic;
  }

  /** Changes settings or adds partitions. Throws NOT_FOUND, INVALID_ARGUMENT or ALREADY_EXISTS. */
  async alter(request: AlterTopicRequest): Promise<Topic> {
    const { ledger, logger } = this.#options;
    const { name } = request;
    const before = this.#require(name);
    for (const removed of request.remove) checkSettingName(removed);
    checkTopicConfig(changedConfig(before.config, request));
    const partitions = request.partitions === 0 ? before.shardIds.length : request.partitions;
    checkPartitions(partitions);
    if (partitions < before.shardIds.length) {
      const message = `topic ${name} has ${before.shardIds.length} partitions: there can only be more`;
      throw new OperatingError('INVALID_ARGUMENT', message);
    }
    const made = await this.#makeShards(name, before.shardIds.length, partitions);
    await ledger.change(() => this.#planChange(request, before.shardIds, made, partitions));
    logger.info({ topic: name, partitions }, 'topic changed');
    return this.#require(name);
  }

  /** Removes a topic; its shards go in the background. Throws NOT_FOUND. */
  async delete(name: string): Promise<Topic> {
    const { ledger, logger } = this.#options;
    if (isInternal(name)) throw new OperatingError('INVALID_ARGUMENT', `topic ${name} is internal`);
    const topic = this.#require(name);
    await ledger.change(() => {
      const row = ledger.image.topics.get(name);
      if (row === undefined) throw notFound(name);
      const prefix = readTopicConfig(row.value.config).mqttPrefix;
      const operations: Operation[] = [
        { kind: 'delete', key: topicKey(name) },
        put(topicDeletionKey(row.value.topicId), Topic.encode(row.value)),
      ];
      if (prefix !== '') operations.push({ kind: 'delete', key: mqttPrefixKey(prefix) });
      return { conditions: [{ key: topicKey(name), revision: row.revision }], operations };
    });
    logger.info({ topic: name }, 'topic deleted');
    return topic;
  }

  /** Goes on with the deletion of shards whose topic is gone; what cannot be done yet is left. */
  async finishDeletions(): Promise<void> {
    if (this.#deleting) return;
    this.#deleting = true;
    try {
      for (const { value } of this.#options.ledger.image.topicDeletions.values()) {
        await this.#deleteShards(value);
      }
    } finally {
      this.#deleting = false;
    }
  }

  /** Removes shards that were made for a topic which never came to be. Only while nobody creates any. */
  async removeOrphans(): Promise<void> {
    const { image } = this.#options.ledger;
    const deleting = new Set(
      [...image.topicDeletions.values()].flatMap((row) => row.value.shardIds),
    );
    const orphans = [...image.shards.keys()].filter(
      (shardId) => image.topicOf(shardId) === undefined && !deleting.has(shardId),
    );
    await this.#removeRows(orphans);
    if (orphans.length > 0) {
      this.#options.logger.warn({ shards: orphans.length }, 'shards without a topic were removed');
    }
  }

  #planChange(
    request: AlterTopicRequest,
    oldShardIds: readonly number[],
    made: readonly number[],
    partitions: number,
  ): { conditions: Condition[]; operations: Operation[] } {
    const { image } = this.#options.ledger;
    const { name } = request;
    const row = image.topics.get(name);
    if (row === undefined) throw notFound(name);
    if (row.value.shardIds.length !== oldShardIds.length) {
      throw new OperatingError('CONFLICT', `topic ${name} got more partitions meanwhile`);
    }
    const config = changedConfig(row.value.config, request);
    checkTopicConfig(config);
    const shards = planShards(image, name, oldShardIds.length + made.length, partitions);
    const shardIds = [...oldShardIds, ...made, ...shards.shardIds];
    const conditions = [...shards.conditions, { key: topicKey(name), revision: row.revision }];
    const operations = [
      ...shards.operations,
      put(topicKey(name), Topic.encode({ ...row.value, config, shardIds })),
    ];
    const before = readTopicConfig(row.value.config).mqttPrefix;
    const after = readTopicConfig(config).mqttPrefix;
    if (before !== after) {
      checkPrefix(image, after, name);
      if (before !== '') operations.push({ kind: 'delete', key: mqttPrefixKey(before) });
      if (after !== '') {
        conditions.push({ key: mqttPrefixKey(after), revision: 0 });
        operations.push({ kind: 'put', key: mqttPrefixKey(after), value: Buffer.from(name) });
      }
    }
    return { conditions, operations };
  }

  /** Makes the shards that do not fit into the topic's own transaction; returns their numbers. */
  async #makeShards(name: string, from: number, to: number): Promise<number[]> {
    const { ledger } = this.#options;
    const made: number[] = [];
    const shardsPerStep = ledger.operationsMax - ownRowsMax;
    while (to - from - made.length > shardsPerStep) {
      const next = from + made.length;
      let shardIds: number[] = [];
      await ledger.change(() => {
        const plan = planShards(ledger.image, name, next, next + shardsPerStep);
        ({ shardIds } = plan);
        return plan;
      });
      made.push(...shardIds);
    }
    return made;
  }

  async #deleteShards(topic: Topic): Promise<void> {
    const { ledger, sealer, retention } = this.#options;
    const there = topic.shardIds.filter((shardId) => ledger.image.shards.has(shardId));
    const unsealed = there.filter((shardId) => ledger.image.unsealed.has(shardId));
    if (unsealed.length > 0) await sealer.seal(unsealed);
    const closed = there.filter((shardId) => {
      const shard = ledger.image.shards.get(shardId)?.value.shard;
      return shard !== undefined && unsealedSegment(shard) === undefined;
    });
    for (const shardId of closed) await retention.dropAll(shardId);
    await this.#removeRows(closed);
    if (closed.length < there.length) return; // A journal is away: when it is back.
    await ledger.transact([], [{ kind: 'delete', key: topicDeletionKey(topic.topicId) }]);
  }

  async #removeRows(shardIds: readonly number[]): Promise<void> {
    const { ledger } = this.#options;
    const keys = shardIds.flatMap((shardId) => {
      const holders = [...(ledger.image.holds.get(shardId)?.keys() ?? [])];
      return [shardKey(shardId), ...holders.map((holder) => holdKey(shardId, holder))];
    });
    for (let at = 0; at < keys.length; at += ledger.operationsMax) {
      const chunk = keys.slice(at, at + ledger.operationsMax);
      await ledger.transact(
        [],
        chunk.map((key) => ({ kind: 'delete', key })),
      );
    }
  }

  #require(name: string): Topic {
    const row = this.#options.ledger.image.topics.get(name);
    if (row === undefined) throw notFound(name);
    return row.value;
  }
}

function changedConfig(
  before: Readonly<Record<string, string>>,
  { set, remove }: AlterTopicRequest,
): Record<string, string> {
  const config = { ...before, ...set };
  for (const removed of remove) delete config[removed];
  return config;
}

function notFound(name: string): OperatingError {
  return new OperatingError('NOT_FOUND', `there is no topic ${name}`);
}

function checkPartitions(partitions: number): void {
  if (partitions >= 1 && partitions <= partitionsMax) return;
  const message = `a topic has 1 to ${partitionsMax} partitions, not ${partitions}`;
  throw new OperatingError('INVALID_ARGUMENT', message);
}
