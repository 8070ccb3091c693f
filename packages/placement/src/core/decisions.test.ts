import { seededRandom } from '@robustmq/core';
import { Coordinator, Segment, SegmentState } from '@robustmq/rpc';
import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { newChain } from './chain.ts';
import { assignOwners, evenOut, type LiveBroker } from './coordinator-assignment.ts';
import { type JournalCandidate, ReplicaChooser } from './replica-choice.ts';
import { decideRetention, type RetentionLimits } from './retention-decision.ts';
import {
  decideReachableSeal,
  decideSeal,
  type FenceReply,
  type SealQuorum,
} from './seal-decision.ts';
import { decideUnsafeSeal } from './unsafe-seal.ts';

const usable = (nodeId: string, length: number, chain = length): FenceReply => ({
  kind: 'usable',
  nodeId,
  length,
  chain,
  sizeBytes: length * 10,
  maxTimestampMs: length,
});
const unusable = (nodeId: string): FenceReply => ({ kind: 'unusable', nodeId });
const three = { replicas: 3, ackQuorum: 2 };
const one = { replicas: 1, ackQuorum: 1 };

describe('seal decision', () => {
  it.each<[string, SealQuorum, FenceReply[], object]>([
    ['alone', one, [usable('a', 5)], { kind: 'end', length: 5, fullNodeIds: ['a'] }],
    ['alone and empty', one, [usable('a', 0)], { kind: 'end', length: 0 }],
    ['alone without a manifest', one, [unusable('a')], { kind: 'too-few', usable: 0, needed: 1 }],
    ['nobody answers', one, [], { kind: 'too-few', usable: 0, needed: 1 }],
    [
      'all equal',
      three,
      [usable('a', 5), usable('b', 5), usable('c', 5)],
      { kind: 'end', length: 5, fullNodeIds: ['a', 'b', 'c'], sizeBytes: 50, maxTimestampMs: 5 },
    ],
    [
      'the longest wins',
      three,
      [usable('a', 4), usable('b', 5), usable('c', 5)],
      { kind: 'end', length: 5, fullNodeIds: ['b', 'c'] },
    ],
    [
      'two of three are enough',
      three,
      [usable('a', 5), usable('b', 5)],
      { kind: 'end', length: 5 },
    ],
    ['one of three is not', three, [usable('a', 5)], { kind: 'too-few', usable: 1, needed: 2 }],
    [
      'a lost replica is no answer',
      three,
      [usable('a', 5), unusable('b')],
      { kind: 'too-few', usable: 1, needed: 2 },
    ],
    [
      'the end needs copies first',
      three,
      [usable('a', 5), usable('b', 4)],
      { kind: 'copies-needed', length: 5, full: ['a'], short: ['b'] },
    ],
    [
      'the longest of the short ones gets a copy first',
      { replicas: 5, ackQuorum: 3 },
      [usable('a', 5), usable('b', 2), usable('c', 4), unusable('d')],
      { kind: 'copies-needed', length: 5, full: ['a'], short: ['c', 'b'] },
    ],
    [
      'with two replicas one is enough to know the end, and while it is alone it has all copies',
      { replicas: 2, ackQuorum: 2 },
      [usable('a', 5)],
      { kind: 'end', length: 5, fullNodeIds: ['a'] },
    ],
    [
      'two logs of one length that differ',
      three,
      [usable('a', 5, 1), usable('b', 5, 2)],
      { kind: 'diverged', nodeIds: ['a', 'b'] },
    ],
    [
      'a higher epoch was there',
      three,
      [usable('a', 5), usable('b', 5), { kind: 'stale', nodeId: 'c', epoch: 9 }],
      { kind: 'stale', epoch: 9 },
    ],
  ])('%s', (_, quorum, replies, expected) => {
    expect(decideSeal(quorum, replies)).toMatchObject(expected);
  });

  it.each<[string, SealQuorum, FenceReply[], string[], object]>([
    [
      'leaves out the longest log when nobody can copy from it',
      three,
      [usable('a', 9), usable('b', 5), usable('c', 5)],
      ['a>b', 'a>c'],
      { kind: 'end', length: 5, fullNodeIds: ['b', 'c'] },
    ],
    [
      'asks for copies of the longest of those that are left',
      three,
      [usable('a', 9), usable('b', 5), usable('c', 4)],
      ['a>b', 'a>c'],
      { kind: 'copies-needed', length: 5, full: ['b'], short: ['c'] },
    ],
    [
      'asks for copies while one can be made',
      three,
      [usable('a', 9), usable('b', 5), usable('c', 5)],
      ['a>b'],
      { kind: 'copies-needed', length: 9, full: ['a'] },
    ],
    [
      'leaves nothing out that is needed to know the end',
      three,
      [usable('a', 9), usable('b', 5)],
      ['a>b'],
      { kind: 'copies-needed', length: 9, full: ['a'] },
    ],
  ])('where journals are cut off from one another: %s', (_, quorum, replies, cuts, expected) => {
    const reaches = (one: string, other: string): boolean =>
      !cuts.includes(`${one}>${other}`) && !cuts.includes(`${other}>${one}`);
    expect(decideReachableSeal(quorum, replies, reaches)).toMatchObject(expected);
  });

  it('never ends below what a quorum had durably, whoever answers and is cut off (I1)', () => {
    const lengths = fc.array(fc.nat(6), { minLength: 5, maxLength: 5 });
    const answers = fc.subarray([0, 1, 2, 3, 4]);
    const cuts = fc.array(fc.boolean(), { minLength: 25, maxLength: 25 });
    fc.assert(
      fc.property(lengths, answers, cuts, (durable, answering, cut) => {
        const committed = durable.toSorted((a, b) => b - a)[2] ?? 0;
        const replies = answering.map((at) => usable(`n${at}`, durable[at] ?? 0, 0));
        const reaches = (one: string, other: string): boolean =>
          cut[Number(one.slice(1)) * 5 + Number(other.slice(1))] === false;
        const decision = decideReachableSeal({ replicas: 5, ackQuorum: 3 }, replies, reaches);
        if (decision.kind === 'end') expect(decision.length).toBeGreaterThanOrEqual(committed);
      }),
    );
  });

  it('never ends below what a quorum had durably, whoever answers (I1)', () => {
    const lengths = fc.array(fc.nat(6), { minLength: 3, maxLength: 3 });
    const answers = fc.subarray([0, 1, 2]);
    fc.assert(
      fc.property(lengths, answers, (durable, answering) => {
        const committed = durable.toSorted((a, b) => b - a)[1] ?? 0;
        const replies = answering.map((at) => usable(`n${at}`, durable[at] ?? 0, 0));
        const decision = decideSeal(three, replies);
        if (decision.kind === 'end') expect(decision.length).toBeGreaterThanOrEqual(committed);
        if (decision.kind === 'end' && decision.length > 0) {
          expect(decision.fullNodeIds.length).toBeGreaterThanOrEqual(2);
        }
      }),
    );
  });
});

describe('replica choice', () => {
  const journal = (nodeId: string, change: Partial<JournalCandidate> = {}): JournalCandidate => ({
    nodeId,
    incarnation: 1,
    zone: '',
    freeBytes: 1_000,
    ledSegments: 0,
    openReplicas: 0,
    ...change,
  });
  const choose = (journals: JournalCandidate[], wanted: number, times = 1) => {
    const chooser = new ReplicaChooser(journals, seededRandom(3));
    return Array.from({ length: times }, () => chooser.choose(wanted));
  };

  it.each([
    [1, 1, 1],
    [1, 3, 1],
    [2, 3, 2],
    [3, 3, 2],
    [5, 3, 2],
    [5, 5, 3],
  ])('of %i journals, wanting %i: ack quorum %i', (count, wanted, ackQuorum) => {
    const journals = Array.from({ length: count }, (_, at) => journal(`j${at}`));
    const [set] = choose(journals, wanted);
    expect(set?.ackQuorum).toBe(ackQuorum);
    expect(new Set(set?.replicaNodeIds).size).toBe(Math.min(count, wanted));
    expect(set?.replicaNodeIds[0]).toBe(set?.leaderNodeId);
  });

  it.each([
    [3, 1, 2],
    [3, 2, 2],
    [3, 3, 3],
    [5, 4, 4],
    [2, 2, 2],
  ])('of %i replicas, at least %i in sync: ack quorum %i', (wanted, atLeast, ackQuorum) => {
    const journals = Array.from({ length: 5 }, (_, at) => journal(`j${at}`));
    const set = new ReplicaChooser(journals, seededRandom(3)).choose(wanted, atLeast);
    expect(set?.ackQuorum).toBe(ackQuorum);
  });

  it('gives none when there are fewer than must be', () => {
    expect(new ReplicaChooser([], seededRandom(1)).choose(3)).toBeUndefined();
    expect(new ReplicaChooser([journal('a')], seededRandom(1)).choose(3, 2)).toBeUndefined();
  });

  it('spreads a batch evenly', () => {
    const counts = new Map<string, number>();
    for (const set of choose([journal('a'), journal('b'), journal('c')], 1, 300)) {
      counts.set(set?.leaderNodeId ?? '', (counts.get(set?.leaderNodeId ?? '') ?? 0) + 1);
    }
    expect([...counts.values()]).toEqual([100, 100, 100]);
  });

  it('gives by free space, and still a little to the nearly full', () => {
    const journals = [journal('big', { freeBytes: 3_000 }), journal('small', { freeBytes: 1_000 })];
    const leaders = choose(journals, 1, 400).map((set) => set?.leaderNodeId);
    expect(leaders.filter((leader) => leader === 'small')).toHaveLength(100);
    const full = [journal('big'), journal('full', { freeBytes: 0 })];
    const some = choose(full, 1, 210).filter((set) => set?.leaderNodeId === 'full');
    expect(some.length).toBeGreaterThan(5);
    expect(some.length).toBeLessThan(15);
  });

  it('lets who lacks some of the segment before lead only when nobody else can', () => {
    const journals = ['a', 'b'].map((name) => journal(name, { ledSegments: name === 'a' ? 0 : 9 }));
    const leader = (behind: string[]) =>
      new ReplicaChooser(journals, seededRandom(3)).choose(2, 1, { behind: new Set(behind) })
        ?.leaderNodeId;
    expect([leader([]), leader(['a']), leader(['a', 'b'])]).toEqual(['a', 'b', 'a']);
  });

  it('lets who has all of the segment before lead, unless it should not', () => {
    const journals = [journal('a', { ledSegments: 9 }), journal('b'), journal('c')];
    const leader = (full: string[], behind: string[] = []) =>
      new ReplicaChooser(journals, seededRandom(3)).choose(3, 1, {
        full: new Set(full),
        behind: new Set(behind),
      })?.leaderNodeId;
    expect([leader(['a']), leader(['a', 'b'])]).toEqual(['a', 'b']);
    expect([leader(['a'], ['a', 'b']), leader(['x'], ['b'])]).toEqual(['c', 'c']);
  });

  it('prefers who leads less', () => {
    const [set] = choose([journal('a', { ledSegments: 9 }), journal('b', { ledSegments: 2 })], 2);
    expect(set?.leaderNodeId).toBe('b');
  });

  it('prefers who has fewer open replicas, and fills up one that was added first', () => {
    const old = ['a', 'b', 'c'].map((name) => journal(name, { openReplicas: 30, ledSegments: 10 }));
    const sets = choose([...old, journal('new')], 3, 100);
    expect(sets.slice(0, 80).every((set) => set?.replicaNodeIds.includes('new'))).toBe(true);
    expect(sets.slice(0, 10).every((set) => set?.leaderNodeId === 'new')).toBe(true);
    const counts = ['a', 'b', 'c', 'new'].map(
      (name) =>
        sets.filter((set) => set?.replicaNodeIds.includes(name)).length + (name === 'new' ? 0 : 30),
    );
    expect(Math.max(...counts) - Math.min(...counts)).toBeLessThanOrEqual(1);
  });

  it('has replicas in as many zones as there are, whatever the load', () => {
    const zones = fc.array(fc.constantFrom('', 'a', 'b', 'c'), { minLength: 1, maxLength: 8 });
    const loads = fc.array(fc.nat(50), { minLength: 8, maxLength: 8 });
    fc.assert(
      fc.property(zones, loads, fc.integer({ min: 1, max: 5 }), (inZones, load, wanted) => {
        const journals = inZones.map((zone, at) =>
          journal(`j${at}`, {
            zone,
            openReplicas: load[at] ?? 0,
            freeBytes: 1 + (load[7 - at] ?? 0),
          }),
        );
        for (const set of choose(journals, wanted, 3)) {
          const chosen = journals.filter(({ nodeId }) => set?.replicaNodeIds.includes(nodeId));
          const named = new Set(inZones.filter((zone) => zone !== ''));
          const used = chosen.map(({ zone }) => zone).filter((zone) => zone !== '');
          // Journals that do not tell their zone may be taken at any time; of the others no two share one
          // while there is another zone.
          const unnamed = chosen.length - used.length;
          expect(new Set(used).size).toBeGreaterThanOrEqual(
            Math.min(named.size, wanted - unnamed, used.length),
          );
          expect(chosen).toHaveLength(Math.min(wanted, journals.length));
        }
      }),
    );
  });

  describe('while journals are cut off from one another', () => {
    const cut = (...pairs: string[]) => {
      const all = ['a', 'b', 'c', 'd'].map((name) => journal(name, { zone: name }));
      return (count: number, wanted: number) =>
        Array.from({ length: 20 }, (_, seed) =>
          new ReplicaChooser(
            all.slice(0, count),
            seededRandom(seed),
            (one, other) => !pairs.includes(one + other) && !pairs.includes(other + one),
          ).choose(wanted),
        );
    };

    it('lets only those lead that reach a quorum', () => {
      for (const set of cut('ab', 'ac')(3, 3)) {
        expect(set?.replicaNodeIds).toHaveLength(3);
        expect(set?.leaderNodeId).not.toBe('a');
      }
    });

    it('takes a spare instead of one that is cut off', () => {
      for (const set of cut('ab', 'ac', 'ad')(4, 3)) expect(set?.replicaNodeIds).not.toContain('a');
    });

    it('takes members of one side while it can', () => {
      for (const set of cut('ac', 'ad', 'bc', 'bd')(4, 2)) {
        expect(['ab', 'cd']).toContain(set?.replicaNodeIds.toSorted().join(''));
      }
    });

    it('gives a set also when nobody reaches anybody', () => {
      for (const set of cut('ab', 'ac', 'bc')(3, 3)) expect(set?.replicaNodeIds).toHaveLength(3);
    });
  });

  it('spreads over zones first', () => {
    const journals = [
      journal('a1', { zone: 'a' }),
      journal('a2', { zone: 'a' }),
      journal('b1', { zone: 'b', ledSegments: 50 }),
    ];
    for (const set of choose(journals, 2, 20)) expect(set?.replicaNodeIds).toContain('b1');
    expect(new Set(choose(journals, 3)[0]?.replicaNodeIds).size).toBe(3);
  });
});

describe('coordinator assignment', () => {
  const broker = (nodeId: string, change: Partial<LiveBroker> = {}): LiveBroker => ({
    nodeId,
    incarnation: 1,
    draining: false,
    kinds: new Set(['k']),
    ...change,
  });
  const fresh = Array.from({ length: 16 }, (_, index) =>
    Coordinator.create({ kind: 'k', index, shardId: index + 1 }),
  );
  const apply = (before: Coordinator[], changes: Coordinator[]): Coordinator[] =>
    before.map((now) => changes.find((change) => change.index === now.index) ?? now);
  const counts = (coordinators: Coordinator[]): Record<string, number> => {
    const found: Record<string, number> = {};
    for (const { ownerNodeId } of coordinators) found[ownerNodeId] = (found[ownerNodeId] ?? 0) + 1;
    return found;
  };

  it('gives all to one broker, and spreads them over several', () => {
    expect(counts(assignOwners(fresh, [broker('a')]))).toEqual({ a: 16 });
    const three = counts(assignOwners(fresh, [broker('a'), broker('b'), broker('c')]));
    expect(Object.values(three).every((count) => count >= 4 && count <= 6)).toBe(true);
    expect(assignOwners(fresh, [])).toEqual([]);
    expect(assignOwners(fresh, [broker('x', { kinds: new Set() })])).toEqual([]);
  });

  it('moves only those of a broker that is gone, each with the next epoch', () => {
    const both = apply(fresh, assignOwners(fresh, [broker('a'), broker('b')]));
    expect(both.every((coordinator) => coordinator.epoch === 1)).toBe(true);
    const moves = assignOwners(both, [broker('a')]);
    expect(moves.map((move) => move.index)).toEqual(
      both.filter(({ ownerNodeId }) => ownerNodeId === 'b').map(({ index }) => index),
    );
    expect(moves.every((move) => move.epoch === 2 && move.ownerNodeId === 'a')).toBe(true);
    expect(assignOwners(apply(both, moves), [broker('a')])).toEqual([]);
  });

  it('a new incarnation does not own what the old one did', () => {
    const owned = apply(fresh, assignOwners(fresh, [broker('a')]));
    const moves = assignOwners(owned, [broker('a', { incarnation: 2 })]);
    expect(moves).toHaveLength(16);
    expect(moves[0]).toMatchObject({ ownerNodeId: 'a', ownerIncarnation: 2, epoch: 2 });
  });

  it('says that nobody owns them when nobody is there, once', () => {
    const owned = apply(fresh, assignOwners(fresh, [broker('a')]));
    const orphans = assignOwners(owned, []);
    expect(orphans).toHaveLength(16);
    expect(orphans[0]).toMatchObject({ ownerNodeId: '', ownerIncarnation: 0, epoch: 2 });
    expect(assignOwners(apply(owned, orphans), [])).toEqual([]);
  });

  it('takes them from a broker that leaves, unless it is the last', () => {
    const owned = apply(fresh, assignOwners(fresh, [broker('a')]));
    const leaving = broker('a', { draining: true });
    expect(assignOwners(owned, [leaving])).toEqual([]);
    expect(counts(assignOwners(owned, [leaving, broker('b')]))).toEqual({ b: 16 });
  });

  it('evens out with as few moves as it takes', () => {
    const owned = apply(fresh, assignOwners(fresh, [broker('a')]));
    const brokers = [broker('a'), broker('b'), broker('c')];
    expect(assignOwners(owned, brokers)).toEqual([]);
    const moves = evenOut(owned, brokers);
    expect(moves).toHaveLength(10);
    const even = apply(owned, moves);
    expect(Object.values(counts(even)).toSorted((a, b) => a - b)).toEqual([5, 5, 6]);
    expect(evenOut(even, brokers)).toEqual([]);
    expect(evenOut(even, [...brokers, broker('d', { draining: true })])).toEqual([]);
  });

  it('settles whatever brokers come and go', () => {
    const change = fc.record({ name: fc.constantFrom('a', 'b', 'c', 'd'), up: fc.boolean() });
    fc.assert(
      fc.property(fc.array(change, { maxLength: 20 }), (changes) => {
        const live = new Map<string, LiveBroker>();
        let incarnation = 0;
        let coordinators = fresh;
        for (const { name, up } of changes) {
          if (up) live.set(name, broker(name, { incarnation: ++incarnation }));
          else live.delete(name);
          const brokers = [...live.values()];
          coordinators = apply(coordinators, assignOwners(coordinators, brokers));
          coordinators = apply(coordinators, evenOut(coordinators, brokers));
          const owners = new Set(coordinators.map(({ ownerNodeId }) => ownerNodeId));
          expect(owners).toEqual(new Set(brokers.length === 0 ? [''] : live.keys()));
          const spread = Object.values(counts(coordinators));
          expect(Math.max(...spread) - Math.min(...spread)).toBeLessThanOrEqual(1);
        }
      }),
      { numRuns: 100 },
    );
  });
});

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

describe('unsafe seal decision', () => {
  const five = { replicas: 5, ackQuorum: 3 };

  it.each<[string, SealQuorum, FenceReply[], number, object]>([
    ['one of three is taken', three, [usable('a', 5)], 5, { kind: 'end', length: 5 }],
    ['and what is unusable is left out', three, [usable('a', 5), unusable('b')], 0, { length: 5 }],
    ['not with less than was told', three, [usable('a', 4)], 5, { kind: 'too-few', usable: 1 }],
    ['not when nobody answers', three, [], 0, { kind: 'too-few', usable: 0 }],
    ['not from a damaged one', one, [unusable('a')], 0, { kind: 'too-few', usable: 0 }],
    [
      'enough answers decide as always',
      three,
      [usable('a', 5), usable('b', 5)],
      9,
      { kind: 'end', length: 5, fullNodeIds: ['a', 'b'] },
    ],
    [
      'those that answer are made equal first',
      five,
      [usable('a', 5), usable('b', 3)],
      5,
      { kind: 'copies-needed', length: 5, full: ['a'], short: ['b'] },
    ],
    [
      'another attempt that is ahead is respected',
      three,
      [usable('a', 5), { kind: 'stale', nodeId: 'b', epoch: 9 }],
      0,
      { kind: 'stale', epoch: 9 },
    ],
  ])('%s', (_, quorum, replies, lengthMin, expected) => {
    expect(decideUnsafeSeal(quorum, replies, lengthMin)).toMatchObject(expected);
  });
});
