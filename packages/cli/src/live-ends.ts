import {
  type DescribeClusterResponse,
  journalBrokerMethods,
  type Node,
  NodeState,
  type OffsetQuery,
  OffsetSpec,
  SegmentState,
  type Transport,
} from '@robustmq/rpc';

/** First offset that no committed record has, by shard; a shard whose journal did not tell is missing. */
export type LiveEnds = ReadonlyMap<number, number>;

/** A status page that waits long for a journal that is away is no help. */
const timeoutMs = 1_500;
/** Queries of one ListOffsets, as the contract says. */
const queriesMax = 1_000;

type Cluster = Pick<DescribeClusterResponse, 'nodes' | 'shards'>;

/**
 * Where each shard ends now: placement knows it of those without an open segment, and the journal that
 * leads the open one of the others. Asks all journals at once; one that is away leaves its shards out.
 */
export async function liveEnds(cluster: Cluster, transport: Transport): Promise<LiveEnds> {
  const ends = new Map<number, number>();
  const byLeader = new Map<string, OffsetQuery[]>();
  for (const { shardId, endOffset, segments } of cluster.shards) {
    const last = segments.at(-1);
    if (last === undefined || last.state === SegmentState.SEALED) {
      ends.set(shardId, endOffset);
    } else if (last.state === SegmentState.OPEN) {
      const query = {
        shardId,
        segmentId: last.segmentId,
        spec: OffsetSpec.LATEST,
        timestampMs: 0,
        expectedEpoch: 0,
      };
      const queries = byLeader.get(last.leaderNodeId);
      if (queries === undefined) byLeader.set(last.leaderNodeId, [query]);
      else queries.push(query);
    }
  }
  const up = cluster.nodes.filter((node) => node.state !== NodeState.DOWN);
  await Promise.all(
    up.map((node) => askJournal(node, byLeader.get(node.nodeId) ?? [], transport, ends)),
  );
  return ends;
}

async function askJournal(
  node: Node,
  queries: readonly OffsetQuery[],
  transport: Transport,
  ends: Map<number, number>,
): Promise<void> {
  if (queries.length === 0) return;
  await using client = transport.connect(node.address, 'control');
  for (let at = 0; at < queries.length; at += queriesMax) {
    const request = { queries: queries.slice(at, at + queriesMax) };
    try {
      const answer = await client.call(journalBrokerMethods.listOffsets, request, { timeoutMs });
      for (const { shardId, offset, found } of answer.results) if (found) ends.set(shardId, offset);
    } catch {
      return; // Away: its shards are shown with "?".
    }
  }
}
