import { OperatingError } from '@robustmq/core';
import { decompressesOffLoop, FrameCursor, plainRecords } from '@robustmq/record-batch';

/** Plain records kept at a time; one batch may exceed it. */
const plainBytesMax = 32 * 1024 * 1024;

/** Records that were decompressed outside the event loop, or why they could not be, by the frame's position. */
export type PlainRecords = ReadonlyMap<number, Buffer | OperatingError>;

export interface PlainPiece {
  readonly records: PlainRecords;
  /** Frames up to this position can be read with them. */
  readonly end: number;
  /** Offset of the frame that begins there; undefined when that is the end of the frames. */
  readonly endOffset: number | undefined;
}

const cursor = new FrameCursor();

/** Whether a batch among the frames is to be decompressed outside the event loop. */
export function hasLargeBatch(frames: Buffer): boolean {
  cursor.reset(frames);
  while (cursor.next() === 'frame') {
    if (cursor.kind === 'batch' && decompressesOffLoop(frames, cursor.payloadStart)) return true;
  }
  return false;
}

/** Decompresses what is large among the frames from `start` on, until a bound is reached. */
export async function decompressLarge(frames: Buffer, start: number): Promise<PlainPiece> {
  const own = new FrameCursor();
  const records = new Map<number, Buffer | OperatingError>();
  let bytes = 0;
  own.reset(frames, start);
  while (own.next() === 'frame') {
    if (own.kind !== 'batch' || !decompressesOffLoop(frames, own.payloadStart)) continue;
    if (bytes >= plainBytesMax) return { records, end: own.position, endOffset: own.baseOffset };
    const plain = await plainOrError(frames, own.payloadStart);
    bytes += plain instanceof OperatingError ? 0 : plain.length;
    records.set(own.position, plain);
  }
  return { records, end: frames.length, endOffset: undefined };
}

async function plainOrError(frames: Buffer, position: number): Promise<Buffer | OperatingError> {
  try {
    return await plainRecords(frames, position);
  } catch (thrown) {
    if (thrown instanceof OperatingError) return thrown;
    throw thrown;
  }
}
