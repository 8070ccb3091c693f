import { assert, epoch, incarnation, offset } from '@robustmq/core';
import type { Epoch, Incarnation, Offset, SegmentId } from '@robustmq/core';
import { ByteReader, ByteWriter, getU64, putU64 } from '../bytes.ts';
import {
  readManifest,
  SEGMENT_ID_BYTES,
  segmentIdAt,
  segmentIdBytes,
  writeManifest,
} from '../manifest.ts';
import type { ReplicaManifest } from '../storage.ts';

/** Numbers of the record types in the log; never reused. 6 and 8 are reserved. */
export const recordType = {
  replicaCreate: 1,
  append: 2,
  fence: 3,
  activated: 4,
  seal: 5,
  truncate: 6,
  copyBegin: 7,
  copyEnd: 8,
  delete: 9,
  damaged: 10,
  rebuildBegin: 11,
  swap: 12,
} as const;

/**
 * type u8, 3 bytes 0, payload length u32, 16 bytes that name the replica: the segment's id, or an own one of
 * a copy that is made beside a damaged replica.
 */
export const RECORD_HEADER_BYTES = 24;
/** Before the frame: record index u64, byte position u64, largest time stamp f64, records u32, 4 bytes 0. */
export const APPEND_PREFIX_BYTES = 32;

/** What the log says about a frame that follows, besides the frame itself. */
export interface AppendFields {
  /** Relative to the segment's base. */
  readonly index: number;
  /** In the segment file. */
  readonly position: number;
  readonly maxTimestampMs: number;
  readonly records: number;
}

/** Final length, and what the replica then holds of it. */
export interface SealFields {
  readonly sealedLength: number;
  readonly length: number;
  readonly bytes: number;
  readonly chain: number;
}

/** `segmentId` is the name of the replica in the log. */
export type WalRecord =
  | { readonly kind: 'create'; readonly manifest: ReplicaManifest }
  | { readonly kind: 'copyBegin'; readonly manifest: ReplicaManifest }
  | {
      /** A copy begins beside the damaged replica of its segment. */
      readonly kind: 'rebuildBegin';
      readonly segmentId: SegmentId;
      readonly manifest: ReplicaManifest;
    }
  | {
      readonly kind: 'append';
      readonly segmentId: SegmentId;
      readonly fields: AppendFields;
      /** The frame is `source[frameStart, frameEnd)`. */
      readonly frameStart: number;
      readonly frameEnd: number;
    }
  | {
      readonly kind: 'fence';
      readonly segmentId: SegmentId;
      readonly epoch: Epoch;
      readonly length: number;
    }
  | {
      readonly kind: 'activated';
      readonly segmentId: SegmentId;
      readonly incarnation: Incarnation;
      readonly baseOffset: Offset;
    }
  | ({ readonly kind: 'seal'; readonly segmentId: SegmentId } & SealFields)
  | ({
      /** A copy is complete and takes the place of the damaged replica, which is no replica any more. */
      readonly kind: 'swap';
      readonly segmentId: SegmentId;
      readonly replacedId: SegmentId;
    } & SealFields)
  | { readonly kind: 'delete'; readonly segmentId: SegmentId }
  | { readonly kind: 'damaged'; readonly segmentId: SegmentId };

export function writeRecordHeader(
  target: Buffer,
  position: number,
  type: number,
  payloadBytes: number,
): void {
  target.writeUInt32LE(type, position);
  target.writeUInt32LE(payloadBytes, position + 4);
}

export function writeAppendFields(target: Buffer, position: number, fields: AppendFields): void {
  putU64(target, position, fields.index);
  putU64(target, position + 8, fields.position);
  target.writeDoubleLE(fields.maxTimestampMs, position + 16);
  target.writeUInt32LE(fields.records, position + 24);
  target.writeUInt32LE(0, position + 28);
}

/** Largest time stamp of the frame at `framePosition` of a stretch of log. */
export function appendTimestampBefore(source: Buffer, framePosition: number): number {
  return source.readDoubleLE(framePosition - APPEND_PREFIX_BYTES + 16);
}

export function createPayload(manifest: ReplicaManifest): Buffer {
  const writer = new ByteWriter();
  writeManifest(writer, manifest);
  return writer.view();
}

export function fencePayload(fencedEpoch: Epoch, length: number): Buffer {
  return new ByteWriter(12).u32(fencedEpoch).u64(length).view();
}

export function activatedPayload(by: Incarnation, baseOffset: Offset): Buffer {
  return new ByteWriter(16).u64(by).u64(baseOffset).view();
}

export function sealPayload(seal: SealFields): Buffer {
  return sealFields(new ByteWriter(28), seal).view();
}

export function swapPayload(seal: SealFields, replaced: Buffer): Buffer {
  return sealFields(new ByteWriter(44), seal).bytes(replaced).view();
}

function sealFields(writer: ByteWriter, seal: SealFields): ByteWriter {
  writer.u64(seal.sealedLength).u64(seal.length);
  return writer.u64(seal.bytes).u32(seal.chain);
}

function readSealFields(reader: ByteReader): SealFields {
  const sealedLength = reader.u64();
  const length = reader.u64();
  const bytes = reader.u64();
  return { sealedLength, length, bytes, chain: reader.u32() };
}

/** The manifest does not say of which segment it is: the record's name is the copy's. */
export function rebuildPayload(manifest: ReplicaManifest): Buffer {
  const writer = new ByteWriter().bytes(segmentIdBytes(manifest.segmentId));
  writeManifest(writer, manifest);
  return writer.view();
}

/**
 * Calls `visit` for every record of a block body whose checksum holds. A body that does not parse
 * although its checksum holds was written by something else: an error, never skipped.
 */
export function visitRecords(
  source: Buffer,
  start: number,
  end: number,
  visit: (record: WalRecord) => void,
): void {
  let position = start;
  while (position < end) {
    assert(end - position >= RECORD_HEADER_BYTES, 'a record header lies inside its block');
    const type = source.readUInt8(position);
    const payload = position + RECORD_HEADER_BYTES;
    const next = payload + source.readUInt32LE(position + 4);
    assert(next <= end, 'a record lies inside its block');
    visit(readRecord(source, type, segmentIdAt(source, position + 8), payload, next));
    position = next;
  }
}

function readRecord(
  source: Buffer,
  type: number,
  id: SegmentId,
  payload: number,
  end: number,
): WalRecord {
  const reader = new ByteReader(source, payload);
  switch (type) {
    case recordType.append:
      return {
        kind: 'append',
        segmentId: id,
        fields: readAppendFields(source, payload),
        frameStart: payload + APPEND_PREFIX_BYTES,
        frameEnd: end,
      };
    case recordType.replicaCreate:
      return { kind: 'create', manifest: readManifest(reader, id) };
    case recordType.copyBegin:
      return { kind: 'copyBegin', manifest: readManifest(reader, id) };
    case recordType.fence:
      return { kind: 'fence', segmentId: id, epoch: epoch(reader.u32()), length: reader.u64() };
    case recordType.activated: {
      const by = incarnation(reader.u64());
      return {
        kind: 'activated',
        segmentId: id,
        incarnation: by,
        baseOffset: offset(reader.u64()),
      };
    }
    case recordType.seal:
      return { kind: 'seal', segmentId: id, ...readSealFields(reader) };
    case recordType.swap: {
      const fields = readSealFields(reader);
      const replacedId = segmentIdAt(reader.bytes(SEGMENT_ID_BYTES), 0);
      return { kind: 'swap', segmentId: id, ...fields, replacedId };
    }
    case recordType.rebuildBegin: {
      const segment = segmentIdAt(reader.bytes(SEGMENT_ID_BYTES), 0);
      return { kind: 'rebuildBegin', segmentId: id, manifest: readManifest(reader, segment) };
    }
    case recordType.delete:
      return { kind: 'delete', segmentId: id };
    case recordType.damaged:
      return { kind: 'damaged', segmentId: id };
    default:
      return assert(false, `a log record has a known type, not ${type}`) as never;
  }
}

function readAppendFields(source: Buffer, position: number): AppendFields {
  return {
    index: getU64(source, position),
    position: getU64(source, position + 8),
    maxTimestampMs: source.readDoubleLE(position + 16),
    records: source.readUInt32LE(position + 24),
  };
}
