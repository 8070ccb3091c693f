import { RecordCursor } from './record-cursor.ts';

/** A record as views of its batch (or of its decompressed records). For code that is not hot. */
export interface RecordView {
  readonly offset: number;
  readonly timestampMs: number;
  readonly key: Buffer | null;
  readonly value: Buffer | null;
  readonly headers: readonly { readonly name: string; readonly value: Buffer | null }[];
}

/**
 * The records of the batch at `position`. All of them are verified before the first is yielded, so a batch
 * that throws CORRUPT_BATCH has yielded nothing.
 */
export function* recordsOf(batch: Buffer, position = 0): Generator<RecordView, void, undefined> {
  const cursor = new RecordCursor();
  cursor.reset(batch, position);
  cursor.verify();
  while (cursor.next()) yield viewOf(cursor);
}

function viewOf(cursor: RecordCursor): RecordView {
  const headers: { name: string; value: Buffer | null }[] = [];
  while (cursor.nextHeader()) {
    const name = cursor.buffer.toString('utf8', cursor.headerNameStart, cursor.headerNameEnd);
    headers.push({ name, value: range(cursor, cursor.headerValueStart, cursor.headerValueEnd) });
  }
  return {
    offset: cursor.offset,
    timestampMs: cursor.timestampMs,
    key: range(cursor, cursor.keyStart, cursor.keyEnd),
    value: range(cursor, cursor.valueStart, cursor.valueEnd),
    headers,
  };
}

function range(cursor: RecordCursor, start: number, end: number): Buffer | null {
  return start === -1 ? null : cursor.buffer.subarray(start, end);
}
