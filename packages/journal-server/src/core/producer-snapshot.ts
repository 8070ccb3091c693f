import { OperatingError } from '@robustmq/core';
import { newProducerEntry, type ProducerEntry, WINDOW_BATCHES } from './producer-entry.ts';
import type { ProducerState } from './producer-state.ts';

/*
 * Little-endian: version u8 | writerEpoch u32 | entries u32, then each entry:
 * producerId u64 | epoch i16 | flags u8 (1 complete, 2 open transaction) | windowCount u8
 * | coordinatorEpoch i32 | lastAppendMs u64 | transactionOffset u64
 * | windowCount × (baseSequence u32 | records u32 | baseOffset u64 | appendTimeMs u64)
 */
const VERSION = 1;
const HEADER_BYTES = 9;
const ENTRY_BYTES = 32;
const BATCH_BYTES = 24;
const FLAG_COMPLETE = 1;
const FLAG_OPEN = 2;
const TWO_TO_32 = 2 ** 32;

/** The state as the payload of a snapshot frame, in a buffer of its own size. */
export function encodeProducerSnapshot(state: ProducerState): Buffer {
  const entries = [...state.entries()].sort(byTransaction);
  let bytes = HEADER_BYTES;
  for (const entry of entries) bytes += ENTRY_BYTES + entry.window.length * BATCH_BYTES;
  const out = Buffer.allocUnsafeSlow(bytes);
  out.writeUInt8(VERSION, 0);
  out.writeUInt32LE(state.writerEpoch, 1);
  out.writeUInt32LE(entries.length, 5);
  let at = HEADER_BYTES;
  for (const entry of entries) at = writeEntry(out, at, entry);
  return out;
}

/**
 * So that decoding begins the open transactions in the order of their offsets; and that equal states
 * have equal bytes.
 */
function byTransaction(left: ProducerEntry, right: ProducerEntry): number {
  const order = (left.transactionOffset ?? -1) - (right.transactionOffset ?? -1);
  return order === 0 ? left.producerId - right.producerId : order;
}

function writeEntry(out: Buffer, start: number, entry: ProducerEntry): number {
  const flags =
    (entry.isComplete ? FLAG_COMPLETE : 0) |
    (entry.transactionOffset === undefined ? 0 : FLAG_OPEN);
  writeU64(out, start, entry.producerId);
  out.writeInt16LE(entry.epoch, start + 8);
  out.writeUInt8(flags, start + 10);
  out.writeUInt8(entry.window.length, start + 11);
  out.writeInt32LE(entry.coordinatorEpoch, start + 12);
  writeU64(out, start + 16, entry.lastAppendMs);
  writeU64(out, start + 24, entry.transactionOffset ?? 0);
  let at = start + ENTRY_BYTES;
  for (const batch of entry.window) {
    out.writeUInt32LE(batch.baseSequence, at);
    out.writeUInt32LE(batch.records, at + 4);
    writeU64(out, at + 8, batch.baseOffset);
    writeU64(out, at + 16, batch.appendTimeMs);
    at += BATCH_BYTES;
  }
  return at;
}

/**
 * Replaces `state` by the snapshot in `bytes[start, end)`; its entries count as seen at `nowMs`.
 * Throws DAMAGED for bytes that are no whole snapshot; `state` is empty then.
 */
export function decodeProducerSnapshot(
  state: ProducerState,
  bytes: Buffer,
  range: { readonly start: number; readonly end: number },
  nowMs: number,
): void {
  state.clear();
  const reader = new SnapshotReader(bytes, range.start, range.end);
  const header = reader.take(HEADER_BYTES);
  if (bytes.readUInt8(header) !== VERSION) throw damaged('unknown version');
  const count = bytes.readUInt32LE(header + 5);
  const entries: ProducerEntry[] = [];
  for (let index = 0; index < count; index++) entries.push(readEntry(reader, nowMs));
  if (!reader.isAtEnd) throw damaged('bytes behind its end');
  state.writerEpoch = bytes.readUInt32LE(header + 1);
  for (const entry of entries) state.add(entry);
}

function readEntry(reader: SnapshotReader, nowMs: number): ProducerEntry {
  const { bytes } = reader;
  const at = reader.take(ENTRY_BYTES);
  const entry = newProducerEntry(readU64(bytes, at), bytes.readInt16LE(at + 8), nowMs);
  const flags = bytes.readUInt8(at + 10);
  const windowCount = bytes.readUInt8(at + 11);
  if (windowCount > WINDOW_BATCHES) throw damaged('too many batches of a producer');
  entry.isComplete = (flags & FLAG_COMPLETE) !== 0;
  entry.coordinatorEpoch = bytes.readInt32LE(at + 12);
  entry.lastAppendMs = readU64(bytes, at + 16);
  if ((flags & FLAG_OPEN) !== 0) entry.transactionOffset = readU64(bytes, at + 24);
  for (let index = 0; index < windowCount; index++) {
    const from = reader.take(BATCH_BYTES);
    entry.window.push({
      baseSequence: bytes.readUInt32LE(from),
      records: bytes.readUInt32LE(from + 4),
      baseOffset: readU64(bytes, from + 8),
      appendTimeMs: readU64(bytes, from + 16),
    });
  }
  return entry;
}

/** Hands out positions, and never one that would read past the end. */
class SnapshotReader {
  readonly bytes: Buffer;
  readonly #end: number;
  #at: number;

  constructor(bytes: Buffer, start: number, end: number) {
    this.bytes = bytes;
    this.#at = start;
    this.#end = end;
  }

  get isAtEnd(): boolean {
    return this.#at === this.#end;
  }

  take(count: number): number {
    const at = this.#at;
    if (at + count > this.#end) throw damaged('cut off');
    this.#at = at + count;
    return at;
  }
}

function damaged(what: string): OperatingError {
  return new OperatingError('DAMAGED', `a producer snapshot is not whole: ${what}`);
}

function writeU64(out: Buffer, at: number, value: number): void {
  const high = Math.floor(value / TWO_TO_32);
  out.writeUInt32LE(value - high * TWO_TO_32, at);
  out.writeUInt32LE(high, at + 4);
}

function readU64(bytes: Buffer, at: number): number {
  return bytes.readUInt32LE(at + 4) * TWO_TO_32 + bytes.readUInt32LE(at);
}
