import { expect, it } from 'vitest';

import { tortureJournal } from './torture/torture-run.ts';
import { parseValue, valueOf } from './torture/torture-value.ts';

/** `pnpm torture --rounds N --seed S` does the same for longer. */
it('a journal and placement that are killed lose, repeat and reorder nothing', async () => {
  const { violations, acknowledged, counts } = await tortureJournal({ seed: 11, rounds: 6 });
  expect(violations).toEqual([]);
  expect(acknowledged).toBeGreaterThan(0);
  expect(counts.kills).toBeGreaterThan(0);
});

it('a value tells its writer, and damage shows', () => {
  const value = valueOf('writer-1-own', 41);
  expect(parseValue(value)).toEqual({ writer: 'writer-1-own', sequence: 41 });
  value[value.length - 1] = 1;
  expect(parseValue(value)).toBeUndefined();
});
