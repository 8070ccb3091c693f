import { seededRandom } from '@robustmq/core';
import { describe, expect, it } from 'vitest';
import {
  type Candidate,
  MemberChoice,
  shareStrategies,
  type ShareStrategy,
} from './member-choice.ts';

class TestMember implements Candidate {
  readonly key: string;
  readonly isLocal: boolean;
  room: number;

  constructor(key: string, room = 1000, isLocal = false) {
    this.key = key;
    this.room = room;
    this.isLocal = isLocal;
  }

  get hasRoom(): boolean {
    return this.room > 0;
  }
}

function choiceOf(strategy: ShareStrategy, members: readonly TestMember[]) {
  const choice = new MemberChoice<TestMember>(strategy, seededRandom(5));
  for (const member of members) choice.add(member);
  const take = (hash = 0, avoided?: TestMember): string | undefined => {
    const member = choice.choose(hash, avoided);
    if (member !== undefined) member.room--;
    return member?.key;
  };
  return { choice, take };
}

const members = (room = 1000): TestMember[] =>
  ['a', 'b', 'c'].map((key) => new TestMember(key, room));

describe('the choice of a member', () => {
  it('round-robin: each in turn, who has no room is passed over', () => {
    const [a, b, c] = members() as [TestMember, TestMember, TestMember];
    const { choice, take } = choiceOf('round-robin', [a, b, c]);
    const taken = Array.from({ length: 6 }, () => take());
    expect(taken).toEqual(['a', 'b', 'c', 'a', 'b', 'c']);
    b.room = 0;
    expect([take(), take(), take()]).toEqual(['a', 'c', 'a']);
    b.room = 5;
    choice.roomMade(b);
    expect([take(), take(), take(), take()]).toEqual(['c', 'a', 'b', 'c']);
    choice.remove(c);
    expect([take(), take(), take()]).toEqual(['a', 'b', 'a']);
  });

  it('sticky: one until it has no room, or goes', () => {
    const [a, b, c] = members(2) as [TestMember, TestMember, TestMember];
    const { choice, take } = choiceOf('sticky', [a, b, c]);
    expect([take(), take(), take()]).toEqual(['a', 'a', 'b']);
    choice.remove(b);
    expect([take(), take(), take()]).toEqual(['c', 'c', undefined]);
  });

  it('local-first: those of the own broker while they have room', () => {
    const local = [new TestMember('x', 2, true), new TestMember('y', 1, true)];
    const { take } = choiceOf('local-first', [...members(), ...local]);
    const taken = Array.from({ length: 6 }, () => take());
    expect(taken).toEqual(['x', 'y', 'x', 'a', 'b', 'c']);
  });

  it('hash: the same hash goes to the same member, to the next one when that has no room', () => {
    const [a, b, c] = members() as [TestMember, TestMember, TestMember];
    const { take } = choiceOf('hash-topic', [c, a, b]);
    expect([take(7), take(7), take(8), take(6), take(7)]).toEqual(['b', 'b', 'c', 'a', 'b']);
    b.room = 0;
    expect(take(7)).toBe('c');
  });

  it('random: everybody gets something', () => {
    const { take } = choiceOf('random', members());
    const taken = new Map<string | undefined, number>();
    for (let i = 0; i < 300; i++) {
      const key = take();
      taken.set(key, (taken.get(key) ?? 0) + 1);
    }
    for (const key of ['a', 'b', 'c']) expect(taken.get(key)).toBeGreaterThan(60);
  });

  it.each(shareStrategies)('%s: all room is used, and the avoided one is avoided', (strategy) => {
    const three = members(4);
    const { take } = choiceOf(strategy, three);
    const [avoided] = three;
    for (let i = 0; i < 8; i++) expect(take(i, avoided)).not.toBe('a');
    expect(take(0, avoided)).toBeUndefined();
    for (let i = 0; i < 4; i++) expect(take(i)).toBe('a');
    expect(take()).toBeUndefined();
  });
});
