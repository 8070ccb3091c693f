import { FilterScan } from './filter-scan.ts';
import type { RetainedEntry } from './retained-entry.ts';
import type { RetainedFold } from './retained-fold.ts';

/** Everything in a fold that the filter matches, in the order of names. */
export function matchesOf(fold: RetainedFold, filter: string, nowMs: number): RetainedEntry[] {
  const found: RetainedEntry[] = [];
  const take = (entry: RetainedEntry): boolean => found.push(entry) > 0;
  const search = { scan: new FilterScan(filter), nowMs, looks: Number.POSITIVE_INFINITY, take };
  fold.search(search, '');
  return found;
}
