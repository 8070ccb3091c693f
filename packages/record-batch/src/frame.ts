import { limits } from '@robustmq/core';
import {
  BATCH_BYTES_OUTSIDE_CRC,
  BATCH_HEADER_BYTES,
  batchBytes,
  batchFault,
  isControlBatch,
  verifyBatchCrc,
} from './batch-header.ts';
import { crc32c } from './crc32c.ts';
import { isFilter } from './filter-tokens.ts';
import { readU64LittleEndian } from './int64.ts';

/**
 * The journal's frame, the same bytes on the wire, in the write-ahead log and in segment files
 * (docs/journal.md, amendment 1); little-endian, at these positions from its start. The filter follows the
 * header, then the batch (or the producer snapshot).
 */
export const frameField = {
  /** u32: the whole frame, this field included. */
  length: 0,
  /** u32: see {@link frameHeaderCrc}. */
  headerCrc: 4,
  /** u8: 0 batch, 1 producer snapshot. */
  kind: 8,
  /** u8: 0 none, 1 commit, 2 abort. */
  flags: 9,
  /** u16, bytes. */
  filterLength: 10,
  /** u32: the segment's. */
  epoch: 12,
  /** u32: see {@link frameChain}. */
  chain: 16,
  /** u32: 0 in a shard that has many writers. */
  writerEpoch: 20,
  /** u64: milliseconds since 1970 on the leader's clock. */
  appendTimeMs: 24,
} as const;

export const FRAME_HEADER_BYTES = 32;
/** Chain before the first frame of a segment. */
export const FIRST_CHAIN = 0;

/** What stands in a frame: number 0 and 1. A producer snapshot takes no offset. */
export type FrameKind = 'batch' | 'producer-snapshot';
/** Whether the batch ends a transaction, in the order of its number. */
export const frameControls = ['none', 'commit', 'abort'] as const;
export type FrameControl = (typeof frameControls)[number];

/**
 * The first rule a frame breaks. `incomplete`: it declares more bytes than there are (more may come). The
 * three last ones come from {@link verifyFrame}.
 */
export type FrameFault =
  | 'incomplete'
  | 'length'
  | 'kind'
  | 'flags'
  | 'filter'
  | 'append time'
  | 'batch'
  | 'header crc'
  | 'chain'
  | 'batch crc';

/** A frame as plain values and positions in `buffer`, which it does not own. */
export interface FrameView {
  readonly buffer: Buffer;
  readonly position: number;
  /** Position behind the frame. */
  readonly end: number;
  readonly kind: FrameKind;
  readonly control: FrameControl;
  readonly epoch: number;
  readonly writerEpoch: number;
  readonly chain: number;
  readonly appendTimeMs: number;
  /** The filter is `[filterStart, payloadStart)`, the batch or snapshot `[payloadStart, end)`. */
  readonly filterStart: number;
  readonly payloadStart: number;
}

export type FrameResult =
  | { readonly status: 'ok'; readonly frame: FrameView }
  /** At least `bytesNeeded` bytes, counted from the frame's start, have to be there. */
  | { readonly status: 'incomplete'; readonly bytesNeeded: number }
  | { readonly status: 'corrupt'; readonly fault: FrameFault };

/**
 * Checks the structure of the frame at `position` against `end`, without checksums and without allocating;
 * `undefined` when it holds. Total on arbitrary bytes, for 0 <= position <= end <= buffer.length.
 */
export function frameFault(buffer: Buffer, position: number, end: number): FrameFault | undefined {
  if (end - position < FRAME_HEADER_BYTES) return 'incomplete';
  const length = frameLength(buffer, position);
  const payload = FRAME_HEADER_BYTES + frameFilterLength(buffer, position);
  if (length < payload || length > limits.batchBytesMax) return 'length';
  const kind = buffer[position + frameField.kind];
  const flags = buffer[position + frameField.flags];
  if (kind !== 0 && kind !== 1) return 'kind';
  if (flags === undefined || flags >= frameControls.length) return 'flags';
  if (kind === 1 && flags !== 0) return 'flags';
  if (!Number.isSafeInteger(frameAppendTimeMs(buffer, position))) return 'append time';
  if (position + length > end) return 'incomplete';
  if (!isFilter(buffer, position + FRAME_HEADER_BYTES, position + payload)) return 'filter';
  if (kind === 1) return undefined;
  return payloadFault(buffer, position + payload, position + length, flags);
}

/** The batch has to fill the rest of the frame exactly, and only a control batch ends a transaction. */
function payloadFault(
  buffer: Buffer,
  start: number,
  end: number,
  flags: number,
): FrameFault | undefined {
  if (end - start < BATCH_HEADER_BYTES || start + batchBytes(buffer, start) !== end) return 'batch';
  if (batchFault(buffer, start, end) !== undefined) return 'batch';
  return flags !== 0 && !isControlBatch(buffer, start) ? 'flags' : undefined;
}

/** The frame at `position`, its structure checked as {@link frameFault} does. Never throws. */
export function readFrame(buffer: Buffer, position = 0, end: number = buffer.length): FrameResult {
  const fault = frameFault(buffer, position, end);
  if (fault === 'incomplete') {
    const hasLength = end - position >= FRAME_HEADER_BYTES;
    const bytesNeeded = hasLength ? frameLength(buffer, position) : FRAME_HEADER_BYTES;
    return { status: 'incomplete', bytesNeeded };
  }
  if (fault !== undefined) return { status: 'corrupt', fault };
  const filterStart = position + FRAME_HEADER_BYTES;
  const frame: FrameView = {
    buffer,
    position,
    end: position + frameLength(buffer, position),
    kind: frameKind(buffer, position),
    control: frameControl(buffer, position),
    epoch: frameEpoch(buffer, position),
    writerEpoch: frameWriterEpoch(buffer, position),
    chain: frameChainOf(buffer, position),
    appendTimeMs: frameAppendTimeMs(buffer, position),
    filterStart,
    payloadStart: filterStart + frameFilterLength(buffer, position),
  };
  return { status: 'ok', frame };
}

/**
 * Verifies the checksums of a frame whose structure holds: the header's, the chain if the chain of the
 * frame before is given, and the batch's own. Between them they cover every byte of the frame.
 */
export function verifyFrame(
  frame: Pick<FrameView, 'buffer' | 'position' | 'end' | 'payloadStart' | 'kind'>,
  previousChain?: number,
): FrameFault | undefined {
  const { buffer, position, end, payloadStart, kind } = frame;
  const covered = kind === 'batch' ? payloadStart + BATCH_BYTES_OUTSIDE_CRC : end;
  const bytes = { header: buffer, position, payload: buffer, payloadStart, covered };
  if (frameHeaderCrc(bytes) !== buffer.readUInt32LE(position + frameField.headerCrc)) {
    return 'header crc';
  }
  const chain = frameChainOf(buffer, position);
  if (previousChain !== undefined && chain !== chainAfter(kind, bytes, previousChain)) {
    return 'chain';
  }
  if (kind === 'batch' && !verifyBatchCrc(buffer, payloadStart, end - payloadStart)) {
    return 'batch crc';
  }
  return undefined;
}

/**
 * The bytes that a frame's checksums cover: the header and filter at `position` of `header`, and
 * `payload[payloadStart, covered)`: the 21 bytes of a batch outside its own CRC, or a whole snapshot.
 */
export interface CoveredBytes {
  readonly header: Buffer;
  readonly position: number;
  readonly payload: Buffer;
  readonly payloadStart: number;
  readonly covered: number;
}

/**
 * The chain after a frame. A producer snapshot leaves it as it was: it says nothing that the batches before
 * it do not, and a log with one at its end is the same log as one without.
 */
export function chainAfter(kind: FrameKind, bytes: CoveredBytes, previousChain: number): number {
  return kind === 'batch' ? frameChain(bytes, previousChain) : previousChain;
}

/** CRC32C of the length, the header from the kind on, the filter and the covered part of the payload. */
export function frameHeaderCrc(bytes: CoveredBytes): number {
  const { header, position } = bytes;
  const length = crc32c(header, position, position + frameField.headerCrc);
  const fields = position + frameField.kind;
  return crcOfRest(bytes, crc32c(header, fields, position + FRAME_HEADER_BYTES, length));
}

const FOUR_ZEROS = Buffer.alloc(4);
const chainScratch = Buffer.alloc(4);

/** CRC32C of the previous chain (u32, little-endian) and of what the header CRC covers, with chain 0. */
export function frameChain(bytes: CoveredBytes, previousChain: number): number {
  const { header, position } = bytes;
  chainScratch.writeUInt32LE(previousChain);
  let crc = crc32c(chainScratch);
  crc = crc32c(header, position, position + frameField.headerCrc, crc);
  crc = crc32c(header, position + frameField.kind, position + frameField.chain, crc);
  crc = crc32c(FOUR_ZEROS, 0, 4, crc);
  crc = crc32c(header, position + frameField.writerEpoch, position + FRAME_HEADER_BYTES, crc);
  return crcOfRest(bytes, crc);
}

function crcOfRest(bytes: CoveredBytes, previous: number): number {
  const { header, position, payload, payloadStart, covered } = bytes;
  const filterStart = position + FRAME_HEADER_BYTES;
  const filterEnd = filterStart + frameFilterLength(header, position);
  return crc32c(payload, payloadStart, covered, crc32c(header, filterStart, filterEnd, previous));
}

// The getters below read one field each; the caller has checked that the header is there.

export function frameLength(buffer: Buffer, position: number): number {
  return buffer.readUInt32LE(position + frameField.length);
}

export function frameFilterLength(buffer: Buffer, position: number): number {
  return buffer.readUInt16LE(position + frameField.filterLength);
}

export function frameKind(buffer: Buffer, position: number): FrameKind {
  return buffer[position + frameField.kind] === 0 ? 'batch' : 'producer-snapshot';
}

export function frameControl(buffer: Buffer, position: number): FrameControl {
  return frameControls[buffer.readUInt8(position + frameField.flags)] ?? 'none';
}

export function frameEpoch(buffer: Buffer, position: number): number {
  return buffer.readUInt32LE(position + frameField.epoch);
}

export function frameWriterEpoch(buffer: Buffer, position: number): number {
  return buffer.readUInt32LE(position + frameField.writerEpoch);
}

export function frameChainOf(buffer: Buffer, position: number): number {
  return buffer.readUInt32LE(position + frameField.chain);
}

export function frameAppendTimeMs(buffer: Buffer, position: number): number {
  return readU64LittleEndian(buffer, position + frameField.appendTimeMs);
}
