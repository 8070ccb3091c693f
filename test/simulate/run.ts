/**
 * `pnpm simulate`: the shipped servers on virtual time, network and disks, one seed after the other.
 * `--seed N` runs one and prints its trace; `--mutants` breaks one line of the code after the other, each of
 * which has to be found.
 */
import { availableParallelism } from 'node:os';
import { parseArgs } from 'node:util';
import { Campaign } from './campaign.ts';
import { findMutants } from './mutants/mutant-run.ts';
import { simulate } from './simulation.ts';
import { takeTurns } from './world/turns.ts';

const { values } = parseArgs({
  options: {
    seeds: { type: 'string', default: '1000' },
    from: { type: 'string', default: '1' },
    seed: { type: 'string' },
    mutants: { type: 'boolean', default: false },
    only: { type: 'string', default: '' },
    workers: { type: 'string', default: String(availableParallelism()) },
  },
});

process.exitCode = (await run()) ? 0 : 1;

function run(): Promise<boolean> {
  if (values.seed !== undefined) return one(Number(values.seed));
  if (!values.mutants) return many();
  return findMutants({
    from: Number(values.from),
    seeds: Number(values.seeds),
    workers: Number(values.workers),
    only: values.only,
    log: (line) => console.log(line),
  });
}

async function one(seed: number): Promise<boolean> {
  takeTurns();
  const result = await simulate(seed, (line) => console.log(line));
  console.log(JSON.stringify(result, undefined, 2));
  return result.violations.length === 0;
}

async function many(): Promise<boolean> {
  const from = Number(values.from);
  const seeds = Number(values.seeds);
  const campaign = new Campaign({
    from,
    seeds,
    workers: Number(values.workers),
    log: (line) => console.log(line),
  });
  console.log(`seeds ${from} to ${from + seeds - 1}`);
  const totals = await campaign.run();
  console.log(totals.text());
  return totals.failed.length === 0;
}
