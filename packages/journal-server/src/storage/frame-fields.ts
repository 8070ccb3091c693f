import { FRAME_HEADER_BYTES } from '@robustmq/record-batch';

// The fields of a frame that the storage reads itself (docs/journal.md, amendment 1).

/** Bytes of the frame at `position`, all of it. */
export function frameLengthAt(source: Buffer, position: number): number {
  return source.readUInt32LE(position);
}

/** 1 is a producer snapshot, which takes no offset. */
export function isSnapshotAt(source: Buffer, position: number): boolean {
  return source[position + 8] === 1;
}

/** The chain value after the frame at `position`. */
export function chainAt(source: Buffer, position: number): number {
  return source.readUInt32LE(position + 16);
}

/** Append time of the leader, milliseconds since 1970. */
export function appendTimeAt(source: Buffer, position: number): number {
  return source.readUInt32LE(position + 28) * 4294967296 + source.readUInt32LE(position + 24);
}

/** Where the batch or the snapshot begins. */
export function payloadAt(source: Buffer, position: number): number {
  return position + FRAME_HEADER_BYTES + source.readUInt16LE(position + 10);
}
