import { AssertionFailure } from '@robustmq/core';
import { type Shard, SegmentState } from '@robustmq/rpc';
import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  assertChain,
  assertSuccessor,
  beginSeal,
  isTrimmed,
  newChain,
  openNext,
  type ReplicaSet,
  sealAt,
  type SegmentEnd,
  trimTo,
  unsealedSegment,
} from './chain.ts';

const replicas: ReplicaSet = {
  leaderNodeId: 'a',
  leaderIncarnation: 3,
  replicaNodeIds: ['a', 'b', 'c'],
  ackQuorum: 2,
};
const end = (endOffset: number): SegmentEnd => ({
  endOffset,
  fullNodeIds: ['a', 'b'],
  sizeBytes: 100,
  maxTimestampMs: 1,
  sealedAtMs: 2,
});
let ids = 0;
const open = (shard: Shard): Shard => {
  const segmentId = Buffer.alloc(16);
  segmentId.writeUInt32LE(++ids);
  return openNext(shard, segmentId, replicas);
};
const seal = (shard: Shard, endOffset: number): Shard =>
  sealAt(beginSeal(shard), end(endOffset)).shard;
const summary = (shard: Shard): string =>
  shard.segments
    .map(({ baseOffset, endOffset, state }) =>
      state === SegmentState.SEALED ? `${baseOffset}-${endOffset}` : `${baseOffset}-`,
    )
    .join(' ');

describe('chain', () => {
  it('opens at the end, under the next epoch', () => {
    const shard = open(newChain(1, 't', 0));
    expect(shard).toMatchObject({ epoch: 1, endOffset: 0 });
    expect(unsealedSegment(shard)).toMatchObject({
      shardId: 1,
      baseOffset: 0,
      epoch: 1,
      state: SegmentState.OPEN,
      leaderNodeId: 'a',
      leaderIncarnation: 3,
      replicaNodeIds: ['a', 'b', 'c'],
      ackQuorum: 2,
    });
  });

  it('raises the epoch with each attempt to seal, and keeps the segment its own', () => {
    const once = beginSeal(open(newChain(1, 't', 0)));
    const twice = beginSeal(once);
    expect([once.epoch, twice.epoch]).toEqual([2, 3]);
    expect(unsealedSegment(twice)).toMatchObject({ epoch: 1, sealEpoch: 3 });
  });

  it('records the end, and goes on there', () => {
    const sealed = sealAt(beginSeal(open(newChain(1, 't', 0))), end(10));
    expect(sealed.removed).toBe(false);
    expect(sealed.segment).toMatchObject({
      ...end(10),
      state: SegmentState.SEALED,
      sealEpoch: 2,
    });
    expect(summary(open(sealed.shard))).toBe('0-10 10-');
  });

  it('shows the open segment and up to two before it', () => {
    let shard = newChain(1, 't', 0);
    for (let at = 1; at <= 4; at++) shard = seal(open(shard), at * 10);
    expect(summary(shard)).toBe('20-30 30-40');
    expect(summary(open(shard))).toBe('20-30 30-40 40-');
  });

  it('loses an empty segment, and keeps the epoch', () => {
    const before = seal(open(newChain(1, 't', 0)), 10);
    const sealed = sealAt(beginSeal(open(before)), end(10));
    expect(sealed.removed).toBe(true);
    expect(summary(sealed.shard)).toBe('0-10');
    expect(sealed.shard.epoch).toBe(before.epoch + 2);
  });

  it.each([
    ['below the trim', 'topic', 25, '20-30', 25],
    ['at the end of a segment', 'topic', 30, '', 30],
    ['above the end, when nothing is open', 'topic', 99, '', 30],
    ['at the end of an internal shard', '$kind', 30, '20-30', 30],
  ])('trims %s', (_, topic, offset, left, trimOffset) => {
    let shard = newChain(1, topic, 0);
    for (const at of [10, 20, 30]) shard = seal(open(shard), at);
    const trimmed = trimTo(shard, offset);
    expect(summary(trimmed)).toBe(left);
    expect(trimmed.trimOffset).toBe(trimOffset);
    expect(trimmed.segments.filter((segment) => isTrimmed(trimmed, segment))).toEqual([]);
    expect(trimTo(trimmed, 5)).toBe(trimmed);
  });

  it('never gives offsets below the trim again, even if somebody trimmed what never was', () => {
    const trimmed = trimTo(open(newChain(1, 't', 0)), 100);
    expect(trimmed.trimOffset).toBe(100);
    expect(seal(trimmed, 10).trimOffset).toBe(10);
  });

  it.each<[string, () => unknown]>([
    ['opening behind an open segment', () => open(open(newChain(1, 't', 0)))],
    ['sealing when nothing is open', () => beginSeal(newChain(1, 't', 0))],
    ['ending a seal that was not begun', () => sealAt(open(newChain(1, 't', 0)), end(1))],
    ['an end before the base', () => seal(open(seal(open(newChain(1, 't', 0)), 10)), 9)],
    [
      'an end without a full replica',
      () => sealAt(beginSeal(open(newChain(1, 't', 0))), { ...end(1), fullNodeIds: [] }),
    ],
  ])('%s is a bug', (_, act) => {
    expect(act).toThrow(AssertionFailure);
  });

  it.each<[string, (shard: Shard) => Shard]>([
    ['I3: a gap', (shard) => ({ ...shard, segments: shard.segments.toSpliced(1, 1) })],
    [
      'I3: an unsealed segment inside',
      (shard) => ({
        ...shard,
        segments: shard.segments.map((segment) => ({ ...segment, state: SegmentState.OPEN })),
      }),
    ],
    ['I3: an end that is not the last one', (shard) => ({ ...shard, endOffset: 99 })],
    ['I11: an epoch above the shard', (shard) => ({ ...shard, epoch: 1 })],
    ['a segment of another shard', (shard) => ({ ...shard, shardId: 2 })],
  ])('sees %s', (_, breakIt) => {
    let shard = newChain(1, 't', 0);
    for (const at of [10, 20]) shard = seal(open(shard), at);
    const whole = open(shard);
    expect(() => assertChain(whole)).not.toThrow();
    expect(() => assertChain(breakIt(whole))).toThrow(AssertionFailure);
  });

  it.each<[string, (shard: Shard) => Shard]>([
    ['a falling epoch (I11)', (shard) => ({ ...shard, epoch: shard.epoch - 1, segments: [] })],
    ['a falling end (I3)', (shard) => ({ ...shard, endOffset: 1, segments: [] })],
    ['a falling trim', (shard) => ({ ...shard, trimOffset: 1 })],
    ['another shard', () => newChain(2, 't', 0)],
  ])('sees %s between two views', (_, breakIt) => {
    const shard = trimTo(seal(open(newChain(1, 't', 0)), 10), 5);
    expect(() => assertSuccessor(shard, breakIt(shard))).toThrow(AssertionFailure);
  });

  it('holds its invariants whatever happens in whatever order', () => {
    const step = fc.oneof(
      fc.record({ kind: fc.constant('open' as const) }),
      fc.record({ kind: fc.constant('begin' as const) }),
      fc.record({ kind: fc.constant('end' as const), records: fc.nat(5) }),
      fc.record({ kind: fc.constant('trim' as const), offset: fc.nat(40) }),
    );
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
        let shard = newChain(1, 't', 0);
        const bases: number[] = [];
        for (const action of steps) {
          const before = shard;
          const unsealed = unsealedSegment(shard);
          if (action.kind === 'open' && unsealed === undefined) shard = open(shard);
          else if (action.kind === 'begin' && unsealed !== undefined) shard = beginSeal(shard);
          else if (action.kind === 'end' && unsealed?.state === SegmentState.SEALING) {
            const sealed = sealAt(shard, end(unsealed.baseOffset + action.records));
            if (!sealed.removed) bases.push(sealed.segment.baseOffset);
            ({ shard } = sealed);
          } else if (action.kind === 'trim') shard = trimTo(shard, action.offset);
          assertSuccessor(before, shard);
        }
        expect(bases).toEqual([...new Set(bases)].sort((a, b) => a - b));
      }),
      { numRuns: 300 },
    );
  });
});
