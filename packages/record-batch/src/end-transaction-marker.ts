import { isControlBatch } from './batch-header.ts';
import { RecordBatchWriter } from './batch-writer.ts';
import { corruptBatch } from './corrupt-batch.ts';
import { RecordCursor } from './record-cursor.ts';

/** How a transaction ended. */
export type TransactionEnd = 'commit' | 'abort';

/** Key: version i16 = 0, type i16. Value: version i16 = 0, coordinator epoch i32. */
const KEY_BYTES = 4;
const VALUE_BYTES = 6;
const VERSION = 0;
const TYPE_ABORT = 0;
const TYPE_COMMIT = 1;

export interface EndTransactionMarker {
  readonly end: TransactionEnd;
  readonly coordinatorEpoch: number;
}

/** A control batch that ends the open transaction of a producer in one partition. It has no sequence. */
export function encodeEndTransactionMarker(
  marker: EndTransactionMarker,
  producer: { readonly producerId: number; readonly producerEpoch: number },
  timestampMs: number,
): Buffer {
  const key = Buffer.alloc(KEY_BYTES);
  key.writeInt16BE(VERSION, 0);
  key.writeInt16BE(marker.end === 'commit' ? TYPE_COMMIT : TYPE_ABORT, 2);
  const value = Buffer.alloc(VALUE_BYTES);
  value.writeInt16BE(VERSION, 0);
  value.writeInt32BE(marker.coordinatorEpoch, 2);
  const writer = new RecordBatchWriter();
  writer.append(timestampMs, key, value);
  return writer.finish({ ...producer, transactional: true, control: true });
}

/**
 * The marker in the control batch at `position`; `undefined` for a control record of another type. Throws
 * CORRUPT_BATCH for a batch that is no control batch, has not one record, or whose marker is cut off.
 * Later versions may append fields, which are passed over.
 */
export function decodeEndTransactionMarker(
  batch: Buffer,
  position = 0,
): EndTransactionMarker | undefined {
  const cursor = new RecordCursor();
  cursor.reset(batch, position);
  cursor.verify();
  if (!isControlBatch(batch, position)) throw corruptBatch('it is no control batch');
  if (cursor.recordCount !== 1) throw corruptBatch('a control batch has one record');
  cursor.next();
  const { buffer, keyStart, keyEnd, valueStart, valueEnd } = cursor;
  if (keyStart === -1 || keyEnd - keyStart < KEY_BYTES)
    throw corruptBatch('a control key is cut off');
  const type = buffer.readInt16BE(keyStart + 2);
  if (type !== TYPE_ABORT && type !== TYPE_COMMIT) return undefined;
  if (valueStart === -1 || valueEnd - valueStart < VALUE_BYTES) {
    throw corruptBatch('a marker is cut off');
  }
  return {
    end: type === TYPE_COMMIT ? 'commit' : 'abort',
    coordinatorEpoch: buffer.readInt32BE(valueStart + 2),
  };
}
