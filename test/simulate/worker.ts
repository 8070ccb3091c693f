/** A process that runs the seeds it is given, one after the other. */
import { simulate } from './simulation.ts';
import { takeTurns } from './world/turns.ts';

takeTurns();
// Thousands of errors are made in each seed, and nobody looks where: `--seed` shows it.
Error.stackTraceLimit = 0;
process.on('message', (seeds: number[]) => {
  void run(seeds);
});
process.send?.({ kind: 'ready' });

async function run(seeds: readonly number[]): Promise<void> {
  for (const seed of seeds) {
    const result = await simulate(seed);
    process.send?.({ kind: 'result', result });
  }
  process.send?.({ kind: 'ready' });
}
