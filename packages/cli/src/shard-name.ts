import { OperatingError } from '@robustmq/core';
import type { DescribeClusterResponse, Shard } from '@robustmq/rpc';

/** What TOPIC or TOPIC/PARTITION names. */
export interface ShardName {
  readonly topic: string;
  /** Undefined: all partitions. */
  readonly partition: number | undefined;
}

/** Throws INVALID_ARGUMENT. No topic has a `/` in its name. */
export function parseShardName(text: string): ShardName {
  const [topic = '', partition, ...rest] = text.split('/');
  if (partition === undefined) return { topic, partition: undefined };
  if (topic !== '' && rest.length === 0 && /^\d{1,6}$/.test(partition)) {
    return { topic, partition: Number(partition) };
  }
  const message = `${text}: must be TOPIC or TOPIC/PARTITION, for example mqtt/3`;
  throw new OperatingError('INVALID_ARGUMENT', message);
}

/** The same, with the partition. */
export function parseOneShardName(text: string): { topic: string; partition: number } {
  const { topic, partition } = parseShardName(text);
  if (partition !== undefined) return { topic, partition };
  const message = `${text}: name the partition, too, for example ${text}/0`;
  throw new OperatingError('INVALID_ARGUMENT', message);
}

/** The shards of that name, by partition. Throws NOT_FOUND. */
export function shardsNamed(cluster: DescribeClusterResponse, name: ShardName): Shard[] {
  const { topic, partition } = name;
  const found = cluster.topics.find((candidate) => candidate.name === topic);
  if (found === undefined) {
    const message = `there is no topic ${topic}; "robustmq topic list" shows what there is`;
    throw new OperatingError('NOT_FOUND', message);
  }
  const shards = cluster.shards
    .filter((shard) => shard.topic === topic)
    .filter((shard) => partition === undefined || shard.partition === partition)
    .toSorted((a, b) => a.partition - b.partition);
  if (shards.length > 0) return shards;
  const message = `topic ${topic} has partitions 0 to ${found.shardIds.length - 1}, no ${partition}`;
  throw new OperatingError('NOT_FOUND', message);
}
