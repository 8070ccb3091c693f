import { OperatingError } from '@robustmq/core';

/** Reads what a `ByteWriter` has written; throws INVALID_ARGUMENT where the bytes end too early. */
export class ByteReader {
  readonly bytes: Buffer;
  #position: number;

  constructor(bytes: Buffer, position = 0) {
    this.bytes = bytes;
    this.#position = position;
  }

  get atEnd(): boolean {
    return this.#position >= this.bytes.length;
  }

  byte(): number {
    const value = this.bytes[this.#position++];
    if (value === undefined) throw tooShort(this.bytes);
    return value;
  }

  number(): number {
    let value = 0;
    for (let scale = 1; ; scale *= 0x80) {
      const byte = this.byte();
      value += (byte & 0x7f) * scale;
      if (byte < 0x80) break;
    }
    if (!Number.isSafeInteger(value)) throw tooShort(this.bytes);
    return value;
  }

  flag(): boolean {
    return this.byte() !== 0;
  }

  text(): string {
    const start = this.skip(this.number());
    return this.bytes.toString('utf8', start, this.#position);
  }

  /** Passes over so many bytes; returns where they begin. */
  skip(bytes: number): number {
    const start = this.#position;
    if (bytes > this.bytes.length - start) throw tooShort(this.bytes);
    this.#position = start + bytes;
    return start;
  }

  /** `count` things, each read by `read`; the count stands before them. */
  list<Item>(read: (reader: this) => Item): Item[] {
    const count = this.number();
    // Each takes a byte at least.
    if (count > this.bytes.length - this.#position) throw tooShort(this.bytes);
    return Array.from({ length: count }, () => read(this));
  }
}

function tooShort(bytes: Buffer): OperatingError {
  return new OperatingError('INVALID_ARGUMENT', `${bytes.length} bytes end in the middle`);
}
