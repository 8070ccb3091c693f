import { Coordinator } from '@robustmq/rpc';
import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { assignOwners, evenOut, type LiveBroker } from './coordinator-assignment.ts';

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
