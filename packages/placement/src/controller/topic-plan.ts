import { assert, OperatingError, type Random } from '@robustmq/core';
import { StoredCluster, StoredShard, Topic } from '@robustmq/rpc';
import { newChain } from '../core/chain.ts';
import { readTopicConfig } from '../core/topic-config.ts';
import type { Condition, Operation } from '../store/metadata-store.ts';
import type { Image } from './image.ts';
import { clusterKey, mqttPrefixKey, shardKey, topicKey } from './keys.ts';
import { put } from './ledger.ts';

/** What a topic is to be. */
export interface TopicWish {
  readonly name: string;
  readonly partitions: number;
  readonly config: Readonly<Record<string, string>>;
  /** Shards that were made before for its first partitions, when they do not fit in one transaction. */
  readonly madeShardIds?: readonly number[];
}

export interface TopicPlan {
  readonly topic: Topic;
  readonly conditions: readonly Condition[];
  /** The cluster's counter, the shards, the topic, and the owner of its MQTT prefix. */
  readonly operations: readonly Operation[];
}

/** Plans a topic with its shards. Throws ALREADY_EXISTS when its name or its MQTT prefix is taken. */
export function planTopic(image: Image, random: Random, wish: TopicWish): TopicPlan {
  const { name, partitions, config, madeShardIds = [] } = wish;
  if (image.topics.has(name)) {
    throw new OperatingError('ALREADY_EXISTS', `topic ${name} exists`);
  }
  const prefix = readTopicConfig(config).mqttPrefix;
  checkPrefix(image, prefix, name);
  const shards = planShards(image, name, madeShardIds.length, partitions);
  const topic: Topic = {
    name,
    topicId: random.bytes(16),
    shardIds: [...madeShardIds, ...shards.shardIds],
    config: { ...config },
  };
  const conditions: Condition[] = [...shards.conditions, { key: topicKey(name), revision: 0 }];
  const operations: Operation[] = [
    ...shards.operations,
    put(topicKey(name), Topic.encode(topic)),
    ...prefixOperations(prefix, name),
  ];
  if (prefix !== '') conditions.push({ key: mqttPrefixKey(prefix), revision: 0 });
  return { topic, conditions, operations };
}

/** Plans shards for partitions `from` to `to - 1` of a topic, and takes their numbers. */
export function planShards(
  image: Image,
  topic: string,
  from: number,
  to: number,
): { shardIds: number[]; conditions: Condition[]; operations: Operation[] } {
  const { cluster } = image;
  assert(cluster !== undefined, 'the cluster is made before its topics');
  const first = cluster.value.nextShardId;
  const shardIds = Array.from({ length: to - from }, (_, at) => first + at);
  const counter: StoredCluster = { ...cluster.value, nextShardId: first + shardIds.length };
  const operations = shardIds.map((shardId, at) => {
    const shard = newChain(shardId, topic, from + at);
    return put(shardKey(shardId), StoredShard.encode({ shard, sealedBytes: 0 }));
  });
  return {
    shardIds,
    conditions: [{ key: clusterKey, revision: cluster.revision }],
    operations: [put(clusterKey, StoredCluster.encode(counter)), ...operations],
  };
}

/** Throws ALREADY_EXISTS when another topic owns the prefix. */
export function checkPrefix(image: Image, prefix: string, name: string): void {
  if (prefix === '') return;
  for (const { value } of image.topics.values()) {
    if (value.name === name || readTopicConfig(value.config).mqttPrefix !== prefix) continue;
    const message = `mqtt.prefix ${prefix} belongs to topic ${value.name}: choose another one`;
    throw new OperatingError('ALREADY_EXISTS', message);
  }
}

function prefixOperations(prefix: string, name: string): Operation[] {
  if (prefix === '') return [];
  return [{ kind: 'put', key: mqttPrefixKey(prefix), value: Buffer.from(name) }];
}
