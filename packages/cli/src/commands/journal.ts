import { type DescribeClusterResponse, type Node, NodeRole, NodeState } from '@robustmq/rpc';

import { table } from '../administration.ts';
import { bytesText } from '../bytes-text.ts';
import { viewPlacement } from '../cluster-view.ts';
import type { Options } from '../options.ts';
import { nodeStateWords } from '../words.ts';

interface Input {
  readonly flags: Readonly<Record<string, unknown>>;
}

const head = [
  'JOURNAL',
  'STATE',
  'ADDRESS',
  'ZONE',
  'INCARNATION',
  'FREE',
  'REPLICAS',
  'LED',
  'LOOP LAG',
  'SYNC AGE',
  'DAMAGED',
];

/** `robustmq journal list`: the journals, with what each said of itself last. */
export async function listJournals(options: Options, input: Input): Promise<void> {
  const cluster = await viewPlacement(options, { includeInternal: true });
  const journals = cluster.nodes
    .filter(({ role }) => role === NodeRole.JOURNAL)
    .toSorted((a, b) => a.nodeId.localeCompare(b.nodeId, 'en', { numeric: true }));
  if (input.flags['json']) {
    const body = journals.map((node) => journalJson(node, cluster));
    process.stdout.write(`${JSON.stringify(body, null, 2)}\n`);
    return;
  }
  const rows = journals.map((node) => journalRow(node, cluster));
  process.stdout.write(table([head, ...rows]));
}

function journalRow(node: Node, cluster: DescribeClusterResponse): (string | number)[] {
  const { nodeId, address, zone, incarnation, state } = node;
  const health = cluster.journalHealth[nodeId];
  const identity = [nodeId, nodeStateWords[state], address, zone || '-', incarnation];
  // What a journal that is down said last is not how it is.
  if (state === NodeState.DOWN || health === undefined) {
    return [...identity, '-', '-', '-', '-', '-', '-'];
  }
  return [
    ...identity,
    `${bytesText(health.freeBytes)}${health.readOnly ? ' READ ONLY' : ''}`,
    health.replicas,
    health.ledSegments,
    `${health.loopLagMs} ms`,
    `${health.syncAgeMs} ms`,
    health.damagedReplicas,
  ];
}

function journalJson(node: Node, cluster: DescribeClusterResponse): object {
  return {
    nodeId: node.nodeId,
    state: nodeStateWords[node.state],
    address: node.address,
    zone: node.zone,
    incarnation: node.incarnation,
    diskUuid: node.diskUuid,
    health: cluster.journalHealth[node.nodeId] ?? null,
  };
}
