import { SegmentState, type Shard } from '@robustmq/rpc';

/**
 * Orders two views of one shard by age: negative when `a` is older than `b`, 0 when neither is known
 * to be. The epoch grows with every opening and every attempt to seal, and within one epoch a chain
 * can only go from SEALING to sealed; trim offsets only grow.
 */
export function compareShards(a: Shard, b: Shard): number {
  return (
    a.epoch - b.epoch ||
    Number(isSettled(a)) - Number(isSettled(b)) ||
    a.trimOffset - b.trimOffset ||
    a.endOffset - b.endOffset
  );
}

function isSettled(shard: Shard): boolean {
  return shard.segments.at(-1)?.state !== SegmentState.SEALING;
}
