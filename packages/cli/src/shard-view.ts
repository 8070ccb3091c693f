import {
  type DescribeClusterResponse,
  placementAdminMethods,
  placementNodeMethods,
  type RpcClient,
  type Segment,
  SegmentState,
  type Shard,
} from '@robustmq/rpc';

import { throwStatus, withPlacement } from './administration.ts';
import { commandTransport } from './command-transport.ts';
import type { Options } from './options.ts';
import { type ReplicaReport, replicaReports } from './replica-reports.ts';
import { type ShardName, shardsNamed } from './shard-name.ts';

/** One shard with its whole chain, as placement has it and as its journals have it. */
export interface ShardView {
  readonly shard: Shard;
  readonly chain: readonly Segment[];
  readonly reports: readonly ReplicaReport[];
}

/** Segments of one answer, as the contract allows. */
const pageMax = 1_000;

/** Asks placement for the chains, then the journals. Throws NOT_FOUND and UNAVAILABLE. */
export async function viewShards(options: Options, name: ShardName): Promise<ShardView[]> {
  const { cluster, chains } = await withPlacement(options, async (client) => {
    const described: DescribeClusterResponse = await client.call(
      placementAdminMethods.describeCluster,
      { topic: name.topic, includeInternal: true },
    );
    const found: { shard: Shard; chain: Segment[] }[] = [];
    for (const shard of shardsNamed(described, name)) {
      found.push({ shard, chain: await chainOf(client, shard.shardId) });
    }
    return { cluster: described, chains: found };
  });
  const segments = chains.flatMap(({ chain }) => chain);
  const reports = await replicaReports(segments, cluster.nodes, commandTransport(options));
  const bySegment = Map.groupBy(reports, ({ segmentId }) => segmentId);
  return chains.map(({ shard, chain }) => ({
    shard,
    chain,
    reports: chain.flatMap(({ segmentId }) => bySegment.get(segmentId.toString('hex')) ?? []),
  }));
}

async function chainOf(client: RpcClient, shardId: number): Promise<Segment[]> {
  const chain: Segment[] = [];
  for (;;) {
    const fromOffset = chain.at(-1)?.endOffset ?? 0;
    const request = { shardId, fromOffset, limit: pageMax };
    const page = await client.call(placementNodeMethods.listSegments, request);
    throwStatus(page.status);
    chain.push(...page.segments);
    const isLast = chain.at(-1)?.state !== SegmentState.SEALED;
    if (page.segments.length < pageMax || isLast) return chain;
  }
}
