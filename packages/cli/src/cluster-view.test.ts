import { describe, expect, it } from 'vitest';
import {
  DescribeClusterResponse,
  inProcessTransport,
  journalBrokerMethods,
  Node,
  NodeState,
  type OffsetQuery,
  SegmentState,
  Shard,
} from '@robustmq/rpc';

import { holderLags, recordsOf } from './cluster-view.ts';
import { liveEnds } from './live-ends.ts';

const status = undefined;

function shard(shardId: number, leaderNodeId: string, state: SegmentState): Shard {
  const segment = { segmentId: Buffer.alloc(16, shardId), baseOffset: 50, leaderNodeId, state };
  const fields = { shardId, topic: 'mqtt', trimOffset: 20, endOffset: 50 };
  return Shard.fromPartial({ ...fields, segments: [segment] });
}

const cluster = DescribeClusterResponse.fromPartial({
  nodes: [
    Node.fromPartial({ nodeId: 'a', address: 'a:1', state: NodeState.UP }),
    Node.fromPartial({ nodeId: 'gone', address: 'gone:1', state: NodeState.UP }),
  ],
  shards: [
    Shard.fromPartial({ shardId: 1, topic: 'mqtt', trimOffset: 20, endOffset: 50 }),
    shard(2, 'a', SegmentState.OPEN),
    shard(3, 'gone', SegmentState.OPEN),
    shard(4, 'a', SegmentState.SEALING),
  ],
  holds: [
    { holder: 'mqtt-session/10', shardId: 2, offset: 60 },
    { holder: 'mqtt-session/2', shardId: 1, offset: 30 },
    { holder: 'mqtt-session/2', shardId: 2, offset: 75 },
    { holder: 'mqtt-session/3', shardId: 3, offset: 1 },
  ],
});

async function askedEnds(): Promise<{ ends: Map<number, number>; queries: OffsetQuery[] }> {
  const transport = inProcessTransport();
  const queries: OffsetQuery[] = [];
  await using _journal = await transport.listen('a:1', (registry) => {
    registry.unary(journalBrokerMethods.listOffsets, (request) => {
      queries.push(...request.queries);
      const found = { offset: 70, timestampMs: 0, found: true, lastStableOffset: 70, status };
      return { results: request.queries.map(({ shardId }) => ({ shardId, ...found })) };
    });
  });
  return { ends: new Map(await liveEnds(cluster, transport)), queries };
}

describe('live ends', () => {
  it('come from placement for closed shards, from the leader for open ones, else from nobody', async () => {
    const { ends, queries } = await askedEnds();
    expect(Object.fromEntries(ends)).toEqual({
      1: 50,
      2: 70,
    });
    expect(queries.map((query) => query.shardId)).toEqual([2]);
  });
});

describe('lag', () => {
  it('is the distance to the live end, by holder and topic, and unknown where an end is', async () => {
    const { ends } = await askedEnds();
    expect(holderLags({ cluster, ends })).toEqual([
      // The hold at 75 is newer than the end that was read.
      { holder: 'mqtt-session/2', topic: 'mqtt', partitions: 2, lagRecords: 20 },
      { holder: 'mqtt-session/3', topic: 'mqtt', partitions: 1, lagRecords: undefined },
      { holder: 'mqtt-session/10', topic: 'mqtt', partitions: 1, lagRecords: 10 },
    ]);
    expect(recordsOf(ends, cluster.shards.slice(0, 2))).toBe(30 + 50);
    expect(recordsOf(ends, cluster.shards)).toBeUndefined();
  });
});
