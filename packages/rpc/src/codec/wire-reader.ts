import { OperatingError } from '@robustmq/core';

/**
 * Reads a message from bytes that nobody vouches for: whatever they are, a value comes back or
 * INVALID_ARGUMENT is thrown. Stricter than generated code where that reads past the end of a
 * nested message or stops at an end-group tag; never different where both give a value.
 */
export class WireReader {
  readonly #buffer: Buffer;
  #position = 0;
  #limit: number;
  #low = 0;
  #high = 0;

  constructor(buffer: Buffer) {
    this.#buffer = buffer;
    this.#limit = buffer.length;
  }

  /** Whether the message goes on. */
  get more(): boolean {
    return this.#position < this.#limit;
  }

  /** Field number and wire type of the next field, as on the wire: `field << 3 | type`. */
  tag(): number {
    const start = this.#position;
    this.#varint();
    const tooLong = this.#position - start > 5 || this.#high !== 0;
    if (tooLong || this.#low < 8) throw malformed('a tag is not a legal one', start);
    return this.#low;
  }

  uint32(): number {
    this.#varint();
    return this.#low;
  }

  int32(): number {
    this.#varint();
    return this.#low | 0;
  }

  /** A uint64 up to 2^53 - 1. */
  uint64(): number {
    const start = this.#position;
    this.#varint();
    if (this.#high > 0x1fffff) throw malformed('a number is above 2^53 - 1', start);
    return this.#high * 0x100000000 + this.#low;
  }

  bool(): boolean {
    this.#varint();
    return this.#low !== 0 || this.#high !== 0;
  }

  /** A view on the received buffer: it lives as long as somebody holds it. */
  bytes(): Buffer {
    const end = this.#end();
    const view = this.#buffer.subarray(this.#position, end);
    this.#position = end;
    return view;
  }

  string(): string {
    const end = this.#end();
    const text = this.#buffer.toString('utf8', this.#position, end);
    this.#position = end;
    return text;
  }

  /** One fixed32, unpacked. */
  fixed32(): number {
    const start = this.#position;
    this.#advance(4);
    return this.#buffer.readUInt32LE(start);
  }

  /** Adds packed fixed32 values to `into`. */
  fixed32List(into: number[]): void {
    const end = this.#end();
    if ((end - this.#position) % 4 !== 0) {
      throw malformed('a packed list ends inside of a value', this.#position);
    }
    while (this.#position < end) {
      into.push(this.#buffer.readUInt32LE(this.#position));
      this.#position += 4;
    }
  }

  /** A nested message, which `read` takes field by field until there is no `more`. */
  message<T>(read: (reader: WireReader) => T): T {
    const end = this.#end();
    const outer = this.#limit;
    this.#limit = end;
    const value = read(this);
    this.#limit = outer;
    return value;
  }

  /** Passes over a field that is not known, or is known with another type. */
  skip(tag: number): void {
    switch (tag & 7) {
      case 0:
        this.#varint();
        return;
      case 1:
        this.#advance(8);
        return;
      case 2:
        this.#position = this.#end();
        return;
      case 5:
        this.#advance(4);
        return;
      default:
        throw malformed(`wire type ${tag & 7} is not in use`, this.#position);
    }
  }

  /** Reads a length and gives the position at which what follows ends. */
  #end(): number {
    const start = this.#position;
    this.#varint();
    const end = this.#position + this.#low;
    if (end > this.#limit || this.#high !== 0) {
      throw malformed(`a field of ${this.#low} bytes ends after its message`, start);
    }
    return end;
  }

  #advance(count: number): void {
    const end = this.#position + count;
    if (end > this.#limit) throw malformed('a field ends after its message', this.#position);
    this.#position = end;
  }

  #varint(): void {
    const first = this.#byte();
    if (first < 0x80) {
      this.#low = first;
      this.#high = 0;
      return;
    }
    let low = first & 0x7f;
    let high = 0;
    for (let shift = 7; ; shift += 7) {
      if (shift > 63) throw malformed('a number has more than ten bytes', this.#position);
      const byte = this.#byte();
      const bits = byte & 0x7f;
      if (shift < 32) low |= bits << shift;
      if (shift === 28) high = bits >>> 4;
      else if (shift > 28) high |= bits << (shift - 32);
      if (byte < 0x80) break;
    }
    this.#low = low >>> 0;
    this.#high = high >>> 0;
  }

  #byte(): number {
    const byte = this.#position < this.#limit ? this.#buffer[this.#position] : undefined;
    if (byte === undefined) throw malformed('it ends inside of a number', this.#position);
    this.#position++;
    return byte;
  }
}

function malformed(what: string, at: number): OperatingError {
  return new OperatingError(
    'INVALID_ARGUMENT',
    `not a message: ${what} (byte ${at}); both ends have to speak the same protocol`,
  );
}
