import { offset } from '@robustmq/core';
import { batchBaseOffset } from '@robustmq/record-batch';
import { appendTimeAt, chainAt, frameLengthAt, isSnapshotAt, payloadAt } from './frame-fields.ts';
import { type Mark, NOTHING, type Replica } from './replica.ts';

/** Moves a replica behind the frame at `position` of `source`, which is its next one. */
export function noteFrame(
  replica: Replica,
  source: Buffer,
  position: number,
  fields: { readonly records: number; readonly maxTimestampMs: number },
): void {
  if (replica.sizeBytes === 0) replica.firstAppendMs = appendTimeAt(source, position);
  if (isSnapshotAt(source, position)) {
    replica.lastSnapshotBytes = replica.sizeBytes;
  } else {
    const first = batchBaseOffset(source, payloadAt(source, position));
    replica.baseOffset ??= offset(first - replica.length);
    if (replica.length === 0 || fields.maxTimestampMs > replica.maxTimestampMs) {
      replica.maxTimestampMs = fields.maxTimestampMs;
    }
  }
  replica.length += fields.records;
  replica.sizeBytes += frameLengthAt(source, position);
  replica.chain = chainAt(source, position);
}

/**
 * Drops what lies behind `mark`, in memory; the file is cut by the caller. The largest time stamp stays:
 * it is an upper bound.
 */
export function cutReplica(replica: Replica, mark: Mark): void {
  cutMemory(replica, mark.bytes);
  replica.length = mark.records;
  replica.sizeBytes = mark.bytes;
  replica.chain = mark.chain;
  replica.durableLength = Math.min(replica.durableLength, mark.records);
  replica.durableBytes = Math.min(replica.durableBytes, mark.bytes);
  if (replica.written.bytes > mark.bytes) replica.written = mark;
  if (replica.synced.bytes > mark.bytes) replica.synced = mark;
  if (replica.synced.bytes === mark.bytes) replica.firstUnsyncedLsn = NOTHING;
  if (replica.lastSnapshotBytes >= mark.bytes) replica.lastSnapshotBytes = -1;
  replica.index?.cut(mark.bytes);
  replica.hasFooter = false;
}

function cutMemory(replica: Replica, bytes: number): void {
  const { memory } = replica;
  let at = memory.endOrdinal;
  for (let position = replica.sizeBytes; position > bytes; at--) {
    // Below an evicted frame there are only written ones, which the file has.
    if (!memory.isInMemory(at - 1)) return memory.cut(memory.firstOrdinal);
    position -= memory.bytesOf(at - 1);
  }
  memory.cut(at);
}
