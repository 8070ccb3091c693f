import { describe, expect, it } from 'vitest';
import { decideRepair, type RepairView } from './repair-decision.ts';

function plan(full: string, away = '', givenUp = '', spares = 'abcd', wanted = 3) {
  const view: RepairView = {
    segment: { replicaNodeIds: ['a', 'b', 'c'], fullNodeIds: full.split(''), ackQuorum: 2 },
    wanted,
    isLive: (nodeId) => !away.includes(nodeId),
    isGivenUp: (nodeId) => givenUp.includes(nodeId),
    spares: spares.split(''),
  };
  const decided = decideRepair(view);
  if (decided === undefined) return undefined;
  const targets = decided.targets.map(({ nodeId, replaces = '' }) => `${replaces}>${nodeId}`);
  return [decided.copies, decided.sources.join(''), targets.join(' ')];
}

describe('the repair of a sealed segment', () => {
  it('is not needed when every member is full', () => {
    expect(plan('abc')).toBeUndefined();
  });
  it('completes members that are there', () => {
    expect(plan('a')).toEqual([1, 'a', '>b >c']);
  });
  it('waits for members that are away', () => {
    expect(plan('ab', 'c')).toEqual([2, 'ab', '']);
    expect(plan('abc', 'c')).toBeUndefined();
  });
  it('waits for nobody while fewer than the ack quorum are full', () => {
    expect(plan('a', 'c')).toEqual([1, 'a', '>b c>d']);
    expect(plan('a', 'bc')).toEqual([1, 'a', 'b>d']);
    expect(plan('a', 'abc')).toEqual([1, '', 'b>d']);
  });
  it('gives the place of a member that is given up to a spare journal, full or not', () => {
    expect(plan('ab', 'c', 'c')).toEqual([2, 'ab', 'c>d']);
    expect(plan('abc', 'c', 'c')).toEqual([2, 'ab', 'c>d']);
  });
  it('goes on with fewer copies while there is no spare journal', () => {
    expect(plan('ab', 'c', 'c', 'abc')).toEqual([2, 'ab', '']);
  });
  it('lets a spare journal join where the topic wants more', () => {
    expect(plan('abc', '', '', 'abcd', 4)).toEqual([3, 'abc', '>d']);
  });
  it('copies from a member that is drained, which is there', () => {
    expect(plan('a', '', 'a')).toEqual([0, 'a', '>b >c a>d']);
  });
  it('has no source when all full members are away', () => {
    expect(plan('a', 'a')).toEqual([1, '', '>b >c']);
  });
});
