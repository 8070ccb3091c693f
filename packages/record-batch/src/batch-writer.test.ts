import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { limits } from '@robustmq/core';
import { BATCH_HEADER_BYTES, readBatchHeader, verifyBatchCrc } from './batch-header.ts';
import { RECORD_OVERHEAD_BYTES_MAX, RecordBatchWriter } from './batch-writer.ts';
import { compressionCodecs } from './codec.ts';
import { HeaderBlock } from './header-block.ts';
import { recordsOf } from './record-view.ts';
import { ScratchPool } from './scratch-pool.ts';

const bytes = fc.uint8Array({ maxLength: 40 }).map((array) => Buffer.from(array));
const nullableBytes = fc.option(bytes, { nil: null });
const record = fc.record({
  timestampMs: fc.integer({ min: -1, max: 2 ** 45 }),
  key: nullableBytes,
  value: nullableBytes,
  headers: fc.array(
    fc.record({ name: fc.string({ unit: 'grapheme', maxLength: 8 }), value: nullableBytes }),
    { maxLength: 4 },
  ),
});

describe('RecordBatchWriter', () => {
  it('writes what the cursor reads, with every codec', () => {
    const writer = new RecordBatchWriter();
    const property = fc.property(
      fc.array(record, { minLength: 1, maxLength: 20 }),
      fc.constantFrom(...compressionCodecs),
      (records, compression) => {
        for (const { timestampMs, key, value, headers } of records) {
          writer.append(timestampMs, key, value, headers);
        }
        const batch = writer.finish({ compression });
        expect(verifyBatchCrc(batch, 0, batch.length)).toBe(true);
        expect([...recordsOf(batch)]).toEqual(
          records.map((record, offset) => ({ ...record, offset })),
        );
      },
    );
    fc.assert(property, { numRuns: 150 });
  });

  it('puts the options, the base and the highest timestamp into the header', () => {
    const writer = new RecordBatchWriter();
    for (const timestampMs of [1000, 1500, 900]) writer.append(timestampMs, null, Buffer.from('v'));
    const batch = writer.finish({
      producerId: 2 ** 40 + 5,
      producerEpoch: 7,
      baseSequence: 2 ** 31 - 1,
      transactional: true,
    });
    expect(readBatchHeader(batch, 0, batch.length, 'producer')).toMatchObject({
      baseOffset: 0,
      partitionLeaderEpoch: 0,
      codec: 'none',
      isTransactional: true,
      isControl: false,
      lastOffsetDelta: 2,
      recordCount: 3,
      baseTimestampMs: 1000,
      maxTimestampMs: 1500,
      producerId: 2 ** 40 + 5,
      producerEpoch: 7,
      baseSequence: 2 ** 31 - 1,
    });
  });

  it('takes timestamps relative to a given base', () => {
    const writer = new RecordBatchWriter();
    writer.reset(5000);
    writer.append(5010, null, null);
    const batch = writer.finish();
    expect(readBatchHeader(batch).baseTimestampMs).toBe(5000);
    expect([...recordsOf(batch)].map((record) => record.timestampMs)).toEqual([5010]);
  });

  it('says its size as it grows, within the announced overhead, and starts empty again', () => {
    const writer = new RecordBatchWriter();
    expect(writer.byteLength).toBe(BATCH_HEADER_BYTES);
    writer.append(0, Buffer.alloc(10), Buffer.alloc(100));
    expect(writer.byteLength).toBeLessThanOrEqual(
      BATCH_HEADER_BYTES + 110 + RECORD_OVERHEAD_BYTES_MAX,
    );
    expect(writer.finish().length).toBe(BATCH_HEADER_BYTES + 119);
    expect([writer.byteLength, writer.recordCount]).toEqual([BATCH_HEADER_BYTES, 0]);
    writer.append(0, null, null);
    writer.reset();
    expect([writer.byteLength, writer.recordCount]).toEqual([BATCH_HEADER_BYTES, 0]);
  });

  it('appends encoded headers as it appends header objects', () => {
    const own = [{ name: 'a', value: Buffer.from('1') }];
    const constant = HeaderBlock.of([{ name: Buffer.from('mqtt.qos'), value: Buffer.from([1]) }]);
    const block = HeaderBlock.of(own);
    block.addBlock(constant);
    const writer = new RecordBatchWriter();
    writer.append(0, null, null, block);
    const encoded = writer.finish();
    writer.append(0, null, null, [...own, { name: 'mqtt.qos', value: Buffer.from([1]) }]);
    expect(encoded.equals(writer.finish())).toBe(true);
    block.reset();
    expect([block.count, block.byteLength]).toEqual([0, 0]);
  });

  it('hands over buffers that nobody else writes to and that waste at most a third', () => {
    const writer = new RecordBatchWriter(new ScratchPool());
    const seen = new Set<ArrayBufferLike>();
    for (const size of [1, 3000, 3900, 4200, 100_000, 10, 130_000, 2_000_000]) {
      writer.append(0, null, Buffer.alloc(size, size));
      const batch = writer.finish();
      expect(seen.has(batch.buffer)).toBe(false);
      seen.add(batch.buffer);
      expect(batch.buffer.byteLength * 3).toBeLessThanOrEqual(batch.length * 4);
      expect([...recordsOf(batch)][0]?.value?.length).toBe(size);
    }
  });

  it('refuses a record that passes the batch limit and keeps what it has', () => {
    const writer = new RecordBatchWriter();
    writer.append(1, null, Buffer.from('first'));
    const before = writer.byteLength;
    const tooLarge = Buffer.alloc(limits.batchBytesMax);
    expect(() => writer.append(2, null, tooLarge)).toThrow(
      expect.objectContaining({ code: 'BATCH_TOO_LARGE' }),
    );
    expect([writer.byteLength, writer.recordCount]).toEqual([before, 1]);
    expect([...recordsOf(writer.finish())].map((record) => String(record.value))).toEqual([
      'first',
    ]);
  });

  it('does not finish an empty batch', () => {
    expect(() => new RecordBatchWriter().finish()).toThrow(/at least one record/);
  });
});

describe('ScratchPool', () => {
  it('keeps no more than its bound', () => {
    const pool = new ScratchPool(8192);
    const buffers = [pool.take(4096), pool.take(4096), pool.take(4096)];
    for (const buffer of buffers) pool.give(buffer);
    const again = [pool.take(1), pool.take(1), pool.take(1)];
    expect(again.filter((buffer) => buffers.includes(buffer)).length).toBe(2);
  });
});
