import snappy from 'snappy';
import { corruptBatch } from './corrupt-batch.ts';

/**
 * Snappy as Kafka's clients frame it (xerial's snappy-java): these 8 bytes, version i32, oldest compatible
 * version i32, then blocks of `length i32 | raw snappy`, big-endian. Some clients send one raw block only.
 */
const MAGIC = Buffer.from([0x82, 0x53, 0x4e, 0x41, 0x50, 0x50, 0x59, 0x00]);
const HEADER_BYTES = 16;
const VERSION = 1;
/** Plain bytes of a block, as snappy-java cuts them. */
const BLOCK_BYTES = 32 * 1024;

export function encodeXerial(plain: Uint8Array): Buffer {
  const header = Buffer.alloc(HEADER_BYTES);
  MAGIC.copy(header);
  header.writeInt32BE(VERSION, 8);
  header.writeInt32BE(VERSION, 12);
  const parts: Buffer[] = [header];
  for (let at = 0; at < plain.length; at += BLOCK_BYTES) {
    const block = snappy.compressSync(plain.subarray(at, at + BLOCK_BYTES));
    const length = Buffer.alloc(4);
    length.writeInt32BE(block.length);
    parts.push(length, block);
  }
  return Buffer.concat(parts);
}

/**
 * The raw blocks of `input`, with xerial's framing or without. The sum of the lengths that they declare
 * comes with them; the library refuses a block that decodes to another length.
 */
export function snappyBlocks(input: Buffer): { blocks: Buffer[]; decodedBytes: number } {
  if (input.length < MAGIC.length || MAGIC.compare(input, 0, MAGIC.length) !== 0) {
    return { blocks: [input], decodedBytes: declaredBytes(input) };
  }
  if (input.length < HEADER_BYTES) throw corruptBatch('a snappy header is cut off');
  const blocks: Buffer[] = [];
  let decodedBytes = 0;
  for (let at = HEADER_BYTES; at < input.length;) {
    const start = at + 4;
    const end = start > input.length ? -1 : start + input.readInt32BE(at);
    if (end <= start || end > input.length)
      throw corruptBatch(`a snappy block is cut off at ${at}`);
    const block = input.subarray(start, end);
    decodedBytes += declaredBytes(block);
    blocks.push(block);
    at = end;
  }
  return { blocks, decodedBytes };
}

/** A raw block begins with its decoded length as an unsigned varint of 32 bits. */
function declaredBytes(block: Buffer): number {
  let bytes = 0;
  for (let index = 0; index < 5; index++) {
    const byte = block[index];
    if (byte === undefined) break;
    bytes += (byte & 0x7f) * 2 ** (7 * index);
    if (byte < 0x80) return bytes;
  }
  throw corruptBatch('a snappy block has no length');
}
