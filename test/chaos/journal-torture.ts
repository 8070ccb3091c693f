/**
 * `pnpm torture --rounds N --seed S`: a journal and placement are killed, stopped
 * and restarted under writers and readers; the checker decides.
 */
import { parseArgs } from 'node:util';

import { tortureJournal } from './torture/torture-run.ts';

const { values } = parseArgs({
  options: {
    rounds: { type: 'string', default: '100' },
    seed: { type: 'string' },
    'data-dir': { type: 'string' },
  },
});
const rounds = Number(values.rounds);
const seed = Number(values.seed ?? Math.floor(Math.random() * 2 ** 31));
const dataDir = values['data-dir'];
console.log(`repeat with: pnpm torture --rounds ${rounds} --seed ${seed}`);
const result = await tortureJournal({
  seed,
  rounds,
  log: (line) => console.log(line),
  ...(dataDir === undefined ? {} : { dataDir }),
});
const { violations, acknowledged, reads, segments, counts, slowestMs } = result;
console.log(`${acknowledged} acknowledged, ${reads} reads, ${segments} segments at the end`);
console.log(
  `${counts.kills} SIGKILL (${counts.killsBeforeReady} during a start), ${counts.stops} SIGSTOP, ` +
    `${counts.drains} SIGTERM; slowest return ${slowestMs.toFixed(0)} ms`,
);
for (const violation of violations) console.log(`VIOLATION ${violation}`);
process.exitCode = violations.length === 0 ? 0 : 1;
