import { availableParallelism } from 'node:os';
import { expect, it } from 'vitest';
import { Campaign } from './campaign.ts';

it('100 seeds keep every acknowledged record, and the same seed gives the same run', async () => {
  const said: string[] = [];
  const log = (line: string): number => said.push(line);
  const workers = availableParallelism();
  const totals = await new Campaign({ from: 1, seeds: 100, workers, log }).run();
  expect(totals.failed, said.join('\n')).toEqual([]);
  expect(totals.seeds).toBe(100);
  expect(totals.counted).toBeGreaterThan(50);
});
