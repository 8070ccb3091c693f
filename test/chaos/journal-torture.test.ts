import { describe, expect, it } from 'vitest';

import { ShardHistory, Violations } from './torture/shard-history.ts';
import { tortureJournal } from './torture/torture-run.ts';
import { parseValue, valueOf } from './torture/torture-value.ts';

/** `pnpm torture --rounds N --seed S` does the same for longer. */
it('a journal and placement that are killed lose, repeat and reorder nothing', async () => {
  const { violations, acknowledged, counts } = await tortureJournal({ seed: 11, rounds: 6 });
  expect(violations).toEqual([]);
  expect(acknowledged).toBeGreaterThan(0);
  expect(counts.kills).toBeGreaterThan(0);
});

describe('the history of a shard', () => {
  function historyOf(steps: (history: ShardHistory) => void): readonly string[] {
    const violations = new Violations();
    const history = new ShardHistory(7, violations);
    for (let count = 0; count < 3; count++) history.sending('w');
    steps(history);
    return violations.list();
  }
  const place = (sequence: number) => ({ writer: 'w', sequence });
  const writeAll = (history: ShardHistory): void => {
    for (const sequence of [0, 1, 2]) history.acknowledge(place(sequence), sequence);
  };

  it('is right when all was acknowledged once and in order', () => {
    const right = historyOf((history) => {
      writeAll(history);
      history.see(place(1), 1, 'read');
      history.conclude(0, 3);
    });
    expect(right).toEqual([]);
  });

  it.each([
    ['another record at an offset', (history: ShardHistory) => history.see(place(2), 1, 'read')],
    ['a record twice', (history: ShardHistory) => history.see(place(2), 3, 'read')],
    ['a record that nobody sent', (history: ShardHistory) => history.see(place(3), 3, 'read')],
    ['a lost end', (history: ShardHistory) => history.conclude(0, 2)],
    ['a lost beginning', (history: ShardHistory) => history.conclude(1, 3)],
  ])('shows %s', (_, fault) => {
    const shown = historyOf((history) => {
      writeAll(history);
      fault(history);
    });
    expect(shown).not.toEqual([]);
  });

  it('shows a wrong order', () => {
    const shown = historyOf((history) => {
      history.acknowledge(place(0), 1);
      history.acknowledge(place(1), 0);
      history.acknowledge(place(2), 2);
      history.conclude(0, 3);
    });
    expect(shown).toHaveLength(1);
  });
});

it('a value tells its writer, and damage shows', () => {
  const value = valueOf('writer-1-own', 41);
  expect(parseValue(value)).toEqual({ writer: 'writer-1-own', sequence: 41 });
  value[value.length - 1] = 1;
  expect(parseValue(value)).toBeUndefined();
});
