import { HeaderBlock, RecordBatchWriter, RecordCursor } from '@robustmq/record-batch';

const sequenceEnd = 2 ** 31;

/**
 * The client's own producer at one shard: an id and the sequence of the next batch. An id is left for a
 * new one when a hole in the sequence cannot be closed any more (a batch was refused for good).
 */
export class ShardProducer {
  #id: number | undefined;
  #sequence = 0;
  #usedUp = false;

  /** Undefined until an id was given. */
  get id(): number | undefined {
    return this.#id;
  }

  /** Begins again at sequence 0. */
  begin(id: number): void {
    this.#id = id;
    this.#sequence = 0;
  }

  /** Nothing can be stamped until {@link begin}, with an id that was never used at this shard. */
  leave(): void {
    this.#id = undefined;
    this.#usedUp = true;
  }

  /** Whether an id was left: the process's own one must not be taken again. */
  get usedUp(): boolean {
    return this.#usedUp;
  }

  /** Takes the sequences of `count` records and returns the first. They wrap at 2^31, as Kafka's do. */
  takeSequence(count: number): number {
    const first = this.#sequence;
    this.#sequence = (first + count) % sequenceEnd;
    return first;
  }
}

/** A copy of a plain batch with another producer id (epoch 0) and sequence. */
export function restampBatch(batch: Buffer, producerId: number, baseSequence: number): Buffer {
  const cursor = new RecordCursor();
  const writer = new RecordBatchWriter();
  const headers = new HeaderBlock();
  cursor.reset(batch);
  while (cursor.next()) {
    headers.reset();
    while (cursor.nextHeader()) {
      const value = rangeOf(cursor.buffer, cursor.headerValueStart, cursor.headerValueEnd);
      headers.add(cursor.buffer.subarray(cursor.headerNameStart, cursor.headerNameEnd), value);
    }
    const key = rangeOf(cursor.buffer, cursor.keyStart, cursor.keyEnd);
    const value = rangeOf(cursor.buffer, cursor.valueStart, cursor.valueEnd);
    writer.append(cursor.timestampMs, key, value, headers);
  }
  return writer.finish({ producerId, producerEpoch: 0, baseSequence });
}

function rangeOf(buffer: Buffer, start: number, end: number): Buffer | null {
  return start === -1 ? null : buffer.subarray(start, end);
}
