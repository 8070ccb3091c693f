import { offset, OperatingError, type ShardId } from '@robustmq/core';
import type {
  Attachment,
  AttachOptions,
  DecodedBatch,
  FanOut,
  FanOutReader,
} from '@robustmq/kernel';
import {
  batchBaseTimestampMs,
  HeaderBlock,
  RecordBatchWriter,
  RecordCursor,
  setBaseOffset,
} from '@robustmq/record-batch';
import type { MemoryLog, MemoryLogs } from '@robustmq/testkit';

/** A record that a test appends. */
export interface TestRecord {
  readonly key: string | null;
  readonly value: string | null;
  readonly headers?: readonly { readonly name: string; readonly value: Buffer }[];
}

/** Appends one batch; its append time is its time stamp. */
export function appendRecords(log: MemoryLog, records: readonly TestRecord[], atMs = 0): void {
  const writer = new RecordBatchWriter();
  for (const { key, value, headers = [] } of records) {
    const keyBytes = key === null ? null : Buffer.from(key);
    writer.append(
      atMs,
      keyBytes,
      value === null ? null : Buffer.from(value),
      HeaderBlock.of(headers),
    );
  }
  const shardId = 0;
  log.append({ shardId, batch: writer.finish(), filter: Buffer.alloc(0), writerEpoch: 0 });
}

class TestAttachment implements Attachment {
  readonly shardId: ShardId;
  readonly reader: FanOutReader;
  readonly live = true;
  position: number;
  isDetached = false;

  constructor(shardId: ShardId, reader: FanOutReader, position: number) {
    this.shardId = shardId;
    this.reader = reader;
    this.position = position;
  }

  get frontier() {
    return offset(this.position);
  }

  detach(): void {
    this.isDetached = true;
  }
}

/** A fan-out over logs in memory that gives what there is when it is told to. */
export class TestFanOut implements Pick<FanOut, 'attach'> {
  readonly #logs: MemoryLogs;
  readonly #attachments = new Set<TestAttachment>();

  constructor(logs: MemoryLogs) {
    this.#logs = logs;
  }

  get readers(): number {
    return this.#attachments.size;
  }

  attach(shardId: ShardId, reader: FanOutReader, options: AttachOptions = {}): Attachment {
    const attachment = new TestAttachment(shardId, reader, options.fromOffset ?? 0);
    this.#attachments.add(attachment);
    return attachment;
  }

  /** Gives each reader at most so many batches. */
  pump(batches = Number.POSITIVE_INFINITY): void {
    for (const attachment of this.#attachments) {
      if (attachment.isDetached) this.#attachments.delete(attachment);
      else this.#give(attachment, batches);
    }
  }

  #give(attachment: TestAttachment, batches: number): void {
    const log = this.#logs.log(attachment.shardId);
    if (attachment.position < log.trimOffset) {
      this.#attachments.delete(attachment);
      const hint = { earliestOffset: log.trimOffset };
      attachment.reader.detached(new OperatingError('OFFSET_OUT_OF_RANGE', 'trimmed', hint));
      return;
    }
    let left = batches;
    for (const { baseOffset, endOffset, batch } of log.batches) {
      if (endOffset <= attachment.position || left-- <= 0) continue;
      attachment.position = endOffset;
      attachment.reader.batch(decoded(attachment.shardId, baseOffset, endOffset, batch));
    }
    attachment.reader.frontier(offset(attachment.position));
  }
}

function decoded(
  shardId: ShardId,
  baseOffset: number,
  endOffset: number,
  batch: Buffer,
): DecodedBatch {
  const cursor = new RecordCursor();
  setBaseOffset(batch, 0, baseOffset);
  cursor.reset(batch);
  const timestampMs = batchBaseTimestampMs(batch, 0);
  return {
    shardId,
    baseOffset: offset(baseOffset),
    nextOffset: offset(endOffset),
    appendTimeMs: timestampMs,
    producerId: -1,
    writerEpoch: 0,
    cursor,
  };
}
