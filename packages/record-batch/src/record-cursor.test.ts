import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { OperatingError } from '@robustmq/core';
import { BATCH_HEADER_BYTES, batchField } from './batch-header.ts';
import { RecordBatchWriter } from './batch-writer.ts';
import { compressionCodecs } from './codec.ts';
import { decompressesOffLoop, plainRecords, RecordCursor } from './record-cursor.ts';
import { recordsOf } from './record-view.ts';

const headers = [
  { name: 'a', value: Buffer.from('1') },
  { name: 'b', value: null },
];

function smallBatch(): Buffer {
  const writer = new RecordBatchWriter();
  writer.append(1000, Buffer.from('key'), Buffer.from('value'), headers);
  writer.append(1001, null, null);
  return writer.finish();
}

/** A batch with these bytes as its only record's body, its length in front. */
function batchWithRecord(body: number[], recordCount = 1): Buffer {
  const batch = Buffer.concat([
    smallBatch().subarray(0, BATCH_HEADER_BYTES),
    Buffer.from([body.length * 2, ...body]),
  ]);
  batch.writeInt32BE(batch.length - 12, batchField.batchLength);
  batch.writeInt32BE(recordCount, batchField.recordCount);
  batch.writeInt32BE(5, batchField.lastOffsetDelta);
  return batch;
}

function readAll(batch: Buffer): unknown[] {
  return [...recordsOf(batch)];
}

describe('RecordCursor', () => {
  it('gives ranges of the batch itself', () => {
    const batch = smallBatch();
    const cursor = new RecordCursor();
    cursor.reset(batch);
    expect(cursor.buffer).toBe(batch);
    expect(cursor.next()).toBe(true);
    expect(batch.toString('utf8', cursor.keyStart, cursor.keyEnd)).toBe('key');
    expect(batch.toString('utf8', cursor.valueStart, cursor.valueEnd)).toBe('value');
    expect(cursor.headerCount).toBe(2);
    expect(cursor.nextHeader()).toBe(true);
    expect(batch.toString('utf8', cursor.headerNameStart, cursor.headerNameEnd)).toBe('a');
    expect(batch.toString('utf8', cursor.headerValueStart, cursor.headerValueEnd)).toBe('1');
    expect(cursor.nextHeader()).toBe(true);
    expect(cursor.headerValueStart).toBe(-1);
    expect(cursor.nextHeader()).toBe(false);
    expect(cursor.next()).toBe(true);
    expect([cursor.keyStart, cursor.valueStart, cursor.offset]).toEqual([-1, -1, 1]);
    expect(cursor.next()).toBe(false);
    expect(cursor.next()).toBe(false);
  });

  it('reads a batch in the middle of a buffer, and starts anew after an error', () => {
    const batch = smallBatch();
    const around = Buffer.concat([Buffer.alloc(9, 0xff), batch, Buffer.alloc(9, 0xff)]);
    const cursor = new RecordCursor();
    cursor.reset(batchWithRecord([0, 0, 0, 1, 1, 0, 0]));
    expect(() => cursor.verify()).toThrow(/corrupt/);
    cursor.reset(around, 9);
    cursor.verify();
    expect(cursor.next()).toBe(true);
    expect(around.toString('utf8', cursor.valueStart, cursor.valueEnd)).toBe('value');
  });

  it.each<[string, number[], number]>([
    ['a record without its last field', [0, 0, 0, 1, 1], 1],
    ['a byte behind the headers', [0, 0, 0, 1, 1, 0, 0], 1],
    ['a key beyond the record', [0, 0, 0, 40, 1, 0], 1],
    ['a key length of -2', [0, 0, 0, 3, 1, 0], 1],
    ['a key of 2 GiB', [0, 0, 0, 0xfe, 0xff, 0xff, 0xff, 0x0f, 1, 0], 1],
    ['a value beyond the record', [0, 0, 0, 1, 2, 0], 1],
    ['a value length of -2', [0, 0, 0, 1, 3, 0], 1],
    ['a negative header count', [0, 0, 0, 1, 1, 1], 1],
    ['two billion headers', [0, 0, 0, 1, 1, 0xfe, 0xff, 0xff, 0xff, 0x0f], 1],
    ['a header without a name', [0, 0, 0, 1, 1, 2, 1, 1], 1],
    ['a header value beyond the record', [0, 0, 0, 1, 1, 2, 0, 4, 1], 1],
    ['an offset delta of -1', [0, 0, 1, 1, 1, 0], 1],
    ['an offset delta above the last', [0, 0, 12, 1, 1, 0], 1],
  ])('refuses %s', (_name, body, count) => {
    expect(() => readAll(batchWithRecord(body, count))).toThrow(
      expect.objectContaining({ code: 'CORRUPT_BATCH' }),
    );
  });

  it('refuses a time beyond the safe integers', () => {
    const batch = batchWithRecord([0, 2, 0, 1, 1, 0]);
    batch.writeBigInt64BE(BigInt(Number.MAX_SAFE_INTEGER), batchField.baseTimestamp);
    batch.writeBigInt64BE(BigInt(Number.MAX_SAFE_INTEGER), batchField.maxTimestamp);
    expect(() => readAll(batch)).toThrow(/time stamp delta 1/);
    batch.writeBigInt64BE(BigInt(Number.MAX_SAFE_INTEGER - 1), batchField.baseTimestamp);
    expect(readAll(batch)).toMatchObject([{ timestampMs: Number.MAX_SAFE_INTEGER }]);
  });

  it('refuses offsets that do not ascend', () => {
    const batch = Buffer.concat([
      batchWithRecord([0, 0, 2, 1, 1, 0]),
      Buffer.from([12, 0, 0, 2, 1, 1, 0]),
    ]);
    batch.writeInt32BE(batch.length - 12, batchField.batchLength);
    batch.writeInt32BE(2, batchField.recordCount);
    expect(() => readAll(batch)).toThrow(/offset delta 1 follows 1/);
    batch.writeUInt8(4, batch.length - 4);
    expect(readAll(batch).length).toBe(2);
  });

  it('refuses a record count that is not the number of records', () => {
    const batch = smallBatch();
    batch.writeInt32BE(1, batchField.recordCount);
    expect(() => readAll(batch)).toThrow(/bytes follow/);
    batch.writeInt32BE(3, batchField.recordCount);
    batch.writeInt32BE(2, batchField.lastOffsetDelta);
    expect(() => readAll(batch)).toThrow(/corrupt/);
  });

  it('refuses a compressed batch whose count its plain records cannot hold', () => {
    const writer = new RecordBatchWriter();
    writer.append(0, null, Buffer.alloc(100));
    const batch = writer.finish({ compression: 'zstd' });
    batch.writeInt32BE(0x7fffffff, batchField.recordCount);
    batch.writeInt32BE(0x7fffffff, batchField.lastOffsetDelta);
    expect(() => new RecordCursor().reset(batch)).toThrow(/has no 2147483647 records/);
  });

  it('reads an empty batch that compaction left', () => {
    const batch = smallBatch().subarray(0, BATCH_HEADER_BYTES);
    batch.writeInt32BE(BATCH_HEADER_BYTES - 12, batchField.batchLength);
    batch.writeInt32BE(0, batchField.recordCount);
    batch.writeInt16BE(4, batchField.attributes);
    expect(readAll(batch)).toEqual([]);
  });

  it('answers arbitrary records with records or CORRUPT_BATCH', () => {
    const header = smallBatch().subarray(0, BATCH_HEADER_BYTES);
    const property = fc.property(fc.uint8Array({ minLength: 14, maxLength: 60 }), (records) => {
      const batch = Buffer.concat([header, records]);
      batch.writeInt32BE(batch.length - 12, batchField.batchLength);
      try {
        expect(readAll(batch).length).toBe(2);
      } catch (error) {
        expect(error).toBeInstanceOf(OperatingError);
      }
    });
    fc.assert(property, { numRuns: 2000 });
  });

  it('answers damage to a small batch, CRC aside, without another error', () => {
    const batch = smallBatch();
    for (let bit = 0; bit < batch.length * 8; bit++) {
      const damaged = Buffer.from(batch);
      damaged.writeUInt8(damaged.readUInt8(bit >> 3) ^ (1 << (bit & 7)), bit >> 3);
      try {
        readAll(damaged);
      } catch (error) {
        expect(error).toMatchObject({
          code: expect.stringMatching(/CORRUPT_BATCH|BATCH_TOO_LARGE/),
        });
      }
    }
    for (let end = 0; end < batch.length; end++) {
      expect(() => readAll(batch.subarray(0, end))).toThrow(/corrupt/);
    }
  });
});

describe('plainRecords', () => {
  it.each(compressionCodecs)('reads a large %s batch off the event loop', async (compression) => {
    const writer = new RecordBatchWriter();
    // Values that do not compress, so that the input stays above the bound.
    let state = 1;
    for (let index = 0; index < 200; index++) {
      const value = Buffer.alloc(1000);
      for (let at = 0; at < value.length; at++)
        value[at] = (state = (state * 48271) % 0x7fffffff) >> 8;
      writer.append(index, null, value);
    }
    const batch = writer.finish({ compression });
    expect(decompressesOffLoop(batch)).toBe(compression !== 'none');
    const cursor = new RecordCursor();
    cursor.resetPlain(batch, 0, await plainRecords(batch));
    cursor.verify();
    let total = 0;
    while (cursor.next()) total += cursor.valueEnd - cursor.valueStart;
    expect(total).toBe(200_000);
  });
});
