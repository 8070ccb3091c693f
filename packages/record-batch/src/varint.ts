import { corruptBatch } from './corrupt-batch.ts';

/** 64 bits take at most 10 groups of 7. */
const VARLONG_BYTES_MAX = 10;

const BITS_7 = 128;
const INT32_MIN = -0x80000000;
const INT32_MAX = 0x7fffffff;
/** Bytes whose 7-bit groups a double adds up exactly (49 bits). */
const EXACT_GROUPS = 7;

/** Bytes that {@link writeVarint} takes for an i32. */
export function varintSize(value: number): number {
  const zigzag = ((value << 1) ^ (value >> 31)) >>> 0;
  if (zigzag < 0x80) return 1;
  if (zigzag < 0x4000) return 2;
  if (zigzag < 0x200000) return 3;
  return zigzag < 0x10000000 ? 4 : 5;
}

/** Writes an i32 as Kafka's zigzag varint and returns the position after it. The caller has made room. */
export function writeVarint(buffer: Buffer, position: number, value: number): number {
  let rest = ((value << 1) ^ (value >> 31)) >>> 0;
  let at = position;
  while (rest >= 0x80) {
    buffer[at++] = (rest & 0x7f) | 0x80;
    rest >>>= 7;
  }
  buffer[at++] = rest;
  return at;
}

/** Bytes that {@link writeVarlong} takes for a safe integer. */
export function varlongSize(value: number): number {
  if (value >= INT32_MIN && value <= INT32_MAX) return varintSize(value);
  let rest = zigzagOf(value) >> 35n;
  let size = 5;
  for (; rest > 0n; rest >>= 7n) size++;
  return size;
}

/** Writes a safe integer as Kafka's zigzag varlong and returns the position after it. */
export function writeVarlong(buffer: Buffer, position: number, value: number): number {
  if (value >= INT32_MIN && value <= INT32_MAX) return writeVarint(buffer, position, value);
  let rest = zigzagOf(value);
  let at = position;
  for (; rest >= 0x80n; rest >>= 7n) buffer[at++] = Number(rest & 0x7fn) | 0x80;
  buffer[at++] = Number(rest);
  return at;
}

function zigzagOf(value: number): bigint {
  return BigInt.asUintN(64, (BigInt(value) << 1n) ^ (BigInt(value) >> 63n));
}

/**
 * Reads varints from `buffer[position, end)`. It is a plain mutable object so that reading a field
 * allocates nothing. Every read that would pass `end` or overflow its type throws CORRUPT_BATCH.
 */
export class VarintReader {
  buffer: Buffer;
  position = 0;
  end = 0;

  constructor(buffer: Buffer) {
    this.buffer = buffer;
    this.end = buffer.length;
  }

  reset(buffer: Buffer, position: number, end: number): void {
    this.buffer = buffer;
    this.position = position;
    this.end = end;
  }

  /** An i32. */
  varint(): number {
    const first = this.#byte();
    if (first < 0x80) return (first >>> 1) ^ -(first & 1);
    let zigzag = first & 0x7f;
    for (let shift = 7; shift < 28; shift += 7) {
      const byte = this.#byte();
      zigzag |= (byte & 0x7f) << shift;
      if (byte < 0x80) return (zigzag >>> 1) ^ -(zigzag & 1);
    }
    const last = this.#byte();
    if (last > 0x0f) throw corruptBatch(`a varint is longer than 32 bits at ${this.position - 1}`);
    zigzag |= last << 28;
    return (zigzag >>> 1) ^ -(zigzag & 1);
  }

  /** An i64 as a safe integer; CORRUPT_BATCH beyond ±(2^53 - 1). */
  varlong(): number {
    const first = this.#byte();
    if (first < 0x80) return (first >>> 1) ^ -(first & 1);
    let zigzag = first & 0x7f;
    let scale = BITS_7;
    for (let group = 1; group < EXACT_GROUPS; group++) {
      const byte = this.#byte();
      zigzag += (byte & 0x7f) * scale;
      if (byte < 0x80) return zigzag % 2 === 0 ? zigzag / 2 : -(zigzag + 1) / 2;
      scale *= BITS_7;
    }
    return this.#longVarlong(BigInt(zigzag));
  }

  #longVarlong(low: bigint): number {
    let zigzag = low;
    for (let group = EXACT_GROUPS; group < VARLONG_BYTES_MAX; group++) {
      const byte = this.#byte();
      zigzag |= BigInt(byte & 0x7f) << BigInt(7 * group);
      if (byte >= 0x80) continue;
      const value = Number((zigzag >> 1n) ^ -(zigzag & 1n));
      if (zigzag < 1n << 64n && Number.isSafeInteger(value)) return value;
      break;
    }
    throw corruptBatch(`a varlong is beyond 2^53 at ${this.position - 1}`);
  }

  /** Passes over `bytes` bytes. */
  skip(bytes: number): void {
    if (bytes > this.end - this.position) throw corruptBatch(`a field is cut off at ${this.end}`);
    this.position += bytes;
  }

  #byte(): number {
    if (this.position >= this.end) throw corruptBatch(`a field is cut off at ${this.position}`);
    return this.buffer[this.position++] as number;
  }
}
