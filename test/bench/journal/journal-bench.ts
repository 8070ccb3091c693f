import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

import { Cluster } from '../../harness/cluster.ts';
import { measureSync, refuseMemoryDisk } from '../measure/data-disk.ts';
import { type DiskRate, measureDiskRate } from '../measure/disk-rate.ts';
import { machineLine } from '../measure/machine.ts';
import { type AppendRun, fillLogs, type JournalTier, runAppends } from './append-run.ts';
import { type JournalBenchOptions, journalUsage, parseJournalOptions } from './journal-options.ts';
import { describeRun, inMebibytesPerSecond, renderRatios } from './journal-report.ts';

/** What was measured in one round, in this order. */
export interface JournalRound {
  readonly disk: DiskRate;
  readonly one: AppendRun;
  readonly three: AppendRun;
}

/** `pnpm bench journal`: appends to one journal and to three, beside what the disk takes in the same run. */
export async function benchJournal(args: readonly string[]): Promise<void> {
  const options = parseJournalOptions(args);
  if (options === undefined) return console.log(journalUsage);
  mkdirSync(options.dataDir, { recursive: true });
  refuseMemoryDisk(options.dataDir);
  const conditions = conditionsOf(options);
  console.log(conditions.join('\n'));
  const dataDir = mkdtempSync(join(options.dataDir, 'robustmq-bench-'));
  // Ctrl-C ends the children, and with them the round; what was made on disk is still removed.
  process.once('SIGINT', () => {});
  try {
    const rounds = await measure(options, dataDir);
    console.log(`\n${renderRatios(rounds)}`);
    if (options.json !== undefined) {
      writeFileSync(options.json, `${JSON.stringify({ conditions, options, rounds }, null, 2)}\n`);
    }
  } finally {
    rmSync(dataDir, { recursive: true, force: true });
  }
}

function conditionsOf(options: JournalBenchOptions): string[] {
  const sync = measureSync(options.dataDir);
  return [
    `machine     ${machineLine()}`,
    `data        ${options.dataDir}: fdatasync of 4 KiB p50 ${sync.p50Ms.toFixed(2)} ms, p99 ${sync.p99Ms.toFixed(2)} ms`,
    'ours        one placement, one or three journals (fdatasync before every acknowledgement), shipped default configuration',
    `load        one process with the journal client over gRPC: records of ${options.recordBytes} B in batches of ${options.batchBytes} B, ack level quorum, ${options.shards} shards with ${options.window} batches under way each, ${options.warmUpSeconds} s warm-up and ${options.seconds} s measured each`,
  ];
}

async function measure(options: JournalBenchOptions, dataDir: string): Promise<JournalRound[]> {
  await using stack = new AsyncDisposableStack();
  const tiers: JournalTier[] = [];
  for (const journals of [1, 3]) {
    console.log(`starting ${journals} journal(s) and filling their logs`);
    const folder = join(dataDir, `journals-${journals}`);
    const cluster = stack.use(await Cluster.start({ dataDir: folder, journals, brokers: 0 }));
    const tier = { cluster, journals };
    await fillLogs(tier, options);
    tiers.push(tier);
  }
  const [one, three] = tiers;
  const rounds: JournalRound[] = [];
  if (one === undefined || three === undefined) return rounds;
  for (let number = 1; number <= options.rounds; number++) {
    console.log(`\nround ${number} of ${options.rounds}`);
    const disk = measureDiskRate(dataDir, options.seconds / 4);
    console.log(
      `  disk    ${inMebibytesPerSecond(disk.prepared)} over a prepared file, ${inMebibytesPerSecond(disk.fresh)} into a new one`,
    );
    const ofOne = await runAppends(one, options, `round-${number}`);
    console.log(describeRun('T1', ofOne));
    const ofThree = await runAppends(three, options, `round-${number}`);
    console.log(describeRun('T3', ofThree));
    rounds.push({ disk, one: ofOne, three: ofThree });
  }
  await Promise.all(tiers.map(drain));
  return rounds;
}

/** By SIGTERM, so that whoever profiles with NODE_OPTIONS=--cpu-prof gets what it wrote. */
async function drain({ cluster, journals }: JournalTier): Promise<void> {
  for (let number = 1; number <= journals; number++) await cluster.role(`journal-${number}`).stop();
}
