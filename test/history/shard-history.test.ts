import { describe, expect, it } from 'vitest';

import { ShardHistory } from './shard-history.ts';
import { Violations } from './violations.ts';

/** What is said about a history of a writer `w` that has begun to append 0, 1 and 2. */
function saidOf(steps: (history: ShardHistory) => void): readonly string[] {
  const violations = new Violations();
  const history = new ShardHistory(7, violations);
  for (let count = 0; count < 3; count++) history.sending('w');
  steps(history);
  return violations.list();
}

const place = (sequence: number, writer = 'w') => ({ writer, sequence });

function writeAll(history: ShardHistory): void {
  for (const sequence of [0, 1, 2]) history.acknowledge(place(sequence), sequence);
}

describe('the history of a shard', () => {
  it.each([
    ['all acknowledged once and in order', writeAll],
    [
      'read before it is acknowledged',
      (history: ShardHistory) => {
        history.see(place(0), 0, 'tail');
        writeAll(history);
        history.see(place(1), 1, 'read');
      },
    ],
    [
      'trimmed, and the rest read',
      (history: ShardHistory) => {
        writeAll(history);
        history.trimming(2);
      },
    ],
  ])('is right when it was %s', (_, steps) => {
    const said = saidOf((history) => {
      steps(history);
      history.conclude(history.trimMax, 3);
    });
    expect(said).toEqual([]);
  });

  it.each([
    [
      'another record at an offset',
      'changed',
      'offset 1 is w/2',
      (h: ShardHistory) => h.see(place(2), 1, 'read'),
    ],
    [
      'a record twice',
      'duplicated',
      'stands at 2 and at 3',
      (h: ShardHistory) => h.see(place(2), 3, 'read'),
    ],
    [
      'one that nobody sent',
      'uncommitted',
      'never sent',
      (h: ShardHistory) => h.see(place(3), 3, 'read'),
    ],
    [
      'two acknowledgements',
      'duplicated',
      'twice',
      (h: ShardHistory) => h.acknowledge(place(1), 1),
    ],
    ['a lost end', 'lost', '2 was acknowledged', (h: ShardHistory) => h.conclude(0, 2)],
    ['a lost beginning', 'lost', 'begins at 1', (h: ShardHistory) => h.conclude(1, 3)],
    [
      'what was read and is gone',
      'uncommitted',
      '3 was read: it was not committed',
      (h: ShardHistory) => {
        h.sending('w');
        h.see(place(3), 3, 'tail');
        h.conclude(0, 3);
      },
    ],
    [
      'what was refused and read',
      'uncommitted',
      'w/3 was refused',
      (h: ShardHistory) => {
        h.refuse(place(h.sending('w')));
        h.see(place(3), 3, 'tail');
      },
    ],
    [
      'what was read and then refused',
      'uncommitted',
      'was refused and stands at 3',
      (h: ShardHistory) => {
        h.see(place(h.sending('w')), 3, 'tail');
        h.refuse(place(3));
      },
    ],
    [
      'an append without an answer',
      'failed',
      '1 appends of v have no answer',
      (h: ShardHistory) => {
        h.sending('v');
        h.conclude(0, 3);
      },
    ],
    [
      'an offset that nobody has read',
      'gap',
      '1 offsets before the end',
      (h: ShardHistory) => {
        h.acknowledge(place(h.sending('w')), 4);
        h.conclude(0, 5);
      },
    ],
    [
      'an append that is put before one that was acknowledged when it began',
      'realTime',
      '2 was acknowledged before its append began',
      (h: ShardHistory) => h.acknowledge(place(h.sending('v'), 'v'), 2),
    ],
    [
      'a read of an append that stands before one that was acknowledged when it began',
      'realTime',
      '2 was acknowledged before its append began',
      (h: ShardHistory) => h.see(place(h.sending('v'), 'v'), 1, 'read'),
    ],
  ])('shows %s: %s', (_, kind, expected, fault) => {
    const said = saidOf((history) => {
      writeAll(history);
      fault(history);
    });
    expect(said.join('\n')).toMatch(new RegExp(`^${kind}: shard 7: .*${expected}`, 'm'));
  });

  it('shows a wrong order', () => {
    const said = saidOf((history) => {
      history.acknowledge(place(0), 1);
      history.acknowledge(place(1), 0);
      history.acknowledge(place(2), 2);
      history.conclude(0, 3);
    });
    expect(said).toEqual(['reordered: shard 7: offset 1: w/0 stands behind 1 of that writer']);
  });

  it('with any answers: lets appends be answered twice, or never, at one offset', () => {
    const violations = new Violations();
    const history = new ShardHistory(7, violations, 'any');
    for (let count = 0; count < 2; count++) history.sending('w');
    history.acknowledge(place(0), 0);
    history.acknowledge(place(0), 0);
    history.conclude(0, 1);
    expect([violations.list(), history.acknowledged]).toEqual([[], 1]);
    history.acknowledge(place(0), 1);
    expect(violations.counts).toEqual({ duplicated: 1 });
  });

  it('keeps a million records in little memory', () => {
    const violations = new Violations();
    const history = new ShardHistory(7, violations);
    for (let offset = 0; offset < 1_000_000; offset++) {
      history.acknowledge(place(history.sending('w')), offset);
    }
    history.conclude(0, 1_000_000);
    expect(violations.list()).toEqual([]);
  });
});
