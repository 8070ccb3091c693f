import type { ChaosResult } from '../chaos-options.ts';
import { Hand } from '../faults/hand.ts';
import { runAndTell } from '../told-run.ts';
import { countingEntries, readLedger } from './ledger.ts';
import { missingCounts, sumOfCounts } from './totals.ts';

export interface SeriesOptions {
  readonly budgetMs: number;
  readonly firstSeed: number;
  /** For the ledger; a try without. */
  readonly commit: string | undefined;
}

/**
 * Runs with a full hand of faults, one seed after the other, three and five journals by turns, some with TLS,
 * some on small disks, until what issue 3 wants is reached or the time is over. With a ledger, what is in it
 * already counts, too.
 */
export async function runSeries(options: SeriesOptions): Promise<(ChaosResult | undefined)[]> {
  const { budgetMs, firstSeed, commit } = options;
  const untilMs = performance.now() + budgetMs;
  const results: (ChaosResult | undefined)[] = [];
  while (performance.now() < untilMs) {
    const run = runOf(results.length);
    const seed = firstSeed + results.length;
    const faults = (random: ConstructorParameters<typeof Hand>[0]): Hand => new Hand(random);
    results.push(await runAndTell({ ...run, seed, faults, untilMs, commit }));
    const before = commit === undefined ? results : countingEntries(readLedger());
    const missing = missingCounts(sumOfCounts(before.map((each) => each?.counts ?? {})));
    if (missing.length === 0) break;
    const left = ((untilMs - performance.now()) / 60_000).toFixed(1);
    const wanted = missing.map(([kind, count]) => `${count} ${kind}`).join(', ');
    console.log(`still missing: ${wanted}; ${left} minutes left`);
  }
  return results;
}

/** What the series' run of that number is like. */
function runOf(at: number): {
  journals: number;
  tls: boolean;
  disks: 'small' | 'own';
  flags: string;
} {
  const journals = at % 2 === 0 ? 3 : 5;
  const tls = at % 3 === 2;
  const disks = at % 4 === 0 || at % 4 === 3 ? 'small' : 'own';
  const flags = `--hand --journals ${journals} --disks ${disks}${tls ? ' --tls' : ''}`;
  return { journals, tls, disks, flags };
}
