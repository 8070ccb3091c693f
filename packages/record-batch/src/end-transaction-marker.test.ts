import { describe, expect, it } from 'vitest';
import { RecordBatchWriter } from './batch-writer.ts';
import { decodeEndTransactionMarker } from './end-transaction-marker.ts';

function control(key: Buffer | null, value: Buffer | null, records = 1): Buffer {
  const writer = new RecordBatchWriter();
  for (let index = 0; index < records; index++) writer.append(0, key, value);
  return writer.finish({ control: true, transactional: true });
}

const commitKey = Buffer.from([0, 0, 0, 1]);
const value = Buffer.from([0, 0, 0, 0, 0, 9]);

describe('decodeEndTransactionMarker', () => {
  it('does not know other control records', () => {
    expect(decodeEndTransactionMarker(control(Buffer.from([0, 0, 0, 2]), value))).toBeUndefined();
  });

  it('passes over fields of later versions', () => {
    const later = Buffer.concat([value, Buffer.from([1, 2])]);
    const marker = decodeEndTransactionMarker(control(commitKey, later));
    expect(marker).toEqual({ end: 'commit', coordinatorEpoch: 9 });
  });

  it.each([
    ['no key', control(null, value)],
    ['a short key', control(commitKey.subarray(0, 3), value)],
    ['no value', control(commitKey, null)],
    ['a short value', control(commitKey, value.subarray(0, 5))],
    ['two records', control(commitKey, value, 2)],
  ])('refuses %s', (_name, batch) => {
    expect(() => decodeEndTransactionMarker(batch)).toThrow(/corrupt/);
  });

  it('refuses a batch that is no control batch', () => {
    const writer = new RecordBatchWriter();
    writer.append(0, commitKey, value);
    const batch = writer.finish();
    expect(() => decodeEndTransactionMarker(batch)).toThrow(/no control batch/);
  });
});
