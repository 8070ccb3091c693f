import { describe, expect, it } from 'vitest';
import { one, three, unusable, usable } from './seal-decision.fixture.ts';
import { type FenceReply, type SealQuorum } from './seal-decision.ts';
import { decideUnsafeSeal } from './unsafe-seal.ts';

describe('unsafe seal decision', () => {
  const five = { replicas: 5, ackQuorum: 3 };

  it.each<[string, SealQuorum, FenceReply[], number, object]>([
    ['one of three is taken', three, [usable('a', 5)], 5, { kind: 'end', length: 5 }],
    ['and what is unusable is left out', three, [usable('a', 5), unusable('b')], 0, { length: 5 }],
    ['not with less than was told', three, [usable('a', 4)], 5, { kind: 'too-few', usable: 1 }],
    ['not when nobody answers', three, [], 0, { kind: 'too-few', usable: 0 }],
    [
      'not when one is damaged and the others are away',
      three,
      [unusable('a')],
      0,
      { kind: 'too-few', usable: 0 },
    ],
    ['nothing, when all say so', one, [unusable('a')], 0, { kind: 'end', length: 0 }],
    ['not when more was told', one, [unusable('a')], 1, { kind: 'too-few', usable: 0 }],
    [
      'nothing of three',
      three,
      [unusable('a'), unusable('b'), unusable('c')],
      0,
      { kind: 'end', length: 0, fullNodeIds: [] },
    ],
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
