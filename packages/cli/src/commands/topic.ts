import { OperatingError } from '@robustmq/core';
import { placementAdminMethods, type Topic } from '@robustmq/rpc';

import { table, throwStatus, withPlacement } from '../administration.ts';
import {
  type ClusterView,
  lagOf,
  leaderOf,
  recordsOf,
  shardJson,
  topicJson,
  viewCluster,
} from '../cluster-view.ts';
import type { Options } from '../options.ts';
import { unknown } from '../words.ts';

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
  const { cluster, ends } = await viewCluster(options, { includeInternal });
  const topics = cluster.topics.toSorted((a, b) => (a.name < b.name ? -1 : 1));
  if (input.flags['json']) {
    process.stdout.write(`${JSON.stringify(topics.map(topicJson), null, 2)}\n`);
    return;
  }
  const rows = topics.map((topic) => {
    const shards = cluster.shards.filter((shard) => shard.topic === topic.name);
    const records = recordsOf(ends, shards) ?? unknown;
    return [topic.name, topic.shardIds.length, records, configText(topic)];
  });
  process.stdout.write(table([['TOPIC', 'PARTITIONS', 'RECORDS', 'SETTINGS'], ...rows]));
}

export async function describeTopic(options: Options, input: Input): Promise<void> {
  const name = input.arguments[0] ?? '';
  const view = await viewCluster(options, { topic: name, includeInternal: true });
  const topic = view.cluster.topics.find((candidate) => candidate.name === name);
  if (!topic) {
    throw new OperatingError(
      'NOT_FOUND',
      `there is no topic ${name}; "robustmq topic list" shows what there is`,
    );
  }
  if (input.flags['json']) {
    const chains = view.cluster.shards.map((shard) => shardJson(shard, view));
    const body = { ...topicJson(topic), chains };
    process.stdout.write(`${JSON.stringify(body, null, 2)}\n`);
    return;
  }
  process.stdout.write(`${name}\n${configText(topic)}\n\n${partitionTable(view)}`);
  if (view.cluster.holds.length > 0) process.stdout.write(`\n${holdTable(view)}`);
}

function partitionTable({ cluster, ends }: ClusterView): string {
  const rows = cluster.shards.map((shard) => [
    shard.partition,
    shard.trimOffset,
    ends.get(shard.shardId) ?? unknown,
    recordsOf(ends, [shard]) ?? unknown,
    leaderOf(shard),
    shard.epoch,
  ]);
  return table([['PARTITION', 'FROM', 'END', 'RECORDS', 'LEADER', 'EPOCH'], ...rows]);
}

function holdTable({ cluster, ends }: ClusterView): string {
  const partitions = new Map(cluster.shards.map((shard) => [shard.shardId, shard.partition]));
  const rows = cluster.holds.map((hold) => [
    hold.holder,
    partitions.get(hold.shardId) ?? unknown,
    hold.offset,
    lagOf(ends, hold) ?? unknown,
  ]);
  return table([['HOLDER', 'PARTITION', 'NEEDS FROM', 'LAG'], ...rows]);
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

function configText(topic: Topic): string {
  return Object.entries(topic.config)
    .map(([key, value]) => `${key}=${value}`)
    .join(' ');
}
