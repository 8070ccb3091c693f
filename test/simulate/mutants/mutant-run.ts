import { join } from 'node:path';
import { Campaign } from '../campaign.ts';
import { type Mutant, mutants } from './mutant-list.ts';

export interface MutantRun {
  readonly from: number;
  /** Seeds within which each mutant has to be found. */
  readonly seeds: number;
  readonly workers: number;
  /** Only those whose names contain it. */
  readonly only: string;
  readonly log: (line: string) => void;
}

/** Whether every mutant is found: a simulator that cannot see a bug says nothing about its absence. */
export async function findMutants(options: MutantRun): Promise<boolean> {
  const chosen = mutants.filter(({ name }) => name.includes(options.only));
  let alive = 0;
  for (const mutant of chosen) {
    const found = await find(mutant, options);
    if (!found) alive++;
  }
  options.log(`${chosen.length - alive} of ${chosen.length} mutants found`);
  return alive === 0;
}

async function find(mutant: Mutant, { from, seeds, workers, log }: MutantRun): Promise<boolean> {
  const said: string[] = [];
  const campaign = new Campaign({
    from,
    seeds,
    workers,
    firstOnly: true,
    log: (line) => said.push(line),
    execArgv: ['--import', join(import.meta.dirname, 'mutant-hook.ts')],
    env: { SIMULATE_MUTANT: JSON.stringify(mutant) },
  });
  const totals = await campaign.run();
  const isFound = totals.failed.length > 0;
  const result = isFound
    ? `found after ${totals.seeds} seeds`
    : `ALIVE after ${totals.seeds} seeds`;
  log(`${result}: ${mutant.name}`);
  if (isFound) log(`    ${said[0]?.split('\n')[0]?.slice(0, 160)}`);
  return isFound;
}
