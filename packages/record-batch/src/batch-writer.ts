import { assert, limits, OperatingError } from '@robustmq/core';
import {
  BATCH_HEADER_BYTES,
  BATCH_LENGTH_PREFIX_BYTES,
  BATCH_MAGIC,
  batchAttribute,
  batchField,
  stampBatchCrc,
} from './batch-header.ts';
import { codecNumber, type CompressionCodec } from './codec.ts';
import { compress } from './compression.ts';
import { copyBytes } from './copy-bytes.ts';
import { HeaderBlock, noHeaders, type RecordHeader } from './header-block.ts';
import { writeI64 } from './int64.ts';
import { ScratchPool } from './scratch-pool.ts';
import { varintSize, varlongSize, writeVarint, writeVarlong } from './varint.ts';

/** What a record takes beside its key, its value and its encoded headers, at most. */
export const RECORD_OVERHEAD_BYTES_MAX = 36;

/** What the whole batch says about itself; by default a plain batch without a producer id. */
export interface BatchOptions {
  readonly producerId?: number;
  readonly producerEpoch?: number;
  readonly baseSequence?: number;
  readonly compression?: CompressionCodec;
  readonly transactional?: boolean;
  readonly control?: boolean;
}

/**
 * Builds record batches one record at a time; appending allocates nothing. Base offset and partition
 * leader epoch are 0 until the journal's leader stamps them. A record's offset delta is its index, its
 * timestamp delta is relative to the first record's time or the one given to {@link reset}.
 *
 * Between two batches a writer holds no buffer: {@link finish} either hands the buffer over, when at least
 * three quarters of it are used, or copies the batch to a buffer of its own size and gives the scratch back
 * to the pool. The caller owns the result alone.
 */
export class RecordBatchWriter {
  readonly #pool: ScratchPool;
  readonly #ownHeaders = new HeaderBlock();
  #buffer: Buffer | undefined;
  #position = BATCH_HEADER_BYTES;
  #recordCount = 0;
  #baseTimestampMs = 0;
  #hasBaseTimestamp = false;
  #maxTimestampMs = 0;
  #expectedBytes = 0;

  /** One pool per process, shared by all writers, keeps idle ones free of charge. */
  constructor(pool: ScratchPool = new ScratchPool()) {
    this.#pool = pool;
  }

  /** Bytes of the batch so far, its header included, before compression. */
  get byteLength(): number {
    return this.#position;
  }

  get recordCount(): number {
    return this.#recordCount;
  }

  /** Drops what was appended. `baseTimestampMs` is then what the timestamp deltas are relative to. */
  reset(baseTimestampMs?: number): void {
    if (this.#buffer !== undefined) this.#pool.give(this.#buffer);
    this.#clear();
    if (baseTimestampMs === undefined) return;
    this.#baseTimestampMs = baseTimestampMs;
    this.#hasBaseTimestamp = true;
  }

  /**
   * Appends a record and copies its bytes. Throws BATCH_TOO_LARGE, without a change, when the batch would
   * pass `limits.batchBytesMax`.
   */
  append(
    timestampMs: number,
    key: Uint8Array | null,
    value: Uint8Array | null,
    headers: HeaderBlock | readonly RecordHeader[] = noHeaders,
  ): void {
    const block = headers instanceof HeaderBlock ? headers : this.#encodeHeaders(headers);
    const delta = this.#hasBaseTimestamp ? timestampMs - this.#baseTimestampMs : 0;
    const keyBytes = key === null ? -1 : key.length;
    const valueBytes = value === null ? -1 : value.length;
    const bodyBytes =
      1 +
      varlongSize(delta) +
      varintSize(this.#recordCount) +
      lengthPrefixedSize(keyBytes) +
      lengthPrefixedSize(valueBytes) +
      varintSize(block.count) +
      block.byteLength;
    const buffer = this.#reserve(varintSize(bodyBytes) + bodyBytes);

    let at = writeVarint(buffer, this.#position, bodyBytes);
    buffer[at++] = 0;
    at = writeVarlong(buffer, at, delta);
    at = writeVarint(buffer, at, this.#recordCount);
    at = writeBytes(buffer, at, key, keyBytes);
    at = writeBytes(buffer, at, value, valueBytes);
    at = writeVarint(buffer, at, block.count);
    this.#position = block.copyTo(buffer, at);
    this.#countRecord(timestampMs);
  }

  /**
   * The batch, with its CRC; the caller owns the buffer. The writer is empty afterwards. There has to be at
   * least one record.
   */
  finish(options: BatchOptions = {}): Buffer {
    assert(this.#buffer !== undefined && this.#recordCount > 0, 'a batch has at least one record');
    const codec = options.compression ?? 'none';
    const batch =
      codec === 'none' ? this.#takePlain(this.#buffer) : this.#takeCompressed(this.#buffer, codec);
    this.#writeHeader(batch, options, codec);
    this.#expectedBytes = this.#position;
    this.#clear();
    return batch;
  }

  #encodeHeaders(headers: readonly RecordHeader[]): HeaderBlock {
    this.#ownHeaders.reset();
    this.#ownHeaders.addAll(headers);
    return this.#ownHeaders;
  }

  #countRecord(timestampMs: number): void {
    if (this.#recordCount === 0) {
      this.#maxTimestampMs = timestampMs;
      if (!this.#hasBaseTimestamp) this.#baseTimestampMs = timestampMs;
      this.#hasBaseTimestamp = true;
    } else if (timestampMs > this.#maxTimestampMs) {
      this.#maxTimestampMs = timestampMs;
    }
    this.#recordCount++;
  }

  /** A buffer with room for `bytes` more behind what is there. */
  #reserve(bytes: number): Buffer {
    const needed = this.#position + bytes;
    if (this.#buffer !== undefined && needed <= this.#buffer.length) return this.#buffer;
    if (needed > limits.batchBytesMax) {
      throw new OperatingError(
        'BATCH_TOO_LARGE',
        `a batch of ${needed} bytes is above ${limits.batchBytesMax}; finish it before this record`,
      );
    }
    return this.#grow(needed);
  }

  #grow(needed: number): Buffer {
    const grown = this.#pool.take(Math.max(needed, this.#expectedBytes));
    if (this.#buffer !== undefined) {
      this.#buffer.copy(grown, 0, 0, this.#position);
      this.#pool.give(this.#buffer);
    }
    this.#buffer = grown;
    return grown;
  }

  #takePlain(buffer: Buffer): Buffer {
    if (this.#position * 4 >= buffer.length * 3) return buffer.subarray(0, this.#position);
    const batch = Buffer.allocUnsafeSlow(this.#position);
    buffer.copy(batch, BATCH_HEADER_BYTES, BATCH_HEADER_BYTES, this.#position);
    this.#pool.give(buffer);
    return batch;
  }

  #takeCompressed(buffer: Buffer, codec: CompressionCodec): Buffer {
    const records = compress(codec, buffer.subarray(BATCH_HEADER_BYTES, this.#position));
    const batch = Buffer.allocUnsafeSlow(BATCH_HEADER_BYTES + records.length);
    records.copy(batch, BATCH_HEADER_BYTES);
    this.#pool.give(buffer);
    return batch;
  }

  #writeHeader(batch: Buffer, options: BatchOptions, codec: CompressionCodec): void {
    let attributes = codecNumber(codec);
    if (options.transactional === true) attributes |= batchAttribute.transactional;
    if (options.control === true) attributes |= batchAttribute.control;
    assert(Number.isSafeInteger(this.#baseTimestampMs), 'a timestamp is a safe integer');
    assert(Number.isSafeInteger(this.#maxTimestampMs), 'a timestamp is a safe integer');
    writeI64(batch, batchField.baseOffset, 0);
    batch.writeInt32BE(batch.length - BATCH_LENGTH_PREFIX_BYTES, batchField.batchLength);
    batch.writeInt32BE(0, batchField.partitionLeaderEpoch);
    batch.writeInt8(BATCH_MAGIC, batchField.magic);
    batch.writeInt16BE(attributes, batchField.attributes);
    batch.writeInt32BE(this.#recordCount - 1, batchField.lastOffsetDelta);
    writeI64(batch, batchField.baseTimestamp, this.#baseTimestampMs);
    writeI64(batch, batchField.maxTimestamp, this.#maxTimestampMs);
    writeI64(batch, batchField.producerId, options.producerId ?? -1);
    batch.writeInt16BE(options.producerEpoch ?? -1, batchField.producerEpoch);
    batch.writeInt32BE(options.baseSequence ?? -1, batchField.baseSequence);
    batch.writeInt32BE(this.#recordCount, batchField.recordCount);
    stampBatchCrc(batch, 0, batch.length);
  }

  #clear(): void {
    this.#buffer = undefined;
    this.#position = BATCH_HEADER_BYTES;
    this.#recordCount = 0;
    this.#hasBaseTimestamp = false;
  }
}

/** Size of a length and the bytes behind it; -1 is null. */
function lengthPrefixedSize(bytes: number): number {
  return bytes < 0 ? 1 : varintSize(bytes) + bytes;
}

function writeBytes(
  buffer: Buffer,
  position: number,
  bytes: Uint8Array | null,
  length: number,
): number {
  const at = writeVarint(buffer, position, length);
  return bytes === null ? at : copyBytes(buffer, at, bytes, length);
}
