import { type Offset, offset, type ShardId } from '@robustmq/core';
import { type DecodedBatch, entitiesOf, EntityTable } from '@robustmq/kernel';
import type { FilterScan } from './filter-scan.ts';
import { NameList } from './name-list.ts';
import {
  decodeRetainedEntry,
  newRetainedEntry,
  type RetainedEntry,
  retainedEntryBytes,
} from './retained-entry.ts';
import { RetainReader } from './retain-reader.ts';

/** What all folds of one coordinator share. */
export interface RetainedBudget {
  bytes: number;
  messages: number;
  /** What would make more bytes is not kept. */
  readonly bytesMax: number;
  /** A message is not kept for lack of room. */
  refused(topic: string): void;
}

/** How far a search may still go, and what it does with a match. */
export interface RetainedSearch {
  readonly scan: FilterScan;
  readonly nowMs: number;
  /** Names that it may still look at. */
  looks: number;
  /** Takes a match. False: there is no room for it. */
  take(entry: RetainedEntry): boolean;
}

const sweepYieldsAfter = 1000;

/** The MQTT name of a record with that key; null: it has none. */
export type NameOfKey = (key: Buffer | null) => string | null;

/**
 * The retained messages of one partition: a fold of its records up to `position`. A record with
 * `mqtt.retain` sets its name's message, one with a null value (or an empty one) clears it
 * [MQTT5-3.3.1-5, -3.3.1-6]; nothing else touches it.
 */
export class RetainedFold {
  readonly shardId: ShardId;
  readonly #budget: RetainedBudget;
  readonly #reader = new RetainReader();
  readonly #entries = new EntityTable<string, RetainedEntry>((_, entry) => entry.encoded);
  readonly #names = new NameList();
  /** Names of messages that expire. */
  readonly #expiring = new Set<string>();
  #position: number;
  #bytes = 0;

  constructor(shardId: ShardId, position: Offset, budget: RetainedBudget) {
    this.shardId = shardId;
    this.#position = position;
    this.#budget = budget;
  }

  /** Every record before it is in the fold. */
  get position(): Offset {
    return offset(this.#position);
  }

  get size(): number {
    return this.#entries.size;
  }

  /** Takes the next batch. */
  batch(batch: DecodedBatch, nameOf: NameOfKey): void {
    const { cursor } = batch;
    while (cursor.next()) {
      if (!this.#reader.read(cursor)) continue;
      const { buffer, keyStart, keyEnd } = cursor;
      const name = nameOf(keyStart < 0 ? null : buffer.subarray(keyStart, keyEnd));
      if (name !== null) this.#retain(name, batch);
    }
    this.#position = batch.nextOffset;
  }

  /** Nothing before `position` concerns the fold any more. */
  moveTo(position: Offset): void {
    this.#position = Math.max(this.#position, position);
  }

  /** The message of a name, unless it has expired. */
  get(topic: string, nowMs: number): RetainedEntry | undefined {
    const entry = this.#entries.get(topic);
    return entry !== undefined && entry.expiresAtMs > nowMs ? entry : undefined;
  }

  /**
   * Searches on from the name `from`, in the order of names. Returns the name from which it has to go on
   * when it ends for lack of looks or room; undefined: it has found everything.
   */
  search(search: RetainedSearch, from: string): string | undefined {
    const { scan, nowMs } = search;
    const walk = this.#names.walk(from > scan.first ? from : scan.first);
    for (let { name } = walk; name !== undefined; { name } = walk) {
      if (search.looks-- <= 0) return name;
      const candidate = scan.candidate(name);
      if (candidate === undefined) return undefined;
      if (candidate !== name) {
        walk.seek(candidate);
        continue;
      }
      const entry = this.get(name, nowMs);
      if (entry !== undefined && !search.take(entry)) return name;
      walk.next();
    }
    return undefined;
  }

  /** Forgets what has expired; yields now and then. */
  *sweep(nowMs: number): Generator<void, undefined> {
    let looked = 0;
    for (const topic of this.#expiring) {
      const entry = this.#entries.get(topic);
      if (entry !== undefined && entry.expiresAtMs <= nowMs) this.#delete(topic);
      if (++looked % sweepYieldsAfter === 0) yield;
    }
    return undefined;
  }

  snapshot(): Iterator<Buffer> {
    return this.#entries.snapshot();
  }

  restore(entry: RetainedEntry): void {
    this.#set(entry);
  }

  /** Gives its share of the budget back; it is not used any more. */
  forget(): void {
    this.#budget.bytes -= this.#bytes;
    this.#budget.messages -= this.#entries.size;
    this.#expiring.clear();
  }

  #retain(topic: string, batch: DecodedBatch): void {
    const { cursor, appendTimeMs, shardId } = batch;
    const { buffer, valueStart, valueEnd } = cursor;
    this.#delete(topic);
    if (valueStart < 0 || valueStart === valueEnd) return;
    const { expiryMs } = this.#reader;
    const entry = newRetainedEntry({
      topic,
      shardId,
      offset: batch.baseOffset + cursor.offsetDelta,
      appendTimeMs,
      expiresAtMs: expiryMs < 0 ? undefined : appendTimeMs + expiryMs,
      value: buffer.subarray(valueStart, valueEnd),
      headers: this.#reader.headers(),
    });
    if (this.#budget.bytes + retainedEntryBytes(entry) > this.#budget.bytesMax) {
      this.#budget.refused(topic);
      return;
    }
    this.#set(entry);
  }

  #set(entry: RetainedEntry): void {
    this.#delete(entry.topic);
    this.#count(entry, 1);
    this.#entries.set(entry.topic, entry);
    this.#names.add(entry.topic);
    if (Number.isFinite(entry.expiresAtMs)) this.#expiring.add(entry.topic);
  }

  #delete(topic: string): void {
    const entry = this.#entries.get(topic);
    if (entry === undefined) return;
    this.#count(entry, -1);
    this.#entries.delete(topic);
    this.#names.delete(topic);
    this.#expiring.delete(topic);
  }

  #count(entry: RetainedEntry, messages: 1 | -1): void {
    const bytes = messages * retainedEntryBytes(entry);
    this.#bytes += bytes;
    this.#budget.bytes += bytes;
    this.#budget.messages += messages;
  }
}

/** The entries of a chunk of a fold's snapshot. */
export function* retainedEntriesOf(chunk: Buffer): Generator<RetainedEntry, undefined> {
  for (const piece of entitiesOf(chunk)) yield decodeRetainedEntry(piece);
  return undefined;
}
