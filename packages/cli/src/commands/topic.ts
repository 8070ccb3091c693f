import { OperatingError } from '@robustmq/core';
import type { DescribeClusterRequest, DescribeClusterResponse, Shard, Topic } from '@robustmq/rpc';

import { placementAdminMethods, table, throwStatus, withPlacement } from '../administration.ts';
import type { Options } from '../options.ts';

interface Input {
  readonly arguments: readonly string[];
  readonly flags: Readonly<Record<string, unknown>>;
}

/** `robustmq topic create NAME`: with `mqtt.prefix` set to the name with `/` for `.`, unless told. */
export async function createTopic(options: Options, input: Input): Promise<void> {
  const name = input.arguments[0] ?? '';
  const config = { 'mqtt.prefix': name.replaceAll('.', '/'), ...settings(input.flags['set']) };
  const partitions = Number(input.flags['partitions']);
  if (!Number.isInteger(partitions) || partitions < 1) {
    throw new OperatingError(
      'INVALID_ARGUMENT',
      `--partitions ${String(input.flags['partitions'])}: must be a whole number from 1`,
    );
  }
  await withPlacement(options, async (client) => {
    const answer = await client.call(placementAdminMethods.createTopics, {
      topics: [{ name, partitions, config }],
      validateOnly: false,
    });
    throwStatus(answer.results[0]?.status);
  });
  process.stdout.write(
    `created ${name} with ${partitions} partition${partitions === 1 ? '' : 's'}\n`,
  );
}

/** `--set key=value`, repeatable. */
function settings(given: unknown): Record<string, string> {
  const pairs = Array.isArray(given) ? given.map(String) : [];
  return Object.fromEntries(
    pairs.map((pair) => {
      const at = pair.indexOf('=');
      if (at < 1) throw new OperatingError('INVALID_ARGUMENT', `--set ${pair}: must be KEY=VALUE`);
      return [pair.slice(0, at), pair.slice(at + 1)];
    }),
  );
}

export async function listTopics(options: Options, input: Input): Promise<void> {
  const includeInternal = input.flags['internal'] === true;
  const cluster = await describe(options, { includeInternal });
  const topics = cluster.topics.toSorted((a, b) => (a.name < b.name ? -1 : 1));
  if (input.flags['json']) {
    process.stdout.write(`${JSON.stringify(topics.map(topicJson), null, 2)}\n`);
    return;
  }
  const rows = topics.map((topic) => [topic.name, topic.shardIds.length, configText(topic)]);
  process.stdout.write(table([['TOPIC', 'PARTITIONS', 'SETTINGS'], ...rows]));
}

export async function describeTopic(options: Options, input: Input): Promise<void> {
  const name = input.arguments[0] ?? '';
  const cluster = await describe(options, { topic: name, includeInternal: true });
  const topic = cluster.topics.find((candidate) => candidate.name === name);
  if (!topic) {
    throw new OperatingError(
      'NOT_FOUND',
      `there is no topic ${name}; "robustmq topic list" shows what there is`,
    );
  }
  const shards = cluster.shards.filter((shard) => shard.topic === name);
  if (input.flags['json']) {
    const body = { ...topicJson(topic), chains: shards.map(shardJson) };
    process.stdout.write(`${JSON.stringify(body, null, 2)}\n`);
    return;
  }
  process.stdout.write(`${name}\n${configText(topic)}\n\n`);
  const rows = shards.map((shard) => [
    shard.partition,
    shard.trimOffset,
    shard.endOffset,
    leaderOf(shard),
    shard.epoch,
  ]);
  process.stdout.write(table([['PARTITION', 'FROM', 'SEALED END', 'LEADER', 'EPOCH'], ...rows]));
}

export async function deleteTopics(options: Options, input: Input): Promise<void> {
  await withPlacement(options, async (client) => {
    const answer = await client.call(placementAdminMethods.deleteTopics, {
      names: [...input.arguments],
    });
    for (const result of answer.results) throwStatus(result.status);
  });
  process.stdout.write(`deleted ${input.arguments.join(', ')}\n`);
}

/** The cluster as placement's store has it. */
export function describe(
  options: Options,
  request: Partial<DescribeClusterRequest>,
): Promise<DescribeClusterResponse> {
  return withPlacement(options, (client) =>
    client.call(placementAdminMethods.describeCluster, {
      topic: request.topic ?? '',
      includeInternal: request.includeInternal ?? false,
    }),
  );
}

function configText(topic: Topic): string {
  return Object.entries(topic.config)
    .map(([key, value]) => `${key}=${value}`)
    .join(' ');
}

export function topicJson(topic: Topic): object {
  return { name: topic.name, partitions: topic.shardIds.length, config: topic.config };
}

/** The journal that leads the open segment; "-" when none is open. */
export function leaderOf(shard: Shard): string {
  return shard.segments.findLast((segment) => segment.state === 1)?.leaderNodeId ?? '-';
}

export function shardJson(shard: Shard): object {
  return {
    shardId: shard.shardId,
    partition: shard.partition,
    epoch: shard.epoch,
    trimOffset: shard.trimOffset,
    endOffset: shard.endOffset,
    segments: shard.segments.map((segment) => ({
      id: segment.segmentId.toString('hex'),
      baseOffset: segment.baseOffset,
      endOffset: segment.endOffset,
      state: segment.state,
      epoch: segment.epoch,
      leader: segment.leaderNodeId,
      replicas: segment.replicaNodeIds,
    })),
  };
}
