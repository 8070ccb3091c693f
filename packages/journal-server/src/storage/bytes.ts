import { assert } from '@robustmq/core';

const TWO_TO_32 = 4294967296;

/** Writes a safe integer >= 0 as a little-endian unsigned 64-bit integer. */
export function putU64(target: Buffer, position: number, value: number): void {
  const high = Math.floor(value / TWO_TO_32);
  target.writeUInt32LE(value - high * TWO_TO_32, position);
  target.writeUInt32LE(high, position + 4);
}

/** A little-endian unsigned 64-bit integer; not a safe integer above 2^53 - 1. */
export function getU64(source: Buffer, position: number): number {
  return source.readUInt32LE(position + 4) * TWO_TO_32 + source.readUInt32LE(position);
}

/** Builds small things off the hot path: little-endian, strings with a u16 length. */
export class ByteWriter {
  #buffer: Buffer;
  #used = 0;

  constructor(bytesExpected = 256) {
    this.#buffer = Buffer.allocUnsafeSlow(bytesExpected);
  }

  get length(): number {
    return this.#used;
  }

  u8(value: number): this {
    this.#used = this.#room(1).writeUInt8(value, this.#used);
    return this;
  }

  u16(value: number): this {
    this.#used = this.#room(2).writeUInt16LE(value, this.#used);
    return this;
  }

  u32(value: number): this {
    this.#used = this.#room(4).writeUInt32LE(value, this.#used);
    return this;
  }

  /** Safe integers >= 0. */
  u64(value: number): this {
    assert(Number.isSafeInteger(value) && value >= 0, 'a stored number is a safe integer >= 0');
    putU64(this.#room(8), this.#used, value);
    this.#used += 8;
    return this;
  }

  /** Any number, for time stamps, which may be negative. */
  f64(value: number): this {
    this.#used = this.#room(8).writeDoubleLE(value, this.#used);
    return this;
  }

  bytes(value: Buffer): this {
    this.#used += value.copy(this.#room(value.length), this.#used);
    return this;
  }

  text(value: string): this {
    const encoded = Buffer.from(value, 'utf8');
    return this.u16(encoded.length).bytes(encoded);
  }

  /** What was written; a view that lives until more is written. */
  view(): Buffer {
    return this.#buffer.subarray(0, this.#used);
  }

  #room(count: number): Buffer {
    if (this.#used + count > this.#buffer.length) {
      const larger = Buffer.allocUnsafeSlow(Math.max(this.#used + count, this.#buffer.length * 2));
      this.#buffer.copy(larger, 0, 0, this.#used);
      this.#buffer = larger;
    }
    return this.#buffer;
  }
}

/** Reads what {@link ByteWriter} wrote. Reading beyond the end throws a RangeError. */
export class ByteReader {
  readonly #buffer: Buffer;
  #position: number;

  constructor(buffer: Buffer, position = 0) {
    this.#buffer = buffer;
    this.#position = position;
  }

  get position(): number {
    return this.#position;
  }

  u8(): number {
    return this.#buffer.readUInt8(this.#advance(1));
  }

  u16(): number {
    return this.#buffer.readUInt16LE(this.#advance(2));
  }

  u32(): number {
    return this.#buffer.readUInt32LE(this.#advance(4));
  }

  u64(): number {
    return getU64(this.#buffer, this.#advance(8));
  }

  f64(): number {
    return this.#buffer.readDoubleLE(this.#advance(8));
  }

  /** A copy. */
  bytes(count: number): Buffer {
    const at = this.#advance(count);
    if (at + count > this.#buffer.length) throw new RangeError('bytes beyond the end');
    return Buffer.from(this.#buffer.subarray(at, at + count));
  }

  text(): string {
    return this.bytes(this.u16()).toString('utf8');
  }

  #advance(count: number): number {
    const at = this.#position;
    this.#position += count;
    return at;
  }
}
