import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { one, three, unusable, usable } from './seal-decision.fixture.ts';
import {
  decideReachableSeal,
  decideSeal,
  type FenceReply,
  type SealQuorum,
} from './seal-decision.ts';

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
