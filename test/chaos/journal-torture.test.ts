import { expect, it } from 'vitest';

import { tortureJournal } from './torture/torture-run.ts';

/** `pnpm torture --rounds N --seed S` does the same for longer. */
it('a journal and placement that are killed lose, repeat and reorder nothing', async () => {
  const { violations, acknowledged, counts } = await tortureJournal({ seed: 11, rounds: 6 });
  expect(violations).toEqual([]);
  expect(acknowledged).toBeGreaterThan(0);
  expect(counts.kills).toBeGreaterThan(0);
});
