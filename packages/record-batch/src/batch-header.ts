import { assert, limits, OperatingError } from '@robustmq/core';
import { type CompressionCodec, codecOfAttributes } from './codec.ts';
import { corruptBatch } from './corrupt-batch.ts';
import { crc32c } from './crc32c.ts';
import { readI64, writeI64 } from './int64.ts';

/**
 * The header of a record batch, magic 2 (Kafka protocol guide, "Record Batch"): big-endian, at these
 * positions from the start of the batch.
 */
export const batchField = {
  baseOffset: 0,
  batchLength: 8,
  partitionLeaderEpoch: 12,
  magic: 16,
  crc: 17,
  attributes: 21,
  lastOffsetDelta: 23,
  baseTimestamp: 27,
  maxTimestamp: 35,
  producerId: 43,
  producerEpoch: 51,
  baseSequence: 53,
  recordCount: 57,
} as const;

export const BATCH_HEADER_BYTES = 61;
/** What `batchLength` does not count: the base offset and itself. */
export const BATCH_LENGTH_PREFIX_BYTES = 12;
/** Bytes at the start that the batch's own CRC does not cover (the CRC itself is the last of them). */
export const BATCH_BYTES_OUTSIDE_CRC = 21;
export const BATCH_MAGIC = 2;
/** A record takes 7 bytes at least: length, attributes, two deltas, key, value, header count. */
export const RECORD_BYTES_MIN = 7;

/** Bits of `attributes`; 0 to 2 are the codec, 7 to 15 are unused and must be 0. */
export const batchAttribute = {
  codec: 0x07,
  logAppendTime: 0x08,
  transactional: 0x10,
  control: 0x20,
  deleteHorizon: 0x40,
} as const;
const ATTRIBUTES_KNOWN = 0x7f;

/** A header as plain values; all 64-bit fields are safe integers. */
export interface BatchHeader {
  readonly baseOffset: number;
  /** Offset of the last record as it was produced; compaction does not change it. */
  readonly lastOffset: number;
  /** The whole batch, header included. */
  readonly batchBytes: number;
  readonly partitionLeaderEpoch: number;
  readonly crc: number;
  readonly attributes: number;
  readonly codec: CompressionCodec;
  /** Whether every record has the time `maxTimestampMs` (the log's), not its own. */
  readonly isLogAppendTime: boolean;
  readonly isTransactional: boolean;
  readonly isControl: boolean;
  readonly hasDeleteHorizon: boolean;
  readonly lastOffsetDelta: number;
  readonly baseTimestampMs: number;
  readonly maxTimestampMs: number;
  /** -1 without a producer id. */
  readonly producerId: number;
  readonly producerEpoch: number;
  readonly baseSequence: number;
  readonly recordCount: number;
}

/**
 * Where a batch comes from. A `producer`'s has at least one record and offsets without gaps; in the `log`
 * compaction may have removed some or all records, while the offsets stay.
 */
export type BatchOrigin = 'producer' | 'log';

/** The first rule a header breaks. `incomplete`: it declares more bytes than there are. */
export type BatchFault =
  | 'incomplete'
  | 'magic'
  | 'length'
  | 'too large'
  | 'attributes'
  | 'codec'
  | 'record count'
  | 'last offset delta'
  | 'unsafe number'
  | 'producer';

/**
 * Checks the header of the batch at `position` against `end` and every limit, without the CRC and without
 * allocating; `undefined` when it holds. Total on arbitrary bytes, for 0 <= position and end <= length.
 */
export function batchFault(
  buffer: Buffer,
  position: number,
  end: number,
  origin: BatchOrigin = 'log',
): BatchFault | undefined {
  if (end - position < BATCH_HEADER_BYTES) return 'incomplete';
  if (buffer[position + batchField.magic] !== BATCH_MAGIC) return 'magic';
  const bytes = batchBytes(buffer, position);
  if (bytes < BATCH_HEADER_BYTES) return 'length';
  if (bytes > limits.batchBytesMax) return 'too large';
  if (position + bytes > end) return 'incomplete';
  return (
    attributesFault(buffer, position) ??
    countFault(buffer, position, bytes - BATCH_HEADER_BYTES, origin) ??
    numberFault(buffer, position)
  );
}

function attributesFault(buffer: Buffer, position: number): BatchFault | undefined {
  const attributes = batchAttributes(buffer, position);
  if ((attributes & ~ATTRIBUTES_KNOWN) !== 0) return 'attributes';
  return codecOfAttributes(attributes) === undefined ? 'codec' : undefined;
}

function countFault(
  buffer: Buffer,
  position: number,
  recordsBytes: number,
  origin: BatchOrigin,
): BatchFault | undefined {
  const count = batchRecordCount(buffer, position);
  const lastOffsetDelta = batchLastOffsetDelta(buffer, position);
  if (count < 0 || lastOffsetDelta < 0) return 'record count';
  if (count === 0 && (origin === 'producer' || recordsBytes > 0)) return 'record count';
  const isPlain = (batchAttributes(buffer, position) & batchAttribute.codec) === 0;
  if (isPlain && count * RECORD_BYTES_MIN > recordsBytes) return 'record count';
  if (lastOffsetDelta < count - 1) return 'last offset delta';
  return origin === 'producer' && lastOffsetDelta !== count - 1 ? 'last offset delta' : undefined;
}

function numberFault(buffer: Buffer, position: number): BatchFault | undefined {
  const baseOffset = batchBaseOffset(buffer, position);
  if (baseOffset < 0) return 'unsafe number';
  if (!Number.isSafeInteger(baseOffset + batchLastOffsetDelta(buffer, position))) {
    return 'unsafe number';
  }
  if (!Number.isSafeInteger(batchBaseTimestampMs(buffer, position))) return 'unsafe number';
  if (!Number.isSafeInteger(batchMaxTimestampMs(buffer, position))) return 'unsafe number';
  const producerId = batchProducerId(buffer, position);
  if (!Number.isSafeInteger(producerId)) return 'unsafe number';
  return producerId < -1 ? 'producer' : undefined;
}

/**
 * The header of the batch at `position`, checked as {@link batchFault} does. Throws BATCH_TOO_LARGE above
 * `limits.batchBytesMax` and CORRUPT_BATCH otherwise. The CRC is not verified.
 */
export function readBatchHeader(
  buffer: Buffer,
  position = 0,
  end: number = buffer.length,
  origin: BatchOrigin = 'log',
): BatchHeader {
  checkBatch(buffer, position, end, origin);
  const attributes = batchAttributes(buffer, position);
  const baseOffset = batchBaseOffset(buffer, position);
  const lastOffsetDelta = batchLastOffsetDelta(buffer, position);
  return {
    baseOffset,
    lastOffset: baseOffset + lastOffsetDelta,
    batchBytes: batchBytes(buffer, position),
    partitionLeaderEpoch: buffer.readInt32BE(position + batchField.partitionLeaderEpoch),
    crc: batchCrc(buffer, position),
    attributes,
    codec: batchCodec(buffer, position),
    isLogAppendTime: (attributes & batchAttribute.logAppendTime) !== 0,
    isTransactional: (attributes & batchAttribute.transactional) !== 0,
    isControl: (attributes & batchAttribute.control) !== 0,
    hasDeleteHorizon: (attributes & batchAttribute.deleteHorizon) !== 0,
    lastOffsetDelta,
    baseTimestampMs: batchBaseTimestampMs(buffer, position),
    maxTimestampMs: batchMaxTimestampMs(buffer, position),
    producerId: batchProducerId(buffer, position),
    producerEpoch: batchProducerEpoch(buffer, position),
    baseSequence: batchBaseSequence(buffer, position),
    recordCount: batchRecordCount(buffer, position),
  };
}

/** Throws what {@link readBatchHeader} throws, and reads nothing. */
export function checkBatch(
  buffer: Buffer,
  position: number,
  end: number,
  origin: BatchOrigin = 'log',
): void {
  const fault = batchFault(buffer, position, end, origin);
  if (fault === undefined) return;
  if (fault === 'too large') {
    throw new OperatingError(
      'BATCH_TOO_LARGE',
      `a batch of ${batchBytes(buffer, position)} bytes is above ${limits.batchBytesMax}; send smaller ones`,
    );
  }
  throw corruptBatch(`its header breaks a rule (${fault}) at byte ${position}`);
}

// The getters below read one field each; the caller has checked that the header is there.

export function batchBaseOffset(buffer: Buffer, position: number): number {
  return readI64(buffer, position + batchField.baseOffset);
}

/** Size of the whole batch, header included. */
export function batchBytes(buffer: Buffer, position: number): number {
  return buffer.readInt32BE(position + batchField.batchLength) + BATCH_LENGTH_PREFIX_BYTES;
}

export function batchCrc(buffer: Buffer, position: number): number {
  return buffer.readUInt32BE(position + batchField.crc);
}

export function batchAttributes(buffer: Buffer, position: number): number {
  return buffer.readUInt16BE(position + batchField.attributes);
}

/** The codec of a batch that {@link batchFault} has passed. */
export function batchCodec(buffer: Buffer, position: number): CompressionCodec {
  const codec = codecOfAttributes(batchAttributes(buffer, position));
  assert(codec !== undefined, 'the codec is checked before it is used');
  return codec;
}

export function isControlBatch(buffer: Buffer, position: number): boolean {
  return (batchAttributes(buffer, position) & batchAttribute.control) !== 0;
}

export function isTransactionalBatch(buffer: Buffer, position: number): boolean {
  return (batchAttributes(buffer, position) & batchAttribute.transactional) !== 0;
}

export function batchLastOffsetDelta(buffer: Buffer, position: number): number {
  return buffer.readInt32BE(position + batchField.lastOffsetDelta);
}

export function batchLastOffset(buffer: Buffer, position: number): number {
  return batchBaseOffset(buffer, position) + batchLastOffsetDelta(buffer, position);
}

export function batchBaseTimestampMs(buffer: Buffer, position: number): number {
  return readI64(buffer, position + batchField.baseTimestamp);
}

export function batchMaxTimestampMs(buffer: Buffer, position: number): number {
  return readI64(buffer, position + batchField.maxTimestamp);
}

export function batchProducerId(buffer: Buffer, position: number): number {
  return readI64(buffer, position + batchField.producerId);
}

export function batchProducerEpoch(buffer: Buffer, position: number): number {
  return buffer.readInt16BE(position + batchField.producerEpoch);
}

export function batchBaseSequence(buffer: Buffer, position: number): number {
  return buffer.readInt32BE(position + batchField.baseSequence);
}

export function batchRecordCount(buffer: Buffer, position: number): number {
  return buffer.readInt32BE(position + batchField.recordCount);
}

/** Patches the base offset in place. It stands outside the CRC, so nothing is computed again. */
export function setBaseOffset(buffer: Buffer, position: number, baseOffset: number): void {
  assert(Number.isSafeInteger(baseOffset) && baseOffset >= 0, 'a base offset is a safe integer');
  writeI64(buffer, position + batchField.baseOffset, baseOffset);
}

/** Patches the partition leader epoch, outside the CRC too; in the log it is always 0. */
export function setPartitionLeaderEpoch(buffer: Buffer, position: number, epoch: number): void {
  buffer.writeInt32BE(epoch, position + batchField.partitionLeaderEpoch);
}

/** Whether the CRC32C of everything from the attributes on is the one in the header; `bytes` is the batch's size. */
export function verifyBatchCrc(buffer: Buffer, position: number, bytes: number): boolean {
  const computed = crc32c(buffer, position + BATCH_BYTES_OUTSIDE_CRC, position + bytes);
  return computed === batchCrc(buffer, position);
}

/** Writes the CRC32C of a batch of `bytes` bytes into its header. */
export function stampBatchCrc(buffer: Buffer, position: number, bytes: number): void {
  const crc = crc32c(buffer, position + BATCH_BYTES_OUTSIDE_CRC, position + bytes);
  buffer.writeUInt32BE(crc, position + batchField.crc);
}
