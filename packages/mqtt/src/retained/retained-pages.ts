import type { MqttPosition, MqttRetainedPage } from '@robustmq/rpc';
import type { RetainedEntry } from './retained-entry.ts';

/** Lookups whose matches are remembered for their next page. */
const lookupsMax = 32;
const pageBytes = 256 * 1024;

/**
 * Cuts the matches of lookups into pages, in the order of shard and offset. A page says what it follows,
 * so any coordinator can go on; the matches of the last lookups are kept to spare the next search.
 */
export class RetainedPages {
  /** By filter and partitions; the oldest first. */
  readonly #remembered = new Map<string, readonly RetainedEntry[]>();

  /** `search` finds all matches when they are not remembered. */
  page(
    lookup: string,
    after: MqttPosition | undefined,
    search: () => RetainedEntry[],
  ): MqttRetainedPage {
    const remembered = after === undefined ? undefined : this.#remembered.get(lookup);
    const matches = remembered ?? search().toSorted(inOrder);
    this.#remembered.delete(lookup);
    const first = after === undefined ? 0 : firstAfter(matches, after);
    const messages: Buffer[] = [];
    let bytes = 0;
    for (let at = first; at < matches.length; at++) {
      const encoded = matches[at]?.encoded;
      if (encoded === undefined || (bytes > 0 && bytes + encoded.length > pageBytes)) break;
      messages.push(encoded);
      bytes += encoded.length;
    }
    const more = first + messages.length < matches.length;
    if (more) this.#remember(lookup, matches);
    return { messages, more };
  }

  clear(): void {
    this.#remembered.clear();
  }

  #remember(lookup: string, matches: readonly RetainedEntry[]): void {
    this.#remembered.set(lookup, matches);
    if (this.#remembered.size <= lookupsMax) return;
    for (const oldest of this.#remembered.keys()) {
      this.#remembered.delete(oldest);
      return;
    }
  }
}

function inOrder(a: MqttPosition, b: MqttPosition): number {
  return a.shardId - b.shardId || a.offset - b.offset;
}

/** Index of the first match behind a position, by bisection. */
function firstAfter(matches: readonly RetainedEntry[], after: MqttPosition): number {
  let low = 0;
  let high = matches.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    const entry = matches[middle];
    if (entry !== undefined && inOrder(entry, after) <= 0) low = middle + 1;
    else high = middle;
  }
  return low;
}
