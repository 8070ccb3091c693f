import { assert, limits, OperatingError } from '@robustmq/core';
import { BATCH_BYTES_OUTSIDE_CRC, setBaseOffset, setPartitionLeaderEpoch } from './batch-header.ts';
import { writeU64LittleEndian } from './int64.ts';
import {
  chainAfter,
  type CoveredBytes,
  FRAME_HEADER_BYTES,
  type FrameControl,
  frameControls,
  frameField,
  frameHeaderCrc,
} from './frame.ts';

/** What the leader says about every frame. */
export interface FrameStamp {
  /** The segment's epoch, u32. */
  readonly epoch: number;
  /** The writer epoch of a single-writer shard, u32; 0 where there is none. */
  readonly writerEpoch: number;
  /** The leader's clock, milliseconds since 1970. */
  readonly appendTimeMs: number;
  /** Chain of the frame before, `FIRST_CHAIN` at the start of a segment. */
  readonly previousChain: number;
}

export interface BatchFrame extends FrameStamp {
  readonly control: FrameControl;
  /** Offset of the batch's first record. */
  readonly baseOffset: number;
  /** Key filter (see filter-tokens); empty matches everything. Copied. */
  readonly filter: Buffer;
  /** One whole, checked batch. Its base offset and leader epoch (0) are patched in place, nothing else. */
  readonly batch: Buffer;
}

export interface EncodedFrame {
  /** Header and filter, to be written right before the batch; the caller owns it. */
  readonly header: Buffer;
  readonly chain: number;
}

/** Bytes of the frame around a batch or snapshot of `payloadBytes`. */
export function frameBytes(filterBytes: number, payloadBytes: number): number {
  return FRAME_HEADER_BYTES + filterBytes + payloadBytes;
}

/**
 * Stamps a batch and makes the header that stands before it; the batch itself is not copied. Throws
 * BATCH_TOO_LARGE when the frame would pass `limits.batchBytesMax`.
 */
export function encodeFrame(frame: BatchFrame): EncodedFrame {
  const header = Buffer.allocUnsafeSlow(FRAME_HEADER_BYTES + frame.filter.length);
  return { header, chain: encodeFrameHeaderInto(header, 0, frame) };
}

/**
 * As {@link encodeFrame}, with the header and filter written to `target` at `position`, where there is room
 * for them. Returns the chain.
 */
export function encodeFrameHeaderInto(target: Buffer, position: number, frame: BatchFrame): number {
  const { batch, filter } = frame;
  checkSize(frameBytes(filter.length, batch.length));
  setBaseOffset(batch, 0, frame.baseOffset);
  setPartitionLeaderEpoch(batch, 0, 0);
  filter.copy(target, position + FRAME_HEADER_BYTES);
  const control = frameControls.indexOf(frame.control);
  writeFields(target, position, frame, {
    kind: 0,
    control,
    filterBytes: filter.length,
    payload: batch.length,
  });
  const payload = { payload: batch, payloadStart: 0, covered: BATCH_BYTES_OUTSIDE_CRC };
  const bytes = { header: target, position, ...payload };
  return seal(bytes, chainAfter('batch', bytes, frame.previousChain));
}

/**
 * Writes the whole frame to `target` at `position`, where there is room for {@link frameBytes}; the batch is
 * stamped in place and copied. Returns the chain.
 */
export function encodeFrameInto(target: Buffer, position: number, frame: BatchFrame): number {
  const chain = encodeFrameHeaderInto(target, position, frame);
  frame.batch.copy(target, position + FRAME_HEADER_BYTES + frame.filter.length);
  return chain;
}

/** The header of a frame that holds a producer snapshot, all of which its CRC covers. */
export function encodeSnapshotFrame(stamp: FrameStamp, snapshot: Buffer): EncodedFrame {
  checkSize(frameBytes(0, snapshot.length));
  const header = Buffer.allocUnsafeSlow(FRAME_HEADER_BYTES);
  writeFields(header, 0, stamp, { kind: 1, control: 0, filterBytes: 0, payload: snapshot.length });
  const covered = snapshot.length;
  const bytes = { header, position: 0, payload: snapshot, payloadStart: 0, covered };
  const chain = chainAfter('producer-snapshot', bytes, stamp.previousChain);
  return { header, chain: seal(bytes, chain) };
}

function checkSize(bytes: number): void {
  if (bytes <= limits.batchBytesMax) return;
  throw new OperatingError(
    'BATCH_TOO_LARGE',
    `a frame of ${bytes} bytes is above ${limits.batchBytesMax}; send smaller batches`,
  );
}

function writeFields(
  target: Buffer,
  position: number,
  stamp: FrameStamp,
  shape: { kind: number; control: number; filterBytes: number; payload: number },
): void {
  const { appendTimeMs } = stamp;
  assert(Number.isSafeInteger(appendTimeMs) && appendTimeMs >= 0, 'an append time is >= 0');
  const bytes = frameBytes(shape.filterBytes, shape.payload);
  target.writeUInt32LE(bytes, position + frameField.length);
  target.writeUInt8(shape.kind, position + frameField.kind);
  target.writeUInt8(shape.control, position + frameField.flags);
  target.writeUInt16LE(shape.filterBytes, position + frameField.filterLength);
  target.writeUInt32LE(stamp.epoch, position + frameField.epoch);
  target.writeUInt32LE(stamp.writerEpoch, position + frameField.writerEpoch);
  writeU64LittleEndian(target, position + frameField.appendTimeMs, appendTimeMs);
}

/** Writes the chain and, over it, the header CRC. */
function seal(bytes: CoveredBytes, chain: number): number {
  const { header, position } = bytes;
  header.writeUInt32LE(chain, position + frameField.chain);
  header.writeUInt32LE(frameHeaderCrc(bytes), position + frameField.headerCrc);
  return chain;
}
