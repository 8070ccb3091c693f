const bytesMin = 256;
/** What a number takes at most: 53 bits, 7 in a byte. */
const varintBytesMax = 8;

/** Writes numbers, texts and bytes behind each other. Reusable; what is taken is the caller's own. */
export class ByteWriter {
  #buffer: Buffer = Buffer.allocUnsafeSlow(bytesMin);
  #length = 0;

  byte(value: number): this {
    this.#reserve(1);
    this.#buffer[this.#length++] = value;
    return this;
  }

  /** A whole number from 0 to 2^53 - 1. */
  number(value: number): this {
    this.#reserve(varintBytesMax);
    let left = value;
    while (left >= 0x80) {
      this.#buffer[this.#length++] = (left % 0x80) | 0x80;
      left = Math.floor(left / 0x80);
    }
    this.#buffer[this.#length++] = left;
    return this;
  }

  flag(value: boolean): this {
    return this.byte(value ? 1 : 0);
  }

  text(value: string): this {
    const bytes = Buffer.byteLength(value);
    this.number(bytes);
    this.#reserve(bytes);
    this.#length += this.#buffer.write(value, this.#length);
    return this;
  }

  /** Bytes without their length. */
  raw(source: Uint8Array, start: number, end: number): this {
    this.#reserve(end - start);
    this.#buffer.set(source.subarray(start, end), this.#length);
    this.#length += end - start;
    return this;
  }

  /** What was written, in a buffer of its own. The writer is empty afterwards. */
  take(): Buffer {
    const bytes = Buffer.allocUnsafeSlow(this.#length);
    this.#buffer.copy(bytes, 0, 0, this.#length);
    this.#length = 0;
    return bytes;
  }

  #reserve(bytes: number): void {
    const needed = this.#length + bytes;
    if (needed <= this.#buffer.length) return;
    const grown = Buffer.allocUnsafeSlow(Math.max(needed, this.#buffer.length * 2));
    this.#buffer.copy(grown, 0, 0, this.#length);
    this.#buffer = grown;
  }
}
