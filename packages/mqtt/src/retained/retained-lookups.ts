import { type Clock, TurnTask } from '@robustmq/core';
import type { MqttRetainedLookup, MqttRetainedPage, MqttRetainedPlace } from '@robustmq/rpc';

import { hasWildcard } from '../codec/topic.ts';
import { FilterScan } from './filter-scan.ts';
import type { RetainedEntry } from './retained-entry.ts';
import type { RetainedFold, RetainedSearch } from './retained-fold.ts';

const pageBytes = 256 * 1024;
/** Names that a page is searched for among at most: the caller is answered, and asks for the next. */
const pageLooks = 50_000;
/** Names that are looked at in one turn, by all searches, and by one before the next has its turn. */
const turnLooks = 1_000;
const searchLooks = 250;

type Done = (page: MqttRetainedPage) => void;

/**
 * Searches for pages of retained messages, a bounded piece in a turn, all searches in turn. A page says
 * where the next begins, by name: any owner can go on there, and nothing is kept between two pages.
 */
export class RetainedLookups {
  readonly #clock: Clock;
  readonly #task = new TurnTask(() => this.#turn());
  #searches: { readonly search: PageSearch; readonly done: Done }[] = [];

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** A page of what the folds have. A name without wildcards is one look-up in each, and answered at once. */
  page(lookup: MqttRetainedLookup, folds: readonly RetainedFold[], done: Done): void {
    const nowMs = this.#clock.wallMs();
    if (!hasWildcard(lookup.filter)) {
      done({ messages: exactMatches(lookup, folds, nowMs), next: undefined });
      return;
    }
    this.#searches.push({ search: new PageSearch(lookup, folds, nowMs), done });
    this.#task.schedule();
  }

  /** Forgets those who wait. */
  stop(): void {
    this.#searches = [];
  }

  #turn(): void {
    for (let left = turnLooks; left > 0; left -= searchLooks) {
      const first = this.#searches.shift();
      if (first === undefined) return;
      if (first.search.goOn(searchLooks)) first.done(first.search.page());
      else this.#searches.push(first);
    }
    if (this.#searches.length > 0) this.#task.schedule();
  }
}

function exactMatches(
  { filter, from }: MqttRetainedLookup,
  folds: readonly RetainedFold[],
  nowMs: number,
): Buffer[] {
  const first = from?.shardId ?? 0;
  return folds.flatMap((fold) => {
    const entry = fold.shardId < first ? undefined : fold.get(filter, nowMs);
    return entry === undefined ? [] : [entry.encoded];
  });
}

/** The search for one page, over the folds in the order of their shards. */
class PageSearch implements RetainedSearch {
  readonly scan: FilterScan;
  readonly nowMs: number;
  looks = 0;
  readonly #folds: RetainedFold[];
  readonly #limit: number;
  readonly #messages: Buffer[] = [];
  #bytes = 0;
  #looksLeft = pageLooks;
  #isFull = false;
  /** Where it goes on; undefined: it has found everything. */
  #next: MqttRetainedPlace | undefined;

  constructor(
    { filter, from, limit }: MqttRetainedLookup,
    folds: readonly RetainedFold[],
    nowMs: number,
  ) {
    this.scan = new FilterScan(filter);
    this.nowMs = nowMs;
    this.#limit = limit === 0 ? Number.POSITIVE_INFINITY : limit;
    const first = from?.shardId ?? 0;
    this.#folds = folds
      .filter(({ shardId }) => shardId >= first)
      .toSorted((a, b) => a.shardId - b.shardId);
    this.#next = this.#beginOfFirst(from);
  }

  /** Looks at so many names. True: the page is complete. */
  goOn(looks: number): boolean {
    this.looks = Math.min(looks, this.#looksLeft);
    this.#looksLeft -= this.looks;
    while (this.#next !== undefined && !this.#isFull && this.looks > 0) {
      const [fold] = this.#folds;
      if (fold === undefined) break;
      const name = fold.search(this, this.#next.name);
      if (name !== undefined) {
        this.#next = { shardId: fold.shardId, name };
        continue;
      }
      this.#folds.shift();
      this.#next = this.#beginOfFirst(undefined);
    }
    return this.#next === undefined || this.#isFull || this.#looksLeft === 0;
  }

  take({ encoded }: RetainedEntry): boolean {
    const fits = this.#bytes === 0 || this.#bytes + encoded.length <= pageBytes;
    if (!fits || this.#messages.length >= this.#limit) {
      this.#isFull = true;
      return false;
    }
    this.#messages.push(encoded);
    this.#bytes += encoded.length;
    return true;
  }

  page(): MqttRetainedPage {
    return { messages: this.#messages, next: this.#next };
  }

  #beginOfFirst(from: MqttRetainedPlace | undefined): MqttRetainedPlace | undefined {
    const [fold] = this.#folds;
    if (fold === undefined) return undefined;
    return { shardId: fold.shardId, name: fold.shardId === from?.shardId ? from.name : '' };
  }
}
