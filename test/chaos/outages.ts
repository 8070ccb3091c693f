/** Longest times without a successful write, in ms, by what was done and what the shard lost. */
export type Outages = Readonly<Record<string, readonly number[]>>;

export class OutageTable {
  readonly #found = new Map<string, number[]>();

  add(kind: string, ms: number): void {
    const times = this.#found.get(kind) ?? [];
    this.#found.set(kind, times);
    times.push(Math.round(ms));
  }

  all(): Outages {
    return Object.fromEntries(this.#found);
  }
}

/** Lines of a table, worst first. */
export function describeOutages(outages: Outages): string[] {
  const rows = Object.entries(outages).map(([kind, times]) => {
    const sorted = times.toSorted((a, b) => a - b);
    return {
      kind,
      count: sorted.length,
      p50: at(sorted, 0.5),
      p99: at(sorted, 0.99),
      max: at(sorted, 1),
    };
  });
  return rows
    .sort((a, b) => b.p99 - a.p99)
    .map(
      ({ kind, count, p50, p99, max }) =>
        `${kind.padEnd(44)} ${String(count).padStart(5)} shards, p50 ${p50} ms, p99 ${p99} ms, longest ${max} ms`,
    );
}

/** The value at a fraction of a sorted list; 0 of an empty one. */
function at(sorted: readonly number[], fraction: number): number {
  return sorted[Math.min(sorted.length - 1, Math.floor(fraction * sorted.length))] ?? 0;
}

export function quantile(times: readonly number[], fraction: number): number {
  return at(
    times.toSorted((a, b) => a - b),
    fraction,
  );
}
