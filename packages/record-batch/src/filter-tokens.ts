import { limits } from '@robustmq/core';
import { crc32c } from './crc32c.ts';

/**
 * Key filters. A record's tokens are the CRC32C of its whole MQTT name and, with another seed, of each
 * level-wise prefix: for `a/b` the name `a/b` and the prefixes `a` and `a/b` (the last one because a
 * subscription to `a/b/#` matches `a/b` too). A filter is the sorted distinct tokens of a batch, u32
 * little-endian each; an empty one says nothing and matches everything. Filters are advisory: what matches
 * is looked at again, and what does not match has no record with that token.
 */
export const TOKENS_PER_NAME_MAX = 8;
const PREFIX_LEVELS_MAX = TOKENS_PER_NAME_MAX - 1;
const TOKEN_BYTES = 4;
/** As the CRC of something before: the name `a` and the prefix `a` never have the same token. */
const PREFIX_SEED = 0x70726566;
const SLASH = 0x2f;

/** The token that every record with exactly this name has. */
export function nameToken(name: Uint8Array): number {
  return crc32c(name);
}

/**
 * The token that every record whose name is `prefix` or begins with `prefix` and a `/` has. Levels beyond
 * the seventh do not count, so that any prefix may be asked for.
 */
export function prefixToken(prefix: Uint8Array): number {
  let end = -1;
  for (let level = 0; level < PREFIX_LEVELS_MAX && end < prefix.length; level++) {
    end = levelEnd(prefix, end + 1);
  }
  return crc32c(prefix, 0, end, PREFIX_SEED);
}

/** The tokens of a record with this name, at most {@link TOKENS_PER_NAME_MAX}, the name's own first. */
export function tokensOfName(name: Uint8Array): Uint32Array {
  const tokens = new Uint32Array(TOKENS_PER_NAME_MAX);
  tokens[0] = nameToken(name);
  let count = 1;
  let crc = PREFIX_SEED;
  let end = -1;
  while (count < TOKENS_PER_NAME_MAX && end < name.length) {
    const next = levelEnd(name, end + 1);
    crc = crc32c(name, Math.max(end, 0), next, crc);
    tokens[count++] = crc;
    end = next;
  }
  return tokens.slice(0, count);
}

/** Where the level that begins at `start` ends: at the next `/` or at the end. */
function levelEnd(name: Uint8Array, start: number): number {
  const slash = name.indexOf(SLASH, start);
  return slash === -1 ? name.length : slash;
}

/** Gathers the tokens of a batch's records. Reusable. */
export class FilterBuilder {
  readonly #tokens = new Set<number>();
  #last: Uint32Array | undefined;
  #matchesAll = false;

  /** Adds a record's tokens. The array may be kept and passed again: the same one twice in a row is free. */
  add(tokens: Uint32Array): void {
    if (tokens === this.#last || this.#matchesAll) return;
    this.#last = tokens;
    for (let index = 0; index < tokens.length; index++) this.#tokens.add(tokens[index] as number);
    if (this.#tokens.size > limits.filterTokensMax) this.matchAll();
  }

  /** For a record whose name is not known: the filter of this batch will match everything. */
  matchAll(): void {
    this.#matchesAll = true;
    this.#tokens.clear();
  }

  /** The filter's bytes, owned by the caller; empty when it matches everything. The builder is empty then. */
  finish(): Buffer {
    const sorted = Uint32Array.from(this.#tokens).sort();
    this.#tokens.clear();
    this.#last = undefined;
    this.#matchesAll = false;
    return encodeTokens(sorted);
  }
}

function encodeTokens(sorted: Uint32Array): Buffer {
  const filter = Buffer.allocUnsafeSlow(sorted.length * TOKEN_BYTES);
  for (let index = 0; index < sorted.length; index++) {
    filter.writeUInt32LE(sorted[index] as number, index * TOKEN_BYTES);
  }
  return filter;
}

/**
 * The filter of records that are behind either filter. Empty when one of them is, or with more than
 * `limits.filterTokensMax` tokens. Both have passed {@link isFilter}.
 */
export function mergeFilters(left: Buffer, right: Buffer): Buffer {
  if (left.length === 0 || right.length === 0) return Buffer.alloc(0);
  const tokens = new Set<number>();
  for (const filter of [left, right]) {
    for (let at = 0; at < filter.length; at += TOKEN_BYTES) tokens.add(filter.readUInt32LE(at));
  }
  if (tokens.size > limits.filterTokensMax) return Buffer.alloc(0);
  return encodeTokens(Uint32Array.from(tokens).sort());
}

/** Whether records with this token may be behind the filter in `buffer[start, end)`. */
export function filterMatches(
  buffer: Buffer,
  token: number,
  start = 0,
  end: number = buffer.length,
): boolean {
  if (start === end) return true;
  let low = 0;
  let high = (end - start) / TOKEN_BYTES - 1;
  while (low <= high) {
    const middle = (low + high) >>> 1;
    const found = buffer.readUInt32LE(start + middle * TOKEN_BYTES);
    if (found === token) return true;
    if (found < token) low = middle + 1;
    else high = middle - 1;
  }
  return false;
}

/** Whether `buffer[start, end)` is a filter: whole tokens, ascending, distinct, not too many. */
export function isFilter(buffer: Buffer, start = 0, end: number = buffer.length): boolean {
  const bytes = end - start;
  if (bytes % TOKEN_BYTES !== 0 || bytes > limits.filterTokensMax * TOKEN_BYTES) return false;
  let before = -1;
  for (let at = start; at < end; at += TOKEN_BYTES) {
    const token = buffer.readUInt32LE(at);
    if (token <= before) return false;
    before = token;
  }
  return true;
}
