import {
  type DescribeClusterResponse,
  type JournalHealth,
  type Node,
  NodeRole,
  NodeState,
  SegmentState,
} from '@robustmq/rpc';

import { table } from '../administration.ts';
import { bytesText } from '../bytes-text.ts';
import {
  type ClusterView,
  holderLags,
  leaderOf,
  recordsOf,
  shardJson,
  topicJson,
  viewCluster,
} from '../cluster-view.ts';
import { journalProblems } from '../journal-problems.ts';
import type { Options } from '../options.ts';
import { drainText } from './journal-removal.ts';
import { type PlacementState, placementStates } from '../placement-states.ts';
import { underReplicated } from '../replica-view.ts';
import { nodeStateWords, roleWords, unknown } from '../words.ts';

interface Input {
  readonly flags: Readonly<Record<string, unknown>>;
}

/** `robustmq status`: nodes, topics, chains, lag and coordinators, as tables or as JSON. */
export async function runStatus(options: Options, input: Input): Promise<void> {
  const includeInternal = input.flags['internal'] === true;
  const [view, placement] = await Promise.all([
    viewCluster(options, { includeInternal }),
    placementStates(options),
  ]);
  const text = input.flags['json']
    ? `${JSON.stringify(asJson(view, placement), null, 2)}\n`
    : asTables(view, placement);
  process.stdout.write(text);
}

function asTables(view: ClusterView, placement: readonly PlacementState[]): string {
  const { cluster } = view;
  const problems = [...placementProblems(placement), ...problemsOf(cluster)];
  const tables = [
    table([['NODE', 'ROLE', 'STATE', 'ADDRESS', 'LISTENERS', 'JOURNAL'], ...nodeRows(cluster)]),
    table([['TOPIC', 'PARTITIONS', 'OPEN', 'RECORDS', 'LEADERS'], ...topicRows(view)]),
  ];
  const lags = holderLags(view)
    .filter(({ lagRecords }) => lagRecords !== 0)
    .map(({ holder, topic, partitions, lagRecords }) => [
      holder,
      topic,
      partitions,
      lagRecords ?? unknown,
    ]);
  if (lags.length > 0) tables.push(table([['HOLDER', 'TOPIC', 'PARTITIONS', 'LAG'], ...lags]));
  return [
    `cluster ${cluster.clusterId}, placement epoch ${cluster.placementEpoch}`,
    ...(placement.length > 1 ? [`placement: ${placementText(placement)}`] : []),
    problems.length > 0 ? problems.join('\n') : 'everything is well',
    ...journalProblems(cluster).slow,
    '',
    ...tables,
  ].join('\n');
}

/** A broker that is down keeps nothing and may never come back under its name. */
function isShown(node: Node): boolean {
  return node.role === NodeRole.JOURNAL || node.state !== NodeState.DOWN;
}

function nodeRows(cluster: DescribeClusterResponse): string[][] {
  return cluster.nodes
    .filter(isShown)
    .map((node) => [
      node.nodeId,
      roleWords[node.role],
      nodeStateWords[node.state],
      node.address,
      node.listeners.map((listener) => `${listener.protocol}=${listener.address}`).join(' ') || '-',
      node.state === NodeState.DOWN ? '-' : journalText(cluster.journalHealth[node.nodeId]),
    ]);
}

function topicRows({ cluster, ends }: ClusterView): (string | number)[][] {
  return cluster.topics.map((topic) => {
    const shards = cluster.shards.filter((shard) => shard.topic === topic.name);
    const leaders = shards.map(leaderOf).filter((leader) => leader !== '-');
    return [
      topic.name,
      topic.shardIds.length,
      leaders.length,
      recordsOf(ends, shards) ?? unknown,
      [...new Set(leaders)].join(' ') || '-',
    ];
  });
}

function journalText(health: JournalHealth | undefined): string {
  if (!health) return '-';
  return [
    `${health.ledSegments} led`,
    `${bytesText(health.freeBytes)} free`,
    `${bytesText(health.unflushedBytes)} unflushed`,
    ...(health.readOnly ? ['READ ONLY'] : []),
    ...(health.scrubBytes > 0 ? [scrubText(health)] : []),
  ].join(', ');
}

/** How much of its sealed replicas it has read again. */
function scrubText({ scrubBytes, scrubBytesRead }: JournalHealth): string {
  return `scrub ${Math.min(100, Math.floor((scrubBytesRead * 100) / scrubBytes))} %`;
}

/** Age of a sync that is under way from which a disk is said to hang: placement takes it for that, too. */
const hungSyncMs = 2_000;

function placementText(placement: readonly PlacementState[]): string {
  return placement.map(({ address, state }) => `${address} ${state}`).join(', ');
}

function placementProblems(placement: readonly PlacementState[]): string[] {
  return placement
    .filter(({ state }) => state === 'does not answer')
    .map(({ address }) => `placement at ${address} does not answer`);
}

/** What is wrong, in words. */
function problemsOf(cluster: DescribeClusterResponse): string[] {
  const down = cluster.nodes.filter(isShown).filter((node) => node.state === NodeState.DOWN);
  const sealing = cluster.shards.filter((shard) =>
    shard.segments.some((segment) => segment.state === SegmentState.SEALING),
  );
  const hung = Object.entries(cluster.journalHealth).filter(
    ([, { syncAgeMs }]) => syncAgeMs > hungSyncMs,
  );
  const full = Object.entries(cluster.journalHealth).filter(([, health]) => health.readOnly);
  return [
    ...down.map(({ nodeId }) => `${nodeId} is down`),
    ...hung.map(([nodeId, { syncAgeMs }]) => {
      const what = `${nodeId}: its disk hangs, a sync is under way for ${syncAgeMs} ms`;
      return down.some((node) => node.nodeId === nodeId) ? `${what}: it counts as down` : what;
    }),
    ...full.map(([nodeId]) => `${nodeId} refuses appends: its disk is full; make room`),
    ...(sealing.length > 0
      ? [`${sealing.length} partitions wait for a journal to return before they can be written`]
      : []),
    ...journalProblems(cluster).problems,
    ...cluster.drains.map(drainText),
    ...underReplicated(cluster),
    ...(hasUp(cluster, NodeRole.JOURNAL) ? [] : ['no journal is up: nothing can be written']),
    ...(hasUp(cluster, NodeRole.BROKER) ? [] : ['no broker is up: no client can connect']),
  ];
}

function hasUp({ nodes }: DescribeClusterResponse, role: NodeRole): boolean {
  return nodes.some((node) => node.role === role && node.state === NodeState.UP);
}

function asJson(view: ClusterView, placement: readonly PlacementState[]): object {
  const { cluster } = view;
  return {
    clusterId: cluster.clusterId,
    placementEpoch: cluster.placementEpoch,
    placement,
    problems: [...placementProblems(placement), ...problemsOf(cluster)],
    slow: journalProblems(cluster).slow,
    nodes: cluster.nodes.map((node) => ({
      nodeId: node.nodeId,
      role: roleWords[node.role],
      state: nodeStateWords[node.state],
      address: node.address,
      incarnation: node.incarnation,
      listeners: node.listeners,
      journal: cluster.journalHealth[node.nodeId],
    })),
    topics: cluster.topics.map(topicJson),
    shards: cluster.shards.map((shard) => ({ topic: shard.topic, ...shardJson(shard, view) })),
    lags: holderLags(view),
    coordinators: cluster.coordinators.map((coordinator) => ({
      kind: coordinator.kind,
      index: coordinator.index,
      owner: coordinator.ownerNodeId,
      epoch: coordinator.epoch,
    })),
  };
}
