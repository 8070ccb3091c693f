import {
  BATCH_HEADER_BYTES,
  batchAttribute,
  batchAttributes,
  batchBaseOffset,
  batchBaseTimestampMs,
  batchBytes,
  batchCodec,
  batchLastOffsetDelta,
  batchMaxTimestampMs,
  batchRecordCount,
  checkBatch,
  RECORD_BYTES_MIN,
} from './batch-header.ts';
import { DECOMPRESS_INLINE_BYTES_MAX, decompress, decompressAsync } from './compression.ts';
import { corruptBatch } from './corrupt-batch.ts';
import { VarintReader } from './varint.ts';

const EMPTY: Buffer = Buffer.alloc(0);
/** A header takes 2 bytes at least: the length of its name and the length of its value. */
const HEADER_BYTES_MIN = 2;

/**
 * Reads the records of a batch without copying and without allocating: after `next()` its fields describe
 * one record as ranges of `buffer`, which is the batch itself or, when it is compressed, its plain records.
 * A range that begins at -1 is null. Reusable; the ranges hold as long as that buffer does.
 *
 * Every length and count is checked before it is used: CORRUPT_BATCH is thrown where a record breaks them,
 * records out of order included. It does not verify the CRC. Who must skip a broken batch whole calls
 * {@link RecordCursor.verify} first.
 */
export class RecordCursor {
  buffer: Buffer = EMPTY;
  offsetDelta = -1;
  timestampDelta = 0;
  keyStart = -1;
  keyEnd = -1;
  valueStart = -1;
  valueEnd = -1;
  headerCount = 0;
  /** The header that `nextHeader()` moved to. */
  headerNameStart = -1;
  headerNameEnd = -1;
  headerValueStart = -1;
  headerValueEnd = -1;
  baseOffset = 0;
  recordCount = 0;

  readonly #reader = new VarintReader(EMPTY);
  #recordsStart = 0;
  #recordsRead = 0;
  #lastOffsetDelta = -1;
  #baseTimestampMs = 0;
  /** The time of every record in a batch with the log's append time; otherwise undefined. */
  #appendTimeMs: number | undefined;
  #headersStart = 0;
  #headersRead = 0;

  /**
   * Starts on the batch at `position`, checking its header. A compressed one is decompressed here, on this
   * thread: batches above 64 KiB go through {@link plainRecords} and {@link resetPlain}.
   */
  reset(batch: Buffer, position = 0): void {
    checkBatch(batch, position, batch.length);
    const end = position + batchBytes(batch, position);
    const start = position + BATCH_HEADER_BYTES;
    const codec = batchCodec(batch, position);
    if (codec === 'none' || start === end) {
      this.#start(batch, position, batch, start, end);
      return;
    }
    const plain = decompress(codec, batch.subarray(start, end));
    this.#start(batch, position, plain, 0, plain.length);
  }

  /** Starts on the batch at `position`, whose records {@link plainRecords} has returned. */
  resetPlain(batch: Buffer, position: number, records: Buffer): void {
    checkBatch(batch, position, batch.length);
    this.#start(batch, position, records, 0, records.length);
  }

  #start(batch: Buffer, position: number, records: Buffer, start: number, end: number): void {
    const count = batchRecordCount(batch, position);
    if (count * RECORD_BYTES_MIN > end - start) throw corruptBatch(`it has no ${count} records`);
    const isAppendTime = (batchAttributes(batch, position) & batchAttribute.logAppendTime) !== 0;
    this.baseOffset = batchBaseOffset(batch, position);
    this.recordCount = count;
    this.#lastOffsetDelta = batchLastOffsetDelta(batch, position);
    this.#baseTimestampMs = batchBaseTimestampMs(batch, position);
    this.#appendTimeMs = isAppendTime ? batchMaxTimestampMs(batch, position) : undefined;
    this.buffer = records;
    this.#recordsStart = start;
    this.#reader.reset(records, start, end);
    this.#rewind();
  }

  #rewind(): void {
    this.#reader.position = this.#recordsStart;
    this.#recordsRead = 0;
    this.offsetDelta = -1;
    this.headerCount = 0;
    this.#headersRead = 0;
  }

  /** Reads all records, then stands before the first again. Throws CORRUPT_BATCH if any is broken. */
  verify(): void {
    this.#rewind();
    while (this.next());
    this.#rewind();
  }

  get offset(): number {
    return this.baseOffset + this.offsetDelta;
  }

  get timestampMs(): number {
    return this.#appendTimeMs ?? this.#baseTimestampMs + this.timestampDelta;
  }

  /** Moves to the next record; false behind the last one. */
  next(): boolean {
    const reader = this.#reader;
    const batchEnd = reader.end;
    if (this.#recordsRead === this.recordCount) {
      if (reader.position !== batchEnd) throw corruptBatch('bytes follow its last record');
      return false;
    }
    const end = this.#span(reader.varint(), batchEnd);
    reader.end = end;
    this.#readRecord(reader, end);
    if (reader.position !== end) throw corruptBatch(`record ${this.#recordsRead} is too long`);
    reader.end = batchEnd;
    this.#recordsRead++;
    return true;
  }

  #readRecord(reader: VarintReader, end: number): void {
    reader.skip(1);
    this.timestampDelta = reader.varlong();
    if (!Number.isSafeInteger(this.#baseTimestampMs + this.timestampDelta)) {
      throw corruptBatch(`time stamp delta ${this.timestampDelta} leaves the range of times`);
    }
    this.#readOffsetDelta(reader.varint());
    const keyBytes = reader.varint();
    this.keyStart = keyBytes === -1 ? -1 : reader.position;
    this.keyEnd = keyBytes === -1 ? -1 : this.#span(keyBytes, end);
    if (keyBytes > 0) reader.position = this.keyEnd;
    const valueBytes = reader.varint();
    this.valueStart = valueBytes === -1 ? -1 : reader.position;
    this.valueEnd = valueBytes === -1 ? -1 : this.#span(valueBytes, end);
    if (valueBytes > 0) reader.position = this.valueEnd;
    this.#checkHeaders(reader, end);
  }

  #readOffsetDelta(delta: number): void {
    if (delta <= this.offsetDelta || delta > this.#lastOffsetDelta) {
      throw corruptBatch(`offset delta ${delta} follows ${this.offsetDelta}`);
    }
    this.offsetDelta = delta;
  }

  #checkHeaders(reader: VarintReader, end: number): void {
    const count = reader.varint();
    if (count < 0 || count * HEADER_BYTES_MIN > end - reader.position) {
      throw corruptBatch(`record ${this.#recordsRead} has no ${count} headers`);
    }
    this.headerCount = count;
    this.#headersStart = reader.position;
    this.#headersRead = 0;
    for (let index = 0; index < count; index++) this.#readHeader(reader, end);
  }

  /** Moves to the next header of this record; false behind the last one. */
  nextHeader(): boolean {
    if (this.#headersRead === this.headerCount) return false;
    const reader = this.#reader;
    const nextRecord = reader.position;
    reader.position = this.#headersStart;
    this.#readHeader(reader, nextRecord);
    this.#headersStart = reader.position;
    reader.position = nextRecord;
    this.#headersRead++;
    return true;
  }

  #readHeader(reader: VarintReader, end: number): void {
    const nameBytes = reader.varint();
    this.headerNameStart = reader.position;
    this.headerNameEnd = this.#span(nameBytes, end);
    reader.position = this.headerNameEnd;
    const valueBytes = reader.varint();
    this.headerValueStart = valueBytes === -1 ? -1 : reader.position;
    this.headerValueEnd = valueBytes === -1 ? -1 : this.#span(valueBytes, end);
    if (valueBytes > 0) reader.position = this.headerValueEnd;
  }

  /** The end of `bytes` bytes from here, which is at most `end`. */
  #span(bytes: number, end: number): number {
    const spanEnd = this.#reader.position + bytes;
    if (bytes < 0 || spanEnd > end) throw corruptBatch(`a length of ${bytes} passes its end`);
    return spanEnd;
  }
}

/**
 * The plain records of the batch at `position` for {@link RecordCursor.resetPlain}: a view of the batch, or
 * what they decompress to, off the event loop above 64 KiB. Rejects as `decompressAsync`.
 */
export async function plainRecords(batch: Buffer, position = 0): Promise<Buffer> {
  checkBatch(batch, position, batch.length);
  const start = position + BATCH_HEADER_BYTES;
  const records = batch.subarray(start, position + batchBytes(batch, position));
  return records.length === 0 ? records : decompressAsync(batchCodec(batch, position), records);
}

/** Whether the batch at `position`, already checked, should take the asynchronous way. */
export function decompressesOffLoop(batch: Buffer, position = 0): boolean {
  if ((batchAttributes(batch, position) & batchAttribute.codec) === 0) return false;
  return batchBytes(batch, position) - BATCH_HEADER_BYTES > DECOMPRESS_INLINE_BYTES_MAX;
}
