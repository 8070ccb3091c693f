import {
  type DescribeClusterRequest,
  type DescribeClusterResponse,
  type Hold,
  placementAdminMethods,
  SegmentState,
  type Shard,
  type Topic,
} from '@robustmq/rpc';

import { withPlacement } from './administration.ts';
import { commandTransport } from './command-transport.ts';
import { type LiveEnds, liveEnds } from './live-ends.ts';
import type { Options } from './options.ts';
import { unknown } from './words.ts';

/** The cluster as placement's store has it, with the ends that the journals tell. */
export interface ClusterView {
  readonly cluster: DescribeClusterResponse;
  readonly ends: LiveEnds;
}

/** Asks placement, then the journals. Throws UNAVAILABLE when no placement answers. */
export async function viewCluster(
  options: Options,
  request: Partial<DescribeClusterRequest>,
): Promise<ClusterView> {
  const cluster = await viewPlacement(options, request);
  return { cluster, ends: await liveEnds(cluster, commandTransport(options)) };
}

/** What placement's store has. Throws UNAVAILABLE when no placement answers. */
export function viewPlacement(
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

/** Records that the shards hold; undefined when an end is not known. */
export function recordsOf(ends: LiveEnds, shards: readonly Shard[]): number | undefined {
  return sum(shards.map(({ shardId, trimOffset }) => distance(trimOffset, ends.get(shardId))));
}

/** How far a holder is behind on one topic. */
export interface HolderLag {
  readonly holder: string;
  readonly topic: string;
  readonly partitions: number;
  /** Records that it still needs; undefined when an end is not known. */
  readonly lagRecords: number | undefined;
}

/**
 * One row for each holder and topic, by name. A holder is a coordinator: `mqtt-session/3` stands for
 * the slowest of its durable sessions, `mqtt-retained/3` for its retained messages' last snapshot.
 */
export function holderLags({ cluster, ends }: ClusterView): HolderLag[] {
  const topics = new Map(cluster.shards.map(({ shardId, topic }) => [shardId, topic]));
  const groups = Map.groupBy(cluster.holds, (hold) =>
    JSON.stringify([hold.holder, topics.get(hold.shardId) ?? unknown]),
  );
  return [...groups]
    .map(([key, holds]) => {
      const [holder, topic] = JSON.parse(key) as [string, string];
      const lagRecords = sum(holds.map((hold) => lagOf(ends, hold)));
      return { holder, topic, partitions: holds.length, lagRecords };
    })
    .toSorted((a, b) => collate(a.topic, b.topic) || collate(a.holder, b.holder));
}

/** Records from the hold's offset to the end; undefined when the end is not known. */
export function lagOf(ends: LiveEnds, hold: Hold): number | undefined {
  return distance(hold.offset, ends.get(hold.shardId));
}

/** The journal that leads the open segment; "-" when none is open. */
export function leaderOf(shard: Shard): string {
  const open = shard.segments.findLast((segment) => segment.state === SegmentState.OPEN);
  return open?.leaderNodeId ?? '-';
}

export function topicJson(topic: Topic): object {
  return { name: topic.name, partitions: topic.shardIds.length, config: topic.config };
}

export function shardJson(shard: Shard, { cluster, ends }: ClusterView): object {
  const { shardId } = shard;
  return {
    shardId,
    partition: shard.partition,
    epoch: shard.epoch,
    trimOffset: shard.trimOffset,
    endOffset: ends.get(shardId) ?? null,
    sealedEndOffset: shard.endOffset,
    records: recordsOf(ends, [shard]) ?? null,
    segments: shard.segments.map((segment) => ({
      id: segment.segmentId.toString('hex'),
      baseOffset: segment.baseOffset,
      endOffset: segment.endOffset,
      state: segment.state,
      epoch: segment.epoch,
      leader: segment.leaderNodeId,
      replicas: segment.replicaNodeIds,
    })),
    holds: cluster.holds
      .filter((hold) => hold.shardId === shardId)
      .map((hold) => ({
        holder: hold.holder,
        offset: hold.offset,
        lagRecords: lagOf(ends, hold) ?? null,
      })),
  };
}

/** In the order of the numbers in the names: `mqtt-session/2` before `mqtt-session/10`. */
function collate(a: string, b: string): number {
  return a.localeCompare(b, 'en', { numeric: true });
}

/** Never negative: a hold may be newer than the end that was read. */
function distance(from: number, end: number | undefined): number | undefined {
  return end === undefined ? undefined : Math.max(0, end - from);
}

function sum(numbers: readonly (number | undefined)[]): number | undefined {
  let total = 0;
  for (const number of numbers) {
    if (number === undefined) return undefined;
    total += number;
  }
  return total;
}
