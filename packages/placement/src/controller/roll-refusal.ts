import { OperatingError } from '@robustmq/core';
import { type Segment, SegmentState } from '@robustmq/rpc';
import { unsealedSegment } from '../core/chain.ts';
import type { Image } from './image.ts';

/** Who asks to roll. */
export interface RollingLeader {
  readonly nodeId: string;
  readonly incarnation: number;
}

/** The segment that it says it leads. */
export interface RollingSegment {
  readonly segmentId: Buffer;
  readonly shardId: number;
  readonly epoch: number;
}

/** The unsealed segment of a shard, if there is one. */
export function unsealedOf(image: Image, shardId: number): Segment | undefined {
  const shard = image.shards.get(shardId)?.value.shard;
  return shard && unsealedSegment(shard);
}

/** Why that leader cannot roll that segment, as the chain is now; undefined when it leads it. */
export function refuseToRoll(
  image: Image,
  leader: RollingLeader,
  item: RollingSegment,
): OperatingError | undefined {
  const segment = unsealedOf(image, item.shardId);
  const name = `segment ${item.segmentId.toString('hex')} of shard ${item.shardId}`;
  if (segment === undefined) return new OperatingError('NOT_LEADER', `${name} is not the open one`);
  const hint = { nodeId: segment.leaderNodeId, epoch: segment.epoch };
  if (!segment.segmentId.equals(item.segmentId)) {
    return new OperatingError('NOT_LEADER', `${name} is not the open one`, hint);
  }
  if (segment.state !== SegmentState.OPEN) {
    return new OperatingError('FENCED', `${name} is being sealed without its leader`);
  }
  const isLeader =
    segment.leaderNodeId === leader.nodeId &&
    segment.leaderIncarnation === leader.incarnation &&
    segment.epoch === item.epoch;
  return isLeader ? undefined : new OperatingError('NOT_LEADER', `${name} is led by another`, hint);
}
