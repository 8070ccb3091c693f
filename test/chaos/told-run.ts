import type { ChaosOptions, ChaosResult } from './chaos-options.ts';
import { runChaos } from './chaos-run.ts';
import { appendToLedger, checkFirstAttempt } from './ledger/ledger.ts';

export interface ToldRun extends Omit<ChaosOptions, 'log'> {
  /** Flags that repeat it, but for the seed. */
  readonly flags: string;
  /** Where the working tree is, for the ledger; no entry without. */
  readonly commit?: string | undefined;
}

/** A run that is told on the console, and in the ledger when it counts; its result, if it began. */
export async function runAndTell(run: ToldRun): Promise<ChaosResult | undefined> {
  const { flags, commit, ...options } = run;
  const { seed, journals, disks, tls = false } = options;
  if (commit !== undefined) checkFirstAttempt(seed);
  console.log(`seed ${seed}, repeat with: pnpm chaos ${flags} --seed ${seed}`);
  let result: ChaosResult | undefined;
  try {
    result = await runChaos({ ...options, log: (line) => console.log(`  ${line}`) });
    const { acknowledged, reads, segments, counts } = result;
    console.log(`  ${acknowledged} acknowledged, ${reads} reads, ${segments} segments`);
    console.log(`  ${JSON.stringify(counts)}`);
    for (const violation of result.violations) console.log(`  VIOLATION ${violation}`);
    if (result.stuck !== undefined) console.log(`  STUCK ${result.stuck}`);
  } catch (thrown) {
    console.log(`  FAILED ${String(thrown)}`);
  }
  if (commit !== undefined) appendToLedger({ commit, seed, journals, disks, tls }, result);
  return result;
}

export function isRight(result: ChaosResult | undefined): boolean {
  return result !== undefined && result.stuck === undefined && result.violations.length === 0;
}
