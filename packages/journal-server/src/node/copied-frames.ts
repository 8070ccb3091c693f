import { OperatingError } from '@robustmq/core';
import { batchMaxTimestampMs, FrameCursor } from '@robustmq/record-batch';
import type { JournalStorage, StoredReplica } from '../storage/storage.ts';

const cursor = new FrameCursor();

/** A log that frames are put behind. */
export interface LogTarget {
  readonly stored: StoredReplica;
  /** Offset of the segment's first record, once known. */
  readonly state: { readonly baseOffset: number | undefined };
}

/** Frames of another replica of the same segment. */
export interface CopiedFrames {
  /** Records before the frames. */
  readonly previousLength: number;
  /** Whole frames, one after the other. */
  readonly frames: Buffer;
}

/**
 * Stores what is new of them behind the log, each frame verified. The chain of the first new one covers
 * everything before it: if it fits, the log is a prefix of the other one (I4). Throws DAMAGED when it does
 * not, CORRUPT_BATCH for a frame that is not intact, and what the storage throws for lack of room; what came
 * before that is stored.
 */
export function storeFrames(
  storage: JournalStorage,
  replica: LogTarget,
  { frames, previousLength }: CopiedFrames,
): void {
  const { stored } = replica;
  let index = previousLength;
  cursor.reset(frames);
  while (cursor.next() === 'frame') {
    const records = recordsOf(cursor);
    // A snapshot at the end of the log may come twice, after a crash between it and its batch.
    const isThere = index < stored.length && index + records <= stored.length;
    if (!isThere) storeFrame(storage, replica, index, records);
    index += records;
  }
}

function storeFrame(
  storage: JournalStorage,
  { stored, state }: LogTarget,
  index: number,
  records: number,
): void {
  const { segmentId, epoch } = stored.manifest;
  const fault = index === stored.length ? cursor.verify(stored.chain) : 'chain';
  const isNext = records === 0 || cursor.baseOffset === (state.baseOffset ?? 0) + index;
  if (fault === 'chain' || !isNext || cursor.epoch !== epoch) {
    const message = `record ${index} of segment ${segmentId} that came does not follow the ${stored.length} that are here`;
    throw new OperatingError('DAMAGED', message);
  }
  if (fault !== undefined) throw corrupt(fault);
  const { buffer, position, payloadStart, end, chain, appendTimeMs } = cursor;
  const isSnapshot = records === 0;
  storage.append(stored, {
    header: buffer.subarray(position, payloadStart),
    body: buffer.subarray(payloadStart, end),
    records,
    chain,
    maxTimestampMs: isSnapshot ? stored.maxTimestampMs : batchMaxTimestampMs(buffer, payloadStart),
    appendTimeMs,
  });
}

/** Records of whole frames. Throws CORRUPT_BATCH; the checksums are verified when they are stored. */
export function countRecords(frames: Buffer): number {
  let records = 0;
  cursor.reset(frames);
  for (;;) {
    const step = cursor.next();
    if (step === 'end') return records;
    if (step !== 'frame') throw corrupt(cursor.fault ?? step);
    records += recordsOf(cursor);
  }
}

function recordsOf({ kind, baseOffset, lastOffset }: FrameCursor): number {
  return kind === 'batch' ? lastOffset - baseOffset + 1 : 0;
}

function corrupt(fault: string): OperatingError {
  return new OperatingError('CORRUPT_BATCH', `a frame that came fails its check (${fault})`);
}
