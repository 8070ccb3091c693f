import type { DescribeClusterResponse, Node, Shard } from '@robustmq/rpc';

import { table } from '../administration.ts';
import type { Options } from '../options.ts';
import { describe, leaderOf, shardJson, topicJson } from './topic.ts';

const roles = ['?', 'broker', 'journal'];
const states = ['?', 'up', 'draining', 'down'];

interface Input {
  readonly flags: Readonly<Record<string, unknown>>;
}

/** `robustmq status`: nodes, topics, chains and coordinators, as tables or as JSON. */
export async function runStatus(options: Options, input: Input): Promise<void> {
  const internal = input.flags['internal'] === true;
  const cluster = await describe(options, { includeInternal: internal });
  const text = input.flags['json']
    ? `${JSON.stringify(asJson(cluster), null, 2)}\n`
    : asTables(cluster);
  process.stdout.write(text);
}

function asTables(cluster: DescribeClusterResponse): string {
  const health = cluster.journalHealth;
  const nodes = cluster.nodes.map((node) => [
    node.nodeId,
    roles[node.role] ?? '?',
    states[node.state] ?? '?',
    node.address,
    node.listeners.map((listener) => `${listener.protocol}=${listener.address}`).join(' ') || '-',
    journalText(health[node.nodeId]),
  ]);
  const chains = cluster.topics.map((topic) => {
    const shards = cluster.shards.filter((shard) => shard.topic === topic.name);
    const leaders = new Set(shards.map(leaderOf).filter((leader) => leader !== '-'));
    const sealed = shards.reduce((sum, shard) => sum + shard.endOffset - shard.trimOffset, 0);
    return [
      topic.name,
      topic.shardIds.length,
      shards.filter(isOpen).length,
      sealed,
      [...leaders].join(' ') || '-',
    ];
  });
  const problems = problemsOf(cluster);
  return [
    `cluster ${cluster.clusterId}, placement epoch ${cluster.placementEpoch}`,
    problems.length > 0 ? problems.join('\n') : 'everything is well',
    '',
    table([['NODE', 'ROLE', 'STATE', 'ADDRESS', 'LISTENERS', 'JOURNAL'], ...nodes]),
    table([['TOPIC', 'PARTITIONS', 'OPEN', 'SEALED RECORDS', 'LEADERS'], ...chains]),
  ].join('\n');
}

function journalText(health: DescribeClusterResponse['journalHealth'][string] | undefined): string {
  if (!health) return '-';
  const free = `${(health.freeBytes / 1024 ** 3).toFixed(1)} GiB free`;
  const unflushed = `${(health.unflushedBytes / 1024 ** 2).toFixed(1)} MiB unflushed`;
  return [
    `${health.ledSegments} led`,
    free,
    unflushed,
    ...(health.readOnly ? ['READ ONLY'] : []),
  ].join(', ');
}

function isOpen(shard: Shard): boolean {
  return leaderOf(shard) !== '-';
}

/** What is wrong, in words. */
function problemsOf(cluster: DescribeClusterResponse): string[] {
  const down = cluster.nodes.filter((node: Node) => node.state === 3);
  const sealing = cluster.shards.filter((shard) =>
    shard.segments.some((segment) => segment.state === 2),
  );
  const full = Object.entries(cluster.journalHealth).filter(([, health]) => health.readOnly);
  return [
    ...down.map((node) => `${node.nodeId} is down`),
    ...full.map(([nodeId]) => `${nodeId} refuses appends: its disk is full; make room`),
    ...(sealing.length > 0
      ? [`${sealing.length} partitions wait for a journal to return before they can be written`]
      : []),
    ...(cluster.nodes.some((node) => node.role === 2 && node.state === 1)
      ? []
      : ['no journal is up: nothing can be written']),
    ...(cluster.nodes.some((node) => node.role === 1 && node.state === 1)
      ? []
      : ['no broker is up: no client can connect']),
  ];
}

function asJson(cluster: DescribeClusterResponse): object {
  return {
    clusterId: cluster.clusterId,
    placementEpoch: cluster.placementEpoch,
    problems: problemsOf(cluster),
    nodes: cluster.nodes.map((node) => ({
      nodeId: node.nodeId,
      role: roles[node.role],
      state: states[node.state],
      address: node.address,
      incarnation: node.incarnation,
      listeners: node.listeners,
      journal: cluster.journalHealth[node.nodeId],
    })),
    topics: cluster.topics.map(topicJson),
    shards: cluster.shards.map((shard) => ({ topic: shard.topic, ...shardJson(shard) })),
    coordinators: cluster.coordinators.map((coordinator) => ({
      kind: coordinator.kind,
      index: coordinator.index,
      owner: coordinator.ownerNodeId,
      epoch: coordinator.epoch,
    })),
  };
}
