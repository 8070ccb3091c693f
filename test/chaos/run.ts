/** `pnpm chaos --rounds N --journals N --seed S`: SIGKILL under load for long, the checker decides. */
import { parseArgs } from 'node:util';

import { runKills } from './kill/kill-run.ts';

const { values } = parseArgs({
  options: {
    rounds: { type: 'string', default: '20' },
    journals: { type: 'string', default: '1' },
    runs: { type: 'string', default: '3' },
    seed: { type: 'string' },
  },
});
const first = Number(values.seed ?? Math.floor(Math.random() * 2 ** 31));
const rounds = Number(values.rounds);
const journals = Number(values.journals);
const runs = values.seed === undefined ? Number(values.runs) : 1;
const victims = ['journal', 'broker', 'placement'] as const;

let failed = 0;
for (let seed = first; seed < first + runs; seed++) {
  const flags = `--rounds ${rounds} --journals ${journals} --seed ${seed}`;
  console.log(`seed ${seed}, repeat with: pnpm chaos ${flags}`);
  try {
    const result = await runKills({
      seed,
      rounds,
      journals,
      victims,
      log: (line) => console.log(`  ${line}`),
    });
    const { violations, acknowledged, duplicates, kills } = result;
    console.log(`  ${acknowledged} acknowledged, ${duplicates} QoS 1 duplicates, ${kills} kills`);
    for (const violation of violations) console.log(`  VIOLATION ${violation}`);
    if (violations.length > 0) failed++;
  } catch (thrown) {
    console.log(String(thrown));
    failed++;
  }
}
console.log(failed === 0 ? 'chaos: nothing was lost' : `chaos: ${failed} of ${runs} runs failed`);
process.exitCode = failed === 0 ? 0 : 1;
