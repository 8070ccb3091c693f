import {
  type Offset,
  offset,
  OperatingError,
  type ShardId,
  toOperatingError,
} from '@robustmq/core';
import type { JournalClient } from '@robustmq/journal-client';
import { FrameCursor, RecordCursor } from '@robustmq/record-batch';
import { type RecordKind, recordKindAt } from './coordinator-record.ts';

/** Takes what a coordinator's log holds, in order. */
export interface ReplayVisitor {
  /** `value` is a view that is valid during the call. */
  record(kind: RecordKind, value: Buffer, offset: Offset): void;
  /** The batch of the last records ends before `endOffset`. */
  batchEnd(endOffset: Offset): void;
  /** A batch could not be read and was passed over. */
  broken(baseOffset: Offset, reason: string): void;
}

export interface ReplayOptions {
  readonly journal: Pick<JournalClient, 'read'>;
  readonly shardId: ShardId;
  readonly fromOffset: Offset;
  /** Everything before it is committed, and is read. */
  readonly endOffset: Offset;
  readonly signal: AbortSignal;
}

/** Of one answer, so that applying it does not hold up the event loop for long. */
const readBytes = 512 * 1024;
const waitMs = 1000;
const nothing: Buffer = Buffer.alloc(0);

/**
 * Reads a coordinator's log from `fromOffset` to `endOffset`. Rejects as the journal's read does, with
 * UNSUPPORTED for a log of a newer version, or with the signal's reason.
 */
export async function replayLog(options: ReplayOptions, visitor: ReplayVisitor): Promise<void> {
  const { journal, shardId, endOffset, signal } = options;
  let from = options.fromOffset;
  while (from < endOffset) {
    signal.throwIfAborted();
    const read = { fromOffset: from, bytesMax: readBytes, waitMs, readCommitted: false, signal };
    const { frames, nextOffset } = await journal.read(shardId, read);
    signal.throwIfAborted();
    visitFrames(frames, from, endOffset, visitor);
    from = nextOffset;
  }
}

function visitFrames(frames: Buffer, from: number, end: number, visitor: ReplayVisitor): void {
  const cursor = new FrameCursor();
  const records = new RecordCursor();
  cursor.reset(frames);
  for (let step = cursor.next(); step !== 'end'; step = cursor.next()) {
    if (step !== 'frame') {
      throw new OperatingError(
        'CORRUPT_BATCH',
        `frames read from ${from}: ${String(cursor.fault)}`,
      );
    }
    if (cursor.kind !== 'batch' || cursor.lastOffset < from || cursor.baseOffset >= end) continue;
    visitBatch(records, frames, cursor, visitor);
  }
}

function visitBatch(
  records: RecordCursor,
  frames: Buffer,
  frame: FrameCursor,
  visitor: ReplayVisitor,
): void {
  const fault = openBatch(records, frames, frame);
  if (fault !== undefined) {
    visitor.broken(offset(frame.baseOffset), fault);
    return;
  }
  while (records.next()) {
    const { buffer, keyStart, keyEnd, valueStart, valueEnd } = records;
    const value = valueStart < 0 ? nothing : buffer.subarray(valueStart, valueEnd);
    visitor.record(recordKindAt(buffer, keyStart, keyEnd), value, offset(records.offset));
  }
  visitor.batchEnd(offset(frame.lastOffset + 1));
}

/** Stands before the first record of a batch that is whole; else says what is wrong. */
function openBatch(records: RecordCursor, frames: Buffer, frame: FrameCursor): string | undefined {
  try {
    records.reset(frames.subarray(frame.payloadStart, frame.end));
    records.verify();
    return undefined;
  } catch (thrown) {
    return toOperatingError(thrown).message;
  }
}
