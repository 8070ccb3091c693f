import { Segment, SegmentState } from '@robustmq/rpc';
import { describe, expect, it } from 'vitest';
import { newChain } from './chain.ts';
import { decideRetention, type RetentionLimits } from './retention-decision.ts';

describe('retention decision', () => {
  const segment = (base: number, change: Partial<Segment> = {}): Segment => ({
    ...Segment.create({ shardId: 1, baseOffset: base, endOffset: base + 10, sizeBytes: 100 }),
    state: SegmentState.SEALED,
    maxTimestampMs: base + 1,
    sealedAtMs: 1_000,
    ...change,
  });
  const front = [segment(0), segment(10), segment(20)];
  const limits: RetentionLimits = {
    deletes: true,
    retentionMs: undefined,
    retentionBytes: undefined,
    holdBytes: 1_000_000,
  };
  const decide = (change: {
    limits?: Partial<RetentionLimits>;
    nowMs?: number;
    holdOffset?: number;
    trimOffset?: number;
    topic?: string;
    front?: Segment[];
  }): { due: number; holdOverridden: boolean } => {
    const { nowMs = 500, holdOffset, trimOffset = 0, topic = 't' } = change;
    const view = {
      shard: { ...newChain(1, topic, 0), endOffset: 30, trimOffset },
      front: change.front ?? front,
      sealedBytes: 300,
      holdOffset,
      nowMs,
    };
    const { due, holdOverridden } = decideRetention(view, { ...limits, ...change.limits });
    return { due: due.length, holdOverridden };
  };

  it.each<[string, Parameters<typeof decide>[0], number]>([
    ['nothing without limits', { nowMs: 1e9 }, 0],
    ['what is too old', { limits: { retentionMs: 495 }, nowMs: 500 }, 1],
    ['what is too old, all of it', { limits: { retentionMs: 100 }, nowMs: 1_000 }, 3],
    ['nothing that is as old as allowed', { limits: { retentionMs: 500 }, nowMs: 500 }, 0],
    [
      'by the time of sealing when the record times lie in the future',
      {
        limits: { retentionMs: 100 },
        nowMs: 1_101,
        front: [segment(0, { maxTimestampMs: 1e12 })],
      },
      1,
    ],
    [
      'by the time of sealing when no record has a time',
      {
        limits: { retentionMs: 100 },
        nowMs: 1_100,
        front: [segment(0, { maxTimestampMs: 0 })],
      },
      0,
    ],
    [
      'only from the front',
      {
        limits: { retentionMs: 100 },
        nowMs: 120,
        front: [segment(0, { maxTimestampMs: 50 }), segment(10, { maxTimestampMs: 1 })],
      },
      0,
    ],
    ['down to the bytes that must stay', { limits: { retentionBytes: 200 } }, 1],
    ['not below them', { limits: { retentionBytes: 201 } }, 0],
    ['all when nothing must stay', { limits: { retentionBytes: 0 } }, 3],
    ['nothing when the policy is to compact', { limits: { retentionBytes: 0, deletes: false } }, 0],
    ['what was trimmed, whatever the limits', { trimOffset: 25, limits: { deletes: false } }, 2],
    [
      'of an internal shard only what was trimmed',
      {
        topic: '$k',
        trimOffset: 10,
        limits: { retentionBytes: 0 },
      },
      1,
    ],
    ['not the end of an internal shard', { topic: '$k', trimOffset: 30 }, 2],
    ['nothing that is held', { limits: { retentionBytes: 0 }, holdOffset: 5 }, 0],
    ['what lies below the hold', { limits: { retentionBytes: 0 }, holdOffset: 20 }, 2],
    ['what was trimmed although it is held', { trimOffset: 20, holdOffset: 0 }, 2],
  ])('takes %s', (_, change, due) => {
    expect(decide(change)).toEqual({ due, holdOverridden: false });
  });

  it('overrides a hold once its bytes are used up, and says so', () => {
    const change = { limits: { retentionBytes: 0, holdBytes: 150 }, holdOffset: 0 };
    expect(decide(change)).toEqual({ due: 2, holdOverridden: true });
  });
});
