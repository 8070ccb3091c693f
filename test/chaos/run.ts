/**
 * `pnpm chaos --journals N --rounds N --runs N --seed S`: real processes under load, with faults that the
 * seed draws; the checkers decide. `--only NAME`: only faults with that in their name. `--plain`: without
 * what needs root. `--ledger`: appends each run to the ledger; `--totals`: what the ledger amounts to.
 */
import { parseArgs } from 'node:util';

import { runChaos } from './chaos-run.ts';
import { appendToLedger, currentCommit } from './ledger/ledger.ts';
import { totals } from './ledger/totals.ts';
import { describeOutages, OutageTable } from './outages.ts';

const { values } = parseArgs({
  options: {
    rounds: { type: 'string', default: '20' },
    journals: { type: 'string', default: '3' },
    runs: { type: 'string' },
    seed: { type: 'string' },
    only: { type: 'string' },
    plain: { type: 'boolean', default: false },
    ledger: { type: 'boolean', default: false },
    totals: { type: 'boolean', default: false },
  },
});

// Ends what was started, too.
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => process.exit(1));

if (values.totals) for (const line of totals()) console.log(line);
else await runAll();

async function runAll(): Promise<void> {
  const { only, plain, ledger } = values;
  const rounds = Number(values.rounds);
  const journals = Number(values.journals);
  const runs = Number(values.runs ?? (values.seed === undefined ? 3 : 1));
  const first = Number(values.seed ?? Math.floor(Math.random() * 2 ** 31));
  const commit = ledger ? currentCommit() : '';
  const table = new OutageTable();
  const counts: Record<string, number> = {};
  let [acknowledged, failed] = [0, 0];
  for (let seed = first; seed < first + runs; seed++) {
    const flags = `--journals ${journals} --rounds ${rounds} --seed ${seed}`;
    const more = `${only === undefined ? '' : ` --only '${only}'`}${plain ? ' --plain' : ''}`;
    console.log(`seed ${seed}, repeat with: pnpm chaos ${flags}${more}`);
    const entry = { commit, seed, journals, rounds };
    try {
      const log = (line: string): void => console.log(`  ${line}`);
      const options = { seed, journals, rounds, plain, log };
      const result = await runChaos({ ...options, ...(only !== undefined && { only }) });
      console.log(
        `  ${result.acknowledged} acknowledged, ${result.reads} reads, ${result.segments} segments`,
      );
      for (const violation of result.violations) console.log(`  VIOLATION ${violation}`);
      if (result.violations.length > 0) failed++;
      acknowledged += result.acknowledged;
      for (const [kind, count] of Object.entries(result.counts)) {
        counts[kind] = (counts[kind] ?? 0) + count;
      }
      for (const [kind, times] of Object.entries(result.outages)) {
        for (const ms of times) table.add(kind, ms);
      }
      if (ledger) {
        const { counts: own, outages } = result;
        const violations = result.violations.length;
        appendToLedger({
          ...entry,
          counts: own,
          acknowledged: result.acknowledged,
          violations,
          outages,
          stuck: false,
        });
      }
    } catch (thrown) {
      console.log(String(thrown));
      failed++;
      if (ledger) {
        const nothing = { counts: {}, acknowledged: 0, violations: 0, outages: {} };
        appendToLedger({ ...entry, ...nothing, stuck: true });
      }
    }
  }
  for (const line of describeOutages(table.all())) console.log(line);
  console.log(`${acknowledged} acknowledged; ${JSON.stringify(counts)}`);
  const verdict = failed === 0 ? 'nothing was lost' : `${failed} of ${runs} runs failed`;
  console.log(`chaos: ${verdict}`);
  process.exitCode = failed === 0 ? 0 : 1;
}
