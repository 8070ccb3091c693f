import type { CountedKind } from '../faults/fault.ts';
import { describeOutages, quantile } from '../outages.ts';
import { countingEntries, readLedger } from './ledger.ts';

/** What the accumulated runs must reach. */
const wantedCounts: Readonly<Partial<Record<CountedKind, number>>> = {
  sigkill: 200,
  sigstop: 40,
  partition: 40,
  powerLoss: 20,
  corruption: 20,
  fullDisk: 10,
};
/** Longest write outage, p99 in ms: by the beginning of the kind, and what the shard lost. */
const wantedOutages: readonly (readonly [kinds: readonly string[], lost: string, ms: number])[] = [
  [['journal killed', 'journal stopped', 'journal cut off from all'], 'follower lost', 200],
  [['journal killed'], 'leader lost', 1_000],
  [['journal stopped', 'journal cut off from all'], 'leader lost', 4_000],
];

/** Lines of `pnpm chaos --totals`. */
export function totals(): string[] {
  const all = readLedger();
  const entries = countingEntries(all);
  const sum = (of: (entry: (typeof entries)[number]) => number): number =>
    entries.reduce((total, entry) => total + of(entry), 0);
  const lines = [`${entries.length} of ${all.length} runs count`];
  for (const [kind, wanted] of Object.entries(wantedCounts) as [CountedKind, number][]) {
    lines.push(
      row(
        kind,
        sum(({ counts }) => counts[kind] ?? 0),
        `at least ${wanted}`,
        wanted,
      ),
    );
  }
  lines.push(`${'acknowledged records'.padEnd(40)} ${sum((entry) => entry.acknowledged)}`);
  lines.push(
    bound(
      'violations',
      sum((entry) => entry.violations),
      0,
    ),
  );
  lines.push(
    bound(
      'runs that did not go on',
      sum((entry) => (entry.stuck ? 1 : 0)),
      0,
    ),
  );
  const outages = new Map<string, number[]>();
  for (const entry of entries) {
    for (const [kind, times] of Object.entries(entry.outages)) {
      outages.set(kind, [...(outages.get(kind) ?? []), ...times]);
    }
  }
  for (const [kinds, lost, ms] of wantedOutages) {
    const times = kinds.flatMap((kind) => outages.get(`${kind}, ${lost}`) ?? []);
    const name = `${kinds.join(' or ')}, ${lost}: p99 ms of ${times.length}`;
    lines.push(bound(name, quantile(times, 0.99), ms));
  }
  return [...lines, '', ...describeOutages(Object.fromEntries(outages))];
}

function row(name: string, found: number, wanted: string, least: number): string {
  return `${name.padEnd(40)} ${found} (${wanted})${found >= least ? '' : ', MISSING'}`;
}

function bound(name: string, found: number, most: number): string {
  return `${name.padEnd(40)} ${found} (at most ${most})${found <= most ? '' : ', MISSED'}`;
}
