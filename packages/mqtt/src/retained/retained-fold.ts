import { type Offset, offset, type ShardId } from '@robustmq/core';
import { type DecodedBatch, entitiesOf, EntityTable } from '@robustmq/kernel';
import { NameTrie } from './name-trie.ts';
import {
  decodeRetainedEntry,
  newRetainedEntry,
  type RetainedEntry,
  retainedEntryBytes,
} from './retained-entry.ts';
import { RetainReader } from './retain-reader.ts';

/** Bytes that all folds of one coordinator share. */
export interface RetainedBudget {
  bytes: number;
  readonly bytesMax: number;
  /** Messages that were not kept for lack of room. */
  refused: number;
}

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
  readonly #names = new NameTrie<RetainedEntry>();
  #position: number;

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

  /** Every message whose name the filter matches and that has not expired. */
  match(filter: string, nowMs: number, visit: (entry: RetainedEntry) => void): void {
    const expired: string[] = [];
    this.#names.match(filter, (entry) => {
      if (entry.expiresAtMs > nowMs) visit(entry);
      else expired.push(entry.topic);
    });
    for (const topic of expired) this.#delete(topic);
  }

  /** Forgets what has expired. */
  sweep(nowMs: number): void {
    for (const [topic, { expiresAtMs }] of this.#entries.entries()) {
      if (expiresAtMs <= nowMs) this.#delete(topic);
    }
  }

  snapshot(): Iterator<Buffer> {
    return this.#entries.snapshot();
  }

  restore(entry: RetainedEntry): void {
    this.#set(entry);
  }

  /** Gives its share of the budget back. */
  forget(): void {
    for (const [topic] of this.#entries.entries()) this.#delete(topic);
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
      this.#budget.refused++;
      return;
    }
    this.#set(entry);
  }

  #set(entry: RetainedEntry): void {
    this.#delete(entry.topic);
    this.#budget.bytes += retainedEntryBytes(entry);
    this.#entries.set(entry.topic, entry);
    this.#names.set(entry.topic, entry);
  }

  #delete(topic: string): void {
    const entry = this.#entries.get(topic);
    if (entry === undefined) return;
    this.#budget.bytes -= retainedEntryBytes(entry);
    this.#entries.delete(topic);
    this.#names.delete(topic);
  }
}

/** The entries of a chunk of a fold's snapshot. */
export function* retainedEntriesOf(chunk: Buffer): Generator<RetainedEntry, undefined> {
  for (const piece of entitiesOf(chunk)) yield decodeRetainedEntry(piece);
  return undefined;
}
