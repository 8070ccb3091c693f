/**
 * `pnpm chaos --journals N --rounds N --runs N --seed S`: real processes under load, with faults that the
 * seed draws; the checkers decide. `--only NAME`: only faults with that in their name. `--hand`: a fixed
 * number of each instead of rounds. `--tls`: between the tiers. `--disks small|own`. `--plain`: without what
 * needs root. `--placement-away MINUTES`: that alone, under load. `--budget 40m`: a series of hands until what issue 3 wants is reached, or the time is over.
 * `--ledger`: appends each run to the ledger; `--totals`: what the ledger amounts to.
 */
import { parseArgs } from 'node:util';

import type { ChaosResult } from './chaos-options.ts';
import { Deck } from './faults/deck.ts';
import type { FaultSource } from './faults/fault.ts';
import { Hand } from './faults/hand.ts';
import { PlacementAway } from './faults/placement-away.ts';
import { SeededRandom } from './kill/seeded-random.ts';
import { currentCommit } from './ledger/ledger.ts';
import { runSeries } from './ledger/series.ts';
import { sumOfCounts, totals } from './ledger/totals.ts';
import { describeOutages, OutageTable } from './outages.ts';
import { isRight, runAndTell } from './told-run.ts';

const { values } = parseArgs({
  options: {
    rounds: { type: 'string', default: '20' },
    journals: { type: 'string', default: '3' },
    runs: { type: 'string' },
    seed: { type: 'string' },
    only: { type: 'string' },
    disks: { type: 'string' },
    hand: { type: 'boolean', default: false },
    tls: { type: 'boolean', default: false },
    'placement-away': { type: 'string' },
    plain: { type: 'boolean', default: false },
    budget: { type: 'string' },
    ledger: { type: 'boolean', default: false },
    totals: { type: 'boolean', default: false },
  },
});

// Ends what was started, too.
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => process.exit(1));

if (values.totals) for (const line of totals()) console.log(line);
else {
  const firstSeed = Number(values.seed ?? Math.floor(Math.random() * 2 ** 31));
  const commit = values.ledger ? currentCommit() : undefined;
  const budgetMs = values.budget === undefined ? undefined : minutesOf(values.budget) * 60_000;
  const results =
    budgetMs === undefined
      ? await runEach(firstSeed, commit)
      : await runSeries({ budgetMs, firstSeed, commit });
  tellAll(results);
}

async function runEach(
  first: number,
  commit: string | undefined,
): Promise<(ChaosResult | undefined)[]> {
  const { plain, tls } = values;
  const journals = Number(values.journals);
  const { plan, faults } = planOf();
  const runs = Number(
    values.runs ?? (values.seed === undefined && plan.startsWith('--rounds') ? 3 : 1),
  );
  const results: (ChaosResult | undefined)[] = [];
  for (let seed = first; seed < first + runs; seed++) {
    const disks = disksOf(seed);
    const flags = `${plan} --journals ${journals} --disks ${disks}${tls ? ' --tls' : ''}${plain ? ' --plain' : ''}`;
    results.push(await runAndTell({ seed, journals, faults, disks, tls, plain, flags, commit }));
  }
  return results;
}

/** What is done, and the flags that say so. */
function planOf(): { plan: string; faults: (random: SeededRandom) => FaultSource } {
  const { only, hand, 'placement-away': away } = values;
  if (hand) return { plan: '--hand', faults: (random) => new Hand(random) };
  if (away !== undefined) {
    const minutes = Number(away);
    if (!(minutes > 0))
      throw new Error(`--placement-away ${away}: must be minutes, for example 10`);
    return { plan: `--placement-away ${minutes}`, faults: () => new PlacementAway(minutes) };
  }
  const rounds = Number(values.rounds);
  const plan = `--rounds ${rounds}${only === undefined ? '' : ` --only '${only}'`}`;
  return { plan, faults: () => new Deck(rounds, only) };
}

/** As the seed says, unless it is given. */
function disksOf(seed: number): 'small' | 'own' {
  const { disks } = values;
  if (disks === 'small' || disks === 'own') return disks;
  if (disks !== undefined) throw new Error(`--disks ${disks}: must be small or own`);
  return new SeededRandom(seed).below(2) === 0 ? 'small' : 'own';
}

function minutesOf(text: string): number {
  const minutes = Number(/^(\d+)m$/.exec(text)?.[1]);
  if (!(minutes > 0)) throw new Error(`--budget ${text}: must be minutes, for example 40m`);
  return minutes;
}

function tellAll(results: readonly (ChaosResult | undefined)[]): void {
  const table = new OutageTable();
  for (const result of results) {
    for (const [kind, times] of Object.entries(result?.outages ?? {})) {
      for (const ms of times) table.add(kind, ms);
    }
  }
  for (const line of describeOutages(table.all())) console.log(line);
  const acknowledged = results.reduce((sum, result) => sum + (result?.acknowledged ?? 0), 0);
  const counts = sumOfCounts(results.map((result) => result?.counts ?? {}));
  console.log(`${acknowledged} acknowledged; ${JSON.stringify(counts)}`);
  const failed = results.filter((result) => !isRight(result)).length;
  const verdict = failed === 0 ? 'nothing was lost' : `${failed} of ${results.length} runs failed`;
  console.log(`chaos: ${verdict}`);
  process.exitCode = failed === 0 ? 0 : 1;
}
