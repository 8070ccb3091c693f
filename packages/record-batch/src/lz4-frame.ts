import { corruptBatch } from './corrupt-batch.ts';

/** LZ4 Frame Format 1.6: the magic number, and the bits of its FLG and BD bytes. */
const MAGIC = 0x184d2204;
const FLAG_VERSION_MASK = 0xc0;
const FLAG_VERSION_1 = 0x40;
const FLAG_BLOCK_CHECKSUM = 0x10;
const FLAG_CONTENT_SIZE = 0x08;
const FLAG_CONTENT_CHECKSUM = 0x04;
const FLAG_DICTIONARY = 0x01;
const BLOCK_STORED = 0x80000000;
const MATCH_BYTES_MIN = 4;
const LENGTH_EXTENDED = 15;

/**
 * Walks one frame, which has to fill `frame` exactly, and returns what it decodes to, in bytes; it stops
 * early, with a number above `bytesMax`, as soon as the output would be larger. Nothing is decoded: the
 * library has no cap of its own and accepts a frame without its end mark.
 */
export function lz4FrameDecodedBytes(frame: Buffer, bytesMax: number): number {
  if (frame.length < 7 || frame.readUInt32LE(0) !== MAGIC) throw corruptBatch('no LZ4 frame magic');
  const flags = frame.readUInt8(4);
  if ((flags & FLAG_VERSION_MASK) !== FLAG_VERSION_1 || (flags & FLAG_DICTIONARY) !== 0) {
    throw corruptBatch(`LZ4 frame flags ${flags} are not supported`);
  }
  const blockTrailer = (flags & FLAG_BLOCK_CHECKSUM) === 0 ? 0 : 4;
  const frameTrailer = (flags & FLAG_CONTENT_CHECKSUM) === 0 ? 0 : 4;
  let at = (flags & FLAG_CONTENT_SIZE) === 0 ? 7 : 15;
  let decoded = 0;
  for (;;) {
    if (at + 4 > frame.length) throw corruptBatch('an LZ4 frame is cut off');
    const size = frame.readUInt32LE(at);
    at += 4;
    if (size === 0) break;
    const end = at + (size & ~BLOCK_STORED);
    if (end + blockTrailer > frame.length) throw corruptBatch('an LZ4 block is cut off');
    decoded += size >= BLOCK_STORED ? end - at : lz4BlockDecodedBytes(frame, at, end, bytesMax);
    if (decoded > bytesMax) return decoded;
    at = end + blockTrailer;
  }
  if (at + frameTrailer !== frame.length) throw corruptBatch('an LZ4 frame has another length');
  return decoded;
}

/** Adds up the literals and matches of the block's sequences. */
function lz4BlockDecodedBytes(frame: Buffer, start: number, end: number, bytesMax: number): number {
  let decoded = 0;
  let at = start;
  while (at < end && decoded <= bytesMax) {
    const token = frame[at++] as number;
    let literals = token >>> 4;
    if (literals === LENGTH_EXTENDED) {
      let byte = 255;
      while (byte === 255 && at < end) literals += byte = frame[at++] as number;
    }
    at += literals;
    decoded += literals;
    if (at >= end) break;
    at += 2;
    let match = token & LENGTH_EXTENDED;
    if (match === LENGTH_EXTENDED) {
      let byte = 255;
      while (byte === 255 && at < end) match += byte = frame[at++] as number;
    }
    decoded += match + MATCH_BYTES_MIN;
  }
  return decoded;
}
