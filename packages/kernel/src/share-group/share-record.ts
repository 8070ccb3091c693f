import { assert, type ShardId, toOperatingError } from '@robustmq/core';
import {
  BATCH_HEADER_BYTES,
  HeaderBlock,
  RecordBatchWriter,
  RecordCursor,
} from '@robustmq/record-batch';
import type { DecodedBatch } from '../log/decoded-batch.ts';
import type { ShareBudget } from './share-budget.ts';

/** How a record is handed out: the lower of what it wants and what the member takes. */
export const Delivery = { atMostOnce: 0, atLeastOnce: 1, exactlyOnce: 2 } as const;
export type Delivery = (typeof Delivery)[keyof typeof Delivery];

/** What a share group has to know of a record. */
export interface ShareTraits {
  delivery: Delivery;
  /** Wall clock, ms; Infinity: never. */
  expiresAtMs: number;
  /** For strategies that go by a hash; 0 otherwise. */
  hash: number;
}

/** Records of one batch that a group has copied: they stand in one plain batch of their own. */
export class RecordSlab {
  readonly shardId: ShardId;
  readonly appendTimeMs: number;
  readonly batch: Buffer;
  readonly #budget: ShareBudget;
  #users: number;

  constructor(
    of: { readonly shardId: ShardId; readonly appendTimeMs: number; readonly batch: Buffer },
    users: number,
    budget: ShareBudget,
  ) {
    this.shardId = of.shardId;
    this.appendTimeMs = of.appendTimeMs;
    this.batch = of.batch;
    this.#users = users;
    this.#budget = budget;
    budget.take(this.batch.length);
  }

  /** One of its records is not needed any more. */
  release(): void {
    if (--this.#users === 0) this.#budget.giveBack(this.batch.length);
  }
}

/** A record in a group's memory. */
export interface ShareRecord extends Readonly<ShareTraits> {
  readonly slab: RecordSlab;
  /** Where its encoding stands in the slab's batch. */
  readonly start: number;
  readonly end: number;
}

/** Decides which records of a batch are copied. */
export interface SlabFilter {
  /** By key: whether the record on which the cursor stands is wanted. */
  wants(cursor: RecordCursor, offset: number): boolean;
  /** The copied record on which the cursor stands. False: it is not wanted after all. */
  describe(cursor: RecordCursor, appendTimeMs: number, traits: ShareTraits): boolean;
  take(offset: number, record: ShareRecord): void;
}

/** A slab is ended when it has so many bytes: one that is used for long keeps few others in memory. */
const slabBytes = 256 * 1024;

// Used again and again: all within one call.
const writer = new RecordBatchWriter();
const offsets: number[] = [];
const ends: number[] = [];
const headers = new HeaderBlock();
const copied = new RecordCursor();
const traits: ShareTraits = { delivery: 0, expiresAtMs: 0, hash: 0 };

/** Copies the wanted records of a batch together, and gives them one by one, in order. */
export function takeRecords(batch: DecodedBatch, filter: SlabFilter, budget: ShareBudget): void {
  const { cursor, baseOffset } = batch;
  while (cursor.next()) {
    const offset = baseOffset + cursor.offsetDelta;
    if (!filter.wants(cursor, offset) || !copy(cursor)) continue;
    offsets.push(offset);
    ends.push(writer.byteLength);
    if (writer.byteLength >= slabBytes) giveSlab(batch, filter, budget);
  }
  if (offsets.length > 0) giveSlab(batch, filter, budget);
}

function giveSlab(batch: DecodedBatch, filter: SlabFilter, budget: ShareBudget): void {
  const { shardId, appendTimeMs } = batch;
  const own = { shardId, appendTimeMs, batch: writer.finish() };
  const slab = new RecordSlab(own, offsets.length, budget);
  copied.reset(slab.batch);
  let start: number = BATCH_HEADER_BYTES;
  for (const [i, offset] of offsets.entries()) {
    const end = ends[i] ?? start;
    copied.next();
    traits.delivery = Delivery.atLeastOnce;
    traits.expiresAtMs = Number.POSITIVE_INFINITY;
    traits.hash = 0;
    const isWanted = filter.describe(copied, appendTimeMs, traits);
    if (isWanted) filter.take(offset, { slab, start, end, ...traits });
    else slab.release();
    start = end;
  }
  offsets.length = 0;
  ends.length = 0;
}

/** The record on which the cursor stands as a batch of its own. It fits in one: it came in one. */
export function copyOfRecord(cursor: RecordCursor): Buffer {
  assert(copy(cursor), 'a record that came in a batch fits in a batch');
  return writer.finish();
}

/** Appends the record on which the cursor stands to the writer. False: it is larger than a batch may be. */
function copy(cursor: RecordCursor): boolean {
  const { buffer, keyStart, keyEnd, valueStart, valueEnd, timestampMs } = cursor;
  headers.reset();
  while (cursor.nextHeader()) {
    const name = buffer.subarray(cursor.headerNameStart, cursor.headerNameEnd);
    headers.add(name, rangeOf(buffer, cursor.headerValueStart, cursor.headerValueEnd));
  }
  const key = rangeOf(buffer, keyStart, keyEnd);
  try {
    writer.append(timestampMs, key, rangeOf(buffer, valueStart, valueEnd), headers);
    return true;
  } catch (thrown) {
    if (toOperatingError(thrown).code !== 'BATCH_TOO_LARGE') throw thrown;
    return false;
  }
}

function rangeOf(buffer: Buffer, start: number, end: number): Buffer | null {
  return start < 0 ? null : buffer.subarray(start, end);
}
