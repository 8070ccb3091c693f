import { OperatingError, segmentId, type SegmentId } from '@robustmq/core';

const segmentIdBytes = 16;

/** The 16 bytes that a segment id is on the wire. */
export function segmentIdToBytes(id: SegmentId): Buffer {
  return Buffer.from(id, 'hex');
}

/** The segment id of 16 bytes from the wire. Throws INVALID_ARGUMENT for any other number of bytes. */
export function segmentIdOfBytes(bytes: Buffer): SegmentId {
  if (bytes.length !== segmentIdBytes) {
    throw new OperatingError(
      'INVALID_ARGUMENT',
      `a segment id has ${segmentIdBytes} bytes, not ${bytes.length}`,
    );
  }
  return segmentId(bytes.toString('hex'));
}
