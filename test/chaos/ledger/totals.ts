import { violationKinds } from '../../history/violations.ts';
import type { CountedKind } from '../faults/fault.ts';
import { describeOutages, quantile } from '../outages.ts';
import { countingEntries, type LedgerEntry, readLedger } from './ledger.ts';

type Counts = Readonly<Partial<Record<CountedKind, number>>>;

/** What the accumulated runs must reach. */
const wantedCounts: Counts = {
  sigkill: 200,
  sigstop: 40,
  partition: 40,
  powerLoss: 20,
  corruption: 20,
  fullDisk: 10,
};
const lostJournal = ['journal killed', 'journal stopped', 'journal cut off from all'];
/** Longest write outage, p99 in ms, by what the shard lost; what has lost nothing is there to compare with. */
const toldOutages: readonly (readonly [kinds: readonly string[], lost: string, ms?: number])[] = [
  [lostJournal, 'nothing lost'],
  [lostJournal, 'follower lost', 200],
  [['journal killed'], 'leader lost', 1_000],
  [['journal stopped', 'journal cut off from all'], 'leader lost', 4_000],
];

export function sumOfCounts(all: readonly Counts[]): Partial<Record<CountedKind, number>> {
  const sum: Partial<Record<CountedKind, number>> = {};
  for (const counts of all) {
    for (const [kind, count] of Object.entries(counts) as [CountedKind, number][]) {
      sum[kind] = (sum[kind] ?? 0) + count;
    }
  }
  return sum;
}

/** Faults that are missing, by kind; none when it is empty. */
export function missingCounts(counts: Counts): [kind: CountedKind, missing: number][] {
  const wanted = Object.entries(wantedCounts) as [CountedKind, number][];
  return wanted
    .map(([kind, least]): [CountedKind, number] => [kind, least - (counts[kind] ?? 0)])
    .filter(([, missing]) => missing > 0);
}

/** Lines of `pnpm chaos --totals`. */
export function totals(): string[] {
  const all = readLedger();
  const entries = countingEntries(all);
  const sum = (of: (entry: LedgerEntry) => number): number =>
    entries.reduce((total, entry) => total + of(entry), 0);
  const counts = sumOfCounts(entries.map((entry) => entry.counts));
  const lines = [
    `${entries.length} of ${all.length} runs count: ${sum((entry) => (entry.journals > 3 ? 1 : 0))} with more than three journals, ${sum((entry) => (entry.tls ? 1 : 0))} with TLS`,
  ];
  for (const [kind, wanted] of Object.entries(wantedCounts) as [CountedKind, number][]) {
    lines.push(row(kind, counts[kind] ?? 0, wanted));
  }
  for (const [kind, count] of Object.entries(counts) as [CountedKind, number][]) {
    if (wantedCounts[kind] === undefined) lines.push(`${kind.padEnd(40)} ${count}`);
  }
  const acknowledged = sum((entry) => entry.acknowledged);
  lines.push(`${'acknowledged records'.padEnd(40)} ${acknowledged}`);
  for (const kind of violationKinds) {
    const found = sum((entry) => entry.violations[kind]);
    lines.push(bound(kind, found, 0));
  }
  const stuck = sum((entry) => (entry.stuck ? 1 : 0));
  lines.push(bound('runs that did not go on', stuck, 0));
  const longestMs = Math.max(0, ...entries.map((entry) => entry.longestMs));
  lines.push(`${'longest without an acknowledgement, ms'.padEnd(40)} ${longestMs}`);
  return [...lines, ...outageLines(entries)];
}

function outageLines(entries: readonly LedgerEntry[]): string[] {
  const outages = new Map<string, number[]>();
  for (const entry of entries) {
    for (const [kind, times] of Object.entries(entry.outages)) {
      outages.set(kind, [...(outages.get(kind) ?? []), ...times]);
    }
  }
  const lines = toldOutages.map(([kinds, lost, ms]) => {
    const times = kinds.flatMap((kind) => outages.get(`${kind}, ${lost}`) ?? []);
    const name = `${kinds.join(' or ')}, ${lost}: p99 ms of ${times.length}`;
    if (times.length === 0) return `${name.padEnd(40)} MISSING`;
    const p99 = quantile(times, 0.99);
    return ms === undefined ? `${name.padEnd(40)} ${p99}` : bound(name, p99, ms);
  });
  return [...lines, '', ...describeOutages(Object.fromEntries(outages))];
}

function row(name: string, found: number, least: number): string {
  return `${name.padEnd(40)} ${found} (at least ${least})${found >= least ? '' : ', MISSING'}`;
}

function bound(name: string, found: number, most: number): string {
  return `${name.padEnd(40)} ${found} (at most ${most})${found <= most ? '' : ', MISSED'}`;
}
