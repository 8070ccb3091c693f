import { describe, expect, it } from 'vitest';
import fixtures from '../fixtures/real-clients.json' with { type: 'json' };
import { readBatchHeader, verifyBatchCrc } from './batch-header.ts';
import { RecordBatchWriter } from './batch-writer.ts';
import type { CompressionCodec } from './codec.ts';
import {
  decodeEndTransactionMarker,
  encodeEndTransactionMarker,
} from './end-transaction-marker.ts';
import { plainRecords, RecordCursor } from './record-cursor.ts';
import { recordsOf, type RecordView } from './record-view.ts';

/** A record as the fixture has it; without a time where the client took its clock's. */
interface ExpectedRecord {
  readonly timestampMs?: number;
  readonly key: string | null;
  readonly value: string | null;
  readonly headers: readonly (readonly [string, string | null])[];
}

const expectedRecords = fixtures.records as unknown as Readonly<Record<string, ExpectedRecord[]>>;
const batches = fixtures.batches.map((batch) => ({
  ...batch,
  codec: batch.codec as CompressionCodec,
  bytes: Buffer.from(batch.base64, 'base64'),
}));
const named = batches.filter((batch) => batch.records in expectedRecords);
const big = batches.filter((batch) => batch.name === 'big');

function batchNamed(name: string): Buffer {
  const found = batches.find((batch) => batch.name === name);
  if (found === undefined) throw new Error(`no fixture is named ${name}`);
  return found.bytes;
}

function plain(record: RecordView, withTime: boolean): ExpectedRecord {
  const text = (bytes: Buffer | null): string | null => (bytes === null ? null : String(bytes));
  return {
    ...(withTime ? { timestampMs: record.timestampMs } : {}),
    key: text(record.key),
    value: text(record.value),
    headers: record.headers.map((header) => [header.name, text(header.value)] as const),
  };
}

describe('batches of real clients', () => {
  it('are there for every client and codec', () => {
    expect(new Set(batches.map((batch) => batch.client)).size).toBe(4);
    expect(new Set(batches.map((batch) => batch.codec)).size).toBe(5);
  });

  it.each(named)('$client, $name, $codec: header, checksum and records', (batch) => {
    const { bytes } = batch;
    const expected = expectedRecords[batch.records] ?? [];
    const header = readBatchHeader(bytes, 0, bytes.length, 'producer');
    expect(header).toMatchObject({
      batchBytes: bytes.length,
      codec: batch.codec,
      recordCount: expected.length,
      isControl: false,
    });
    expect(verifyBatchCrc(bytes, 0, bytes.length)).toBe(true);
    const records = [...recordsOf(bytes)];
    const withTime = expected.every((record) => record.timestampMs !== undefined);
    expect(records.map((record) => plain(record, withTime))).toEqual(expected);
    expect(records.map((record) => record.offset)).toEqual(expected.map((_, index) => index));
  });

  it.each(big)('$client, $codec: a value of 100,000 bytes in several blocks', async (batch) => {
    const pattern = Uint8Array.from({ length: 100_000 }, (_, index) => index % 251);
    expect([...recordsOf(batch.bytes)][0]?.value?.equals(pattern)).toBe(true);
    const cursor = new RecordCursor();
    cursor.resetPlain(batch.bytes, 0, await plainRecords(batch.bytes));
    cursor.verify();
    cursor.next();
    expect(cursor.buffer.subarray(cursor.valueStart, cursor.valueEnd).equals(pattern)).toBe(true);
  });

  it('say that they are transactional and have the append time of the log', () => {
    expect(readBatchHeader(batchNamed('transactional'))).toMatchObject({
      isTransactional: true,
      producerId: 4711,
      producerEpoch: 3,
      baseSequence: 42,
    });
    expect(readBatchHeader(batchNamed('logappend')).isLogAppendTime).toBe(true);
  });

  it('are what the writer writes, byte for byte', () => {
    const writer = new RecordBatchWriter();
    for (const record of expectedRecords['four'] ?? []) {
      writer.append(
        record.timestampMs ?? 0,
        record.key === null ? null : Buffer.from(record.key),
        record.value === null ? null : Buffer.from(record.value),
        record.headers.map(([name, value]) => ({
          name,
          value: value === null ? null : Buffer.from(value),
        })),
      );
    }
    const producer = { producerId: 4711, producerEpoch: 3, baseSequence: 42 };
    const batch = writer.finish({ ...producer, transactional: true });
    expect(batch.toString('hex')).toBe(batchNamed('transactional').toString('hex'));
  });

  it.each(['commit', 'abort'] as const)('end a transaction with %s', (end) => {
    const marker = { end, coordinatorEpoch: 17 };
    const golden = batchNamed(`marker-${end}`);
    expect(decodeEndTransactionMarker(golden)).toEqual(marker);
    const producer = { producerId: 4711, producerEpoch: 3 };
    const encoded = encodeEndTransactionMarker(marker, producer, 1_700_000_000_000);
    expect(encoded.toString('hex')).toBe(golden.toString('hex'));
  });
});
