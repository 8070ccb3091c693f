import { seededRandom } from '@robustmq/core';
import { type Segment, SegmentState } from '@robustmq/rpc';
import { describe, expect, it } from 'vitest';
import type { ReportedSegment } from './reported-segment.ts';
import { rebuildChain, type RebuiltChain } from './rebuilt-chain.ts';
import { ShardHistory, type TrueSegment } from './shard-history.fixture.ts';

const seeds = Array.from({ length: 3_000 }, (_, seed) => seed);

function historyOf(seed: number, steps: number): ShardHistory {
  const history = new ShardHistory(seededRandom(seed));
  for (let at = 0; at < steps; at++) history.step();
  return history;
}

const ranges = (segments: readonly Segment[]): string[] =>
  segments.map(({ segmentId, baseOffset, endOffset }) =>
    [segmentId.toString('hex'), baseOffset, endOffset].join(),
  );

/** Whether a journal remembers that it led or followed the segment. */
function isLed(segment: TrueSegment | undefined): boolean {
  return [...(segment?.replicas.values() ?? [])].some(({ baseKnown }) => baseKnown);
}

/** Whether a journal remembers the segment's end. */
function isSealKnown(segment: TrueSegment | undefined): boolean {
  return [...(segment?.replicas.values() ?? [])].some(({ sealed }) => sealed);
}

describe('a segment that was led and that nobody has a record of', () => {
  const report = {
    nodeId: 'n1',
    baseOffset: 0,
    length: 0,
    sealed: false,
    fencedEpoch: 0,
    damaged: false,
    sizeBytes: 0,
    maxTimestampMs: 0,
  };
  const segment = (id: number, epoch: number, ...reports: object[]): ReportedSegment => ({
    segmentId: Buffer.alloc(16, id),
    shardId: 1,
    epoch,
    replicaNodeIds: ['n1', 'n2', 'n3'],
    ackQuorum: 2,
    isAgreed: true,
    reports: reports.map((change, at) => ({ ...report, nodeId: `n${at + 1}`, ...change })),
  });
  const rebuilt = (isIncomplete: boolean, ...segments: ReportedSegment[]): RebuiltChain =>
    rebuildChain({
      shardId: 1,
      topic: 'a',
      partition: 0,
      copied: { epoch: 1, trimOffset: 0, endOffset: 0 },
      trimmedTo: 0,
      segments,
      isIncomplete,
      sealedAtMs: 0,
    });
  /** Its places in the chain, among what is to be fenced, and among what is to be deleted. */
  const placesOf = (chain: RebuiltChain, id: number): boolean[] =>
    [chain.stored.shard?.segments ?? [], chain.unused, chain.deleting].map((list) =>
      list.some(({ segmentId }) => segmentId[0] === id),
    );

  it('is no conflict when it begins within one before it: it is fenced, and deleted', () => {
    const sealed = { length: 34, sealed: true };
    const chain = rebuilt(false, segment(1, 1, sealed), segment(2, 4, {}, {}));
    expect(chain.findings).toEqual([]);
    expect(chain.stored.shard?.endOffset).toBe(34);
    expect(placesOf(chain, 2)).toEqual([false, true, true]);
  });

  it('is one when it has a record', () => {
    const sealed = { length: 34, sealed: true };
    const chain = rebuilt(false, segment(1, 1, sealed), segment(2, 4, { length: 1 }, {}));
    expect(chain.findings.map(({ kind }) => kind)).toContain('conflict');
  });

  it('is fenced and deleted when too few have a replica to ever seal it', () => {
    expect(placesOf(rebuilt(false, segment(1, 1, {})), 1)).toEqual([false, true, true]);
  });

  it('is left to be sealed when enough have one, when one has records, or when journals are missing', () => {
    expect(placesOf(rebuilt(false, segment(1, 1, {}, {})), 1)).toEqual([true, false, false]);
    expect(placesOf(rebuilt(false, segment(1, 1, { length: 1 })), 1)).toEqual([true, false, false]);
    expect(placesOf(rebuilt(true, segment(1, 1, {})), 1)).toEqual([true, false, false]);
  });
});

describe('a rebuilt chain', () => {
  it('is the chain that was, whatever notices and orders were lost', () => {
    for (const seed of seeds) {
      const history = historyOf(seed, 30);
      const reported = history.toRebuild();
      const rebuilt = rebuildChain(reported);
      const note = `seed ${seed}`;
      expect(rebuilt.findings, note).toEqual([]);
      const { open } = history;
      const isUsed = isLed(open);
      // A seal that no replica, no segment behind it and no copy tells of is done once more.
      const last = history.chain.findLast(({ end }) => end !== undefined);
      const isFollowed = reported.segments.some(
        ({ epoch, reports }) =>
          epoch > (last?.epoch ?? 0) && reports.some(({ baseOffset }) => baseOffset !== undefined),
      );
      const isCopied = (last?.end ?? 0) <= history.copied.endOffset;
      const isHeardOf = isFollowed || isSealKnown(last) || isCopied;
      const sealed = history.chain.filter(
        (one) => one.end !== undefined && (isHeardOf || one !== last),
      );
      // What was trimmed since the last copy is there once more.
      const kept = rebuilt.sealed.filter(({ endOffset }) => endOffset > history.trimOffset);
      expect(ranges(kept), note).toEqual(
        sealed.map(({ id, base, end }) => [id.toString('hex'), base, end].join()),
      );
      const { shard } = rebuilt.stored;
      const unsealed = shard?.segments.find(({ state }) => state === SegmentState.SEALING);
      const wanted = isUsed ? open : isHeardOf ? undefined : last;
      // What was sealed and has left the chain, empty or trimmed, and nobody had heard of it: once more.
      const isGone =
        unsealed !== undefined && !history.chain.some(({ id }) => id.equals(unsealed.segmentId));
      if (isGone) expect(isUsed, note).toBe(false);
      else {
        expect(unsealed?.segmentId.toString('hex'), note).toBe(wanted?.id.toString('hex'));
        expect(shard?.endOffset, note).toBe(isHeardOf ? history.endOffset : last?.base);
      }
      expect(shard?.epoch, note).toBeGreaterThan(history.epoch);
      expect(shard?.trimOffset, note).toBeLessThanOrEqual(history.trimOffset);
      for (const { fullNodeIds, segmentId, endOffset, baseOffset } of kept) {
        const truth = sealed.find(({ id }) => id.equals(segmentId));
        const intact = [...(truth?.replicas ?? [])].filter(
          ([, { damaged, length }]) => !damaged && length >= endOffset - baseOffset,
        );
        expect(fullNodeIds.toSorted(), note).toEqual(intact.map(([nodeId]) => nodeId).toSorted());
        expect(fullNodeIds.length, note).toBeGreaterThan(0);
      }
      if (open !== undefined && !isUsed) {
        expect(
          rebuilt.unused.some(({ segmentId }) => segmentId.equals(open.id)),
          note,
        ).toBe(true);
      }
    }
  });

  it('tells of every sealed segment that is gone, and begins behind it', () => {
    let told = 0;
    for (const seed of seeds) {
      const history = historyOf(seed, 30);
      const sealed = history.chain.filter(({ end }) => end !== undefined);
      const victim = sealed[seed % Math.max(1, sealed.length)];
      if (victim?.end === undefined) continue;
      // The newest end is known from a copy, or from the segment behind.
      const isKnown = history.copied.endOffset >= victim.end || history.chain.at(-1) !== victim;
      const isExplained = history.chain
        .slice(history.chain.indexOf(victim) + 1)
        .some(({ replicas }) => [...replicas.values()].some(({ baseKnown }) => baseKnown));
      if (!isKnown || !(isExplained || history.copied.endOffset >= victim.end)) continue;
      history.lose(victim);
      const rebuilt = rebuildChain(history.toRebuild());
      const note = `seed ${seed}`;
      expect(
        rebuilt.findings.map(({ kind }) => kind),
        note,
      ).toContain('loss');
      expect(
        rebuilt.findings.map(({ kind }) => kind),
        note,
      ).not.toContain('conflict');
      for (const { baseOffset } of rebuilt.sealed) {
        expect(baseOffset, note).toBeGreaterThanOrEqual(victim.end);
      }
      told++;
    }
    expect(told).toBeGreaterThan(400);
  });

  it.each<'lose' | 'shorten'>([
    'lose',
    // Simulation seed 21135663.
    'shorten',
  ])(
    'begins behind what is gone (%s) when an older copy knows that it was trimmed, and keeps what is there',
    (how) => {
      let begun = 0;
      for (const seed of seeds) {
        const history = historyOf(seed, 30);
        const [first, second] = history.chain.filter(({ end }) => end !== undefined);
        if (first?.end === undefined || second === undefined) continue;
        const before = rebuildChain(history.toRebuild());
        // What was trimmed since the last copy is there once more, before it.
        if (before.sealed[0]?.baseOffset !== first.base) continue;
        // The order was of another history: it is above what is still there.
        const trimmedTo = history.endOffset + 1;
        const note = `seed ${seed}`;
        expect(rebuildChain({ ...history.toRebuild(), trimmedTo }), note).toEqual(before);
        history[how](first);
        const rebuilt = rebuildChain({ ...history.toRebuild(), trimmedTo });
        const isThere = ({ baseOffset }: Segment): boolean => baseOffset >= (first.end ?? 0);
        expect(ranges(rebuilt.sealed), note).toEqual(ranges(before.sealed.filter(isThere)));
        expect(rebuilt.findings, note).toEqual([]);
        begun++;
      }
      expect(begun).toBeGreaterThan(100);
    },
  );

  it('without a journal is right or tells what may be missing; no record moves to another offset', () => {
    let complete = 0;
    for (const seed of seeds) {
      const history = historyOf(seed, 30);
      const rebuilt = rebuildChain(history.toRebuild(new Set([`n${1 + (seed % 4)}`])));
      const note = `seed ${seed}`;
      expect(
        rebuilt.findings.map(({ kind }) => kind),
        note,
      ).not.toContain('conflict');
      const truth = new Map(history.chain.map((one) => [one.id.toString('hex'), one]));
      const kept = rebuilt.sealed.filter((one) => one.endOffset > history.trimOffset);
      for (const { segmentId, baseOffset, endOffset } of kept) {
        const one = truth.get(segmentId.toString('hex'));
        expect([baseOffset, endOffset], note).toEqual([one?.base, one?.end]);
      }
      if (rebuilt.findings.length === 0) complete++;
    }
    expect(complete).toBeGreaterThan(500);
  });
});
