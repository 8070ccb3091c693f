import { HeaderBlock, RecordBatchWriter, RecordCursor } from '@robustmq/record-batch';

/** Under which producer a batch of the outbox is appended. */
export interface OutboxProducer {
  readonly producerId: number;
  readonly producerEpoch: number;
  readonly baseSequence: number;
}

/** A batch of one target that is not confirmed. */
export interface OutboxBatch {
  readonly sequence: number;
  /** One for each record. */
  readonly tags: readonly Buffer[];
  /** The record batch, byte for byte as it is appended; never given away. */
  readonly bytes: Buffer;
  readonly filter: Buffer;
  /**
   * The records it comes from stand before this offset of the coordinator's log; 0 after a snapshot,
   * infinite while the batch of the log is not closed.
   */
  logEnd: number;
}

/** Bytes that a batch holds. */
export function outboxBatchBytes(batch: OutboxBatch): number {
  let bytes = batch.bytes.length + batch.filter.length;
  for (const tag of batch.tags) bytes += tag.length;
  return bytes;
}

/** The same records under another producer epoch and sequence. */
export function rebuiltBatch(bytes: Buffer, producer: OutboxProducer): Buffer {
  const writer = new RecordBatchWriter();
  const cursor = new RecordCursor();
  const headers = new HeaderBlock();
  cursor.reset(bytes);
  while (cursor.next()) {
    headers.reset();
    while (cursor.nextHeader()) {
      const name = cursor.buffer.subarray(cursor.headerNameStart, cursor.headerNameEnd);
      headers.add(name, view(cursor.buffer, cursor.headerValueStart, cursor.headerValueEnd));
    }
    const key = view(cursor.buffer, cursor.keyStart, cursor.keyEnd);
    const value = view(cursor.buffer, cursor.valueStart, cursor.valueEnd);
    writer.append(cursor.timestampMs, key, value, headers);
  }
  return writer.finish(producer);
}

function view(buffer: Buffer, start: number, end: number): Buffer | null {
  return start < 0 ? null : buffer.subarray(start, end);
}

const fixedBytes = 8 + 4 + 4 + 4;
const tagLengthBytes = 4;

/** A batch as a chunk of a snapshot has it. */
export function encodeOutboxBatch(target: number, batch: OutboxBatch): Buffer {
  const { tags, filter } = batch;
  const bytes = outboxBatchBytes(batch) + fixedBytes + tags.length * tagLengthBytes;
  const chunk = Buffer.allocUnsafeSlow(bytes);
  let at = chunk.writeBigUInt64BE(BigInt(target));
  at = chunk.writeInt32BE(batch.sequence, at);
  at = chunk.writeUInt32BE(tags.length, at);
  at = chunk.writeUInt32BE(filter.length, at);
  for (const tag of tags) {
    at = chunk.writeUInt32BE(tag.length, at);
    at += tag.copy(chunk, at);
  }
  at += filter.copy(chunk, at);
  batch.bytes.copy(chunk, at);
  return chunk;
}

/** What {@link encodeOutboxBatch} has encoded, in buffers of its own. */
export function decodeOutboxBatch(chunk: Buffer): { target: number; batch: OutboxBatch } {
  const target = Number(chunk.readBigUInt64BE(0));
  const sequence = chunk.readInt32BE(8);
  const tagCount = chunk.readUInt32BE(12);
  const filterBytes = chunk.readUInt32BE(16);
  const tags: Buffer[] = [];
  let at = fixedBytes;
  for (let i = 0; i < tagCount; i++) {
    const start = at + tagLengthBytes;
    at = start + chunk.readUInt32BE(at);
    tags.push(Buffer.from(chunk.subarray(start, at)));
  }
  const filter = Buffer.from(chunk.subarray(at, at + filterBytes));
  const bytes = Buffer.from(chunk.subarray(at + filterBytes));
  return { target, batch: { sequence, tags, bytes, filter, logEnd: 0 } };
}
