import type { DiskRate } from '../measure/disk-rate.ts';
import type { PerRole } from '../measure/process-usage.ts';
import { total } from '../measure/process-usage.ts';
import { median } from '../measure/statistics.ts';
import { inMs } from '../scenario-outcome.ts';
import type { AppendRun } from './append-run.ts';
import type { JournalRound } from './journal-bench.ts';

const MIB = 1024 ** 2;

export function inMebibytesPerSecond(bytesPerSecond: number): string {
  return `${(bytesPerSecond / MIB).toFixed(0)} MiB/s`;
}

/** A run in three lines: what came through, what the processors did, what the log did. */
export function describeRun(name: string, run: AppendRun): string {
  const { bytesPerSecond, p50Ms, p99Ms, cpuSecondsPerGib, coresBusy, log } = run;
  return [
    `  ${name.padEnd(6)}  ${inMebibytesPerSecond(bytesPerSecond)}, batch p50 ${inMs(p50Ms)}, p99 ${inMs(p99Ms)}`,
    `          CPU s/GiB ${inFull(cpuSecondsPerGib)}; ${total(coresBusy).toFixed(2)} cores busy`,
    `          log: ${log.syncsPerSecond.toFixed(0)} syncs/s of ${(log.bytesPerSync / MIB).toFixed(2)} MiB, ${inMs(log.msPerSync)} each, written ${log.logShare.toFixed(2)} × to logs and ${log.segmentShare.toFixed(2)} × to segment files`,
  ].join('\n');
}

function inFull(values: PerRole): string {
  const each = Object.entries(values).map(([role, value]) => `${role} ${value.toFixed(2)}`);
  return `${each.join(', ')}, together ${total(values).toFixed(2)}`;
}

/** The medians of the rounds' ratios with their spread, and what has to be reached. */
export function renderRatios(rounds: readonly JournalRound[]): string {
  const t1 = rounds.map(({ one }) => one.bytesPerSecond);
  const rows = [
    ratio('T1 / D', rounds, ({ one, disk }) => one.bytesPerSecond / disk.prepared, 0.35),
    ratio('T1 / D of a new file', rounds, ({ one, disk }) => one.bytesPerSecond / disk.fresh),
    ratio('T1 / both in turn', rounds, ({ one, disk }) => one.bytesPerSecond / bothInTurn(disk)),
    ratio('T3 / T1', rounds, ({ one, three }) => three.bytesPerSecond / one.bytesPerSecond, 0.25),
  ];
  return [
    '| ratio | median | from | to | at least | reached |',
    '|-------|--------|------|----|----------|---------|',
    ...rows,
    '',
    `D, sequential writes of 4 MiB with fdatasync over a prepared file: ${medianRate(rounds.map(({ disk }) => disk.prepared))}; into a new file: ${medianRate(rounds.map(({ disk }) => disk.fresh))}`,
    `each byte once in both, as a journal writes it, and nothing else: ${medianRate(rounds.map(({ disk }) => bothInTurn(disk)))}`,
    `T1, one journal: ${medianRate(t1)}; T3, three journals: ${medianRate(rounds.map(({ three }) => three.bytesPerSecond))}`,
  ].join('\n');
}

/** Bytes a second when each is written to a prepared file and to a new one, one after the other. */
function bothInTurn({ prepared, fresh }: DiskRate): number {
  return 1 / (1 / prepared + 1 / fresh);
}

function medianRate(rates: readonly number[]): string {
  return inMebibytesPerSecond(median(rates));
}

function ratio(
  name: string,
  rounds: readonly JournalRound[],
  of: (round: JournalRound) => number,
  atLeast?: number,
): string {
  const ratios = rounds.map(of);
  const middle = median(ratios);
  const least = atLeast === undefined ? '-' : `≥ ${atLeast}`;
  const reached = atLeast === undefined ? '-' : middle >= atLeast ? 'yes' : 'no';
  const figures = [middle, Math.min(...ratios), Math.max(...ratios)].map((of) => of.toFixed(2));
  return `| ${[name, ...figures, least, reached].join(' | ')} |`;
}
