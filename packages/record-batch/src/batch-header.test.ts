import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { limits } from '@robustmq/core';
import {
  BATCH_HEADER_BYTES,
  batchBaseOffset,
  batchFault,
  batchField,
  batchLastOffset,
  readBatchHeader,
  setBaseOffset,
  stampBatchCrc,
  verifyBatchCrc,
} from './batch-header.ts';
import { RecordBatchWriter } from './batch-writer.ts';

function batchOf(count: number): Buffer {
  const writer = new RecordBatchWriter();
  for (let index = 0; index < count; index++) writer.append(1000 + index, null, Buffer.from('v'));
  return writer.finish();
}

describe('batchFault', () => {
  it.each<[string, string, (batch: Buffer) => void]>([
    ['magic 1', 'magic', (batch) => batch.writeInt8(1, batchField.magic)],
    [
      'a length below the header',
      'length',
      (batch) => batch.writeInt32BE(48, batchField.batchLength),
    ],
    ['a negative length', 'length', (batch) => batch.writeInt32BE(-1, batchField.batchLength)],
    [
      'a length above the limit',
      'too large',
      (batch) => batch.writeInt32BE(limits.batchBytesMax, batchField.batchLength),
    ],
    [
      'a length beyond the end',
      'incomplete',
      (batch) => batch.writeInt32BE(500, batchField.batchLength),
    ],
    [
      'an unknown attribute bit',
      'attributes',
      (batch) => batch.writeInt16BE(0x80, batchField.attributes),
    ],
    ['the sign bit of the attributes', 'attributes', (batch) => batch.writeInt16BE(-32768, 21)],
    ['codec 5', 'codec', (batch) => batch.writeInt16BE(5, batchField.attributes)],
    ['a negative count', 'record count', (batch) => batch.writeInt32BE(-1, batchField.recordCount)],
    ['a count of 0 before records', 'record count', (batch) => batch.writeInt32BE(0, 57)],
    ['more records than bytes', 'record count', (batch) => batch.writeInt32BE(0x7fffffff, 57)],
    ['a negative last offset delta', 'record count', (batch) => batch.writeInt32BE(-1, 23)],
    ['fewer offsets than records', 'last offset delta', (batch) => batch.writeInt32BE(1, 23)],
    ['a negative base offset', 'unsafe number', (batch) => batch.writeBigInt64BE(-1n, 0)],
    ['an unsafe last offset', 'unsafe number', (batch) => batch.writeBigInt64BE(2n ** 53n - 2n, 0)],
    ['an unsafe base offset', 'unsafe number', (batch) => batch.writeBigInt64BE(2n ** 53n + 1n, 0)],
    ['an unsafe timestamp', 'unsafe number', (batch) => batch.writeBigInt64BE(2n ** 62n, 27)],
    ['an unsafe maximum', 'unsafe number', (batch) => batch.writeBigInt64BE(-(2n ** 62n), 35)],
    ['an unsafe producer id', 'unsafe number', (batch) => batch.writeBigInt64BE(2n ** 53n, 43)],
    ['producer id -2', 'producer', (batch) => batch.writeBigInt64BE(-2n, 43)],
  ])('finds %s', (_name, fault, damage) => {
    const batch = batchOf(3);
    expect(batchFault(batch, 0, batch.length)).toBeUndefined();
    damage(batch);
    expect(batchFault(batch, 0, batch.length)).toBe(fault);
    expect(() => readBatchHeader(batch)).toThrow(
      expect.objectContaining({
        code: fault === 'too large' ? 'BATCH_TOO_LARGE' : 'CORRUPT_BATCH',
      }),
    );
  });

  it('lets compaction leave gaps and empty batches in the log, and a producer not', () => {
    const gap = batchOf(3);
    gap.writeInt32BE(9, batchField.lastOffsetDelta);
    expect(batchFault(gap, 0, gap.length, 'log')).toBeUndefined();
    expect(batchFault(gap, 0, gap.length, 'producer')).toBe('last offset delta');
    const empty = batchOf(3).subarray(0, BATCH_HEADER_BYTES);
    empty.writeInt32BE(BATCH_HEADER_BYTES - 12, batchField.batchLength);
    empty.writeInt32BE(0, batchField.recordCount);
    expect(batchFault(empty, 0, empty.length, 'log')).toBeUndefined();
    expect(batchFault(empty, 0, empty.length, 'producer')).toBe('record count');
  });

  it('is incomplete at every truncation', () => {
    const batch = batchOf(2);
    for (let end = 0; end < batch.length; end++)
      expect(batchFault(batch, 0, end)).toBe('incomplete');
  });

  it('is total on arbitrary bytes', () => {
    const property = fc.property(fc.uint8Array({ minLength: 61, maxLength: 90 }), (array) => {
      const bytes = Buffer.from(array);
      bytes[batchField.magic] = 2;
      bytes.fill(0, batchField.batchLength, batchField.batchLength + 3);
      batchFault(bytes, 0, bytes.length);
    });
    fc.assert(property, { numRuns: 300 });
  });
});

describe('setBaseOffset', () => {
  it.each([0, 1, 2 ** 32 - 1, 2 ** 32, Number.MAX_SAFE_INTEGER - 1])('stamps %d', (offset) => {
    const batch = batchOf(2);
    setBaseOffset(batch, 0, offset);
    expect(batchBaseOffset(batch, 0)).toBe(offset);
    expect(batchLastOffset(batch, 0)).toBe(offset + 1);
    expect(verifyBatchCrc(batch, 0, batch.length)).toBe(true);
  });
});

describe('verifyBatchCrc', () => {
  it('fails for every flipped bit that it covers', () => {
    const batch = batchOf(2);
    for (let bit = batchField.crc * 8; bit < batch.length * 8; bit++) {
      const damaged = Buffer.from(batch);
      damaged.writeUInt8(damaged.readUInt8(bit >> 3) ^ (1 << (bit & 7)), bit >> 3);
      expect(verifyBatchCrc(damaged, 0, damaged.length)).toBe(false);
    }
  });

  it('holds again after stamping', () => {
    const batch = batchOf(2);
    batch.writeInt16BE(0x10, batchField.attributes);
    stampBatchCrc(batch, 0, batch.length);
    expect(verifyBatchCrc(batch, 0, batch.length)).toBe(true);
  });
});
