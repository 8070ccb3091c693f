import { seededRandom } from '@robustmq/core';
import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type JournalCandidate, ReplicaChooser } from './replica-choice.ts';

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
