import { copyBytes } from './copy-bytes.ts';
import { varintSize, writeVarint } from './varint.ts';

/** A record header: a name and a value, which may be null. Names may repeat. */
export interface RecordHeader {
  readonly name: Buffer | string;
  readonly value: Uint8Array | null;
}

const INITIAL_BYTES = 64;
/** What a block keeps when it is reset; one large header must not stay in memory for good. */
const KEPT_BYTES_MAX = 64 * 1024;

/**
 * Record headers in their encoded form (without the count), so that constant ones are encoded once and a
 * message's own are gathered without an object each. Reusable.
 */
export class HeaderBlock {
  #count = 0;
  #byteLength = 0;
  #buffer: Buffer = Buffer.alloc(0);

  static of(headers: readonly RecordHeader[]): HeaderBlock {
    const block = new HeaderBlock();
    block.addAll(headers);
    return block;
  }

  get count(): number {
    return this.#count;
  }

  get byteLength(): number {
    return this.#byteLength;
  }

  reset(): void {
    this.#count = 0;
    this.#byteLength = 0;
    if (this.#buffer.length > KEPT_BYTES_MAX) this.#buffer = Buffer.alloc(0);
  }

  /** Copies the name and the value. */
  add(name: Buffer | string, value: Uint8Array | null): void {
    const nameBytes = typeof name === 'string' ? Buffer.byteLength(name) : name.length;
    const valueBytes = value === null ? -1 : value.length;
    const bytes = varintSize(nameBytes) + nameBytes + varintSize(valueBytes);
    let at = this.#reserve(bytes + Math.max(valueBytes, 0));
    at = writeVarint(this.#buffer, at, nameBytes);
    if (typeof name === 'string') this.#buffer.write(name, at, 'utf8');
    else this.#buffer.set(name, at);
    at = writeVarint(this.#buffer, at + nameBytes, valueBytes);
    if (value !== null) this.#buffer.set(value, at);
    this.#count++;
  }

  addAll(headers: readonly RecordHeader[]): void {
    for (const header of headers) this.add(header.name, header.value);
  }

  /** Copies all headers of another block behind the ones here. */
  addBlock(block: HeaderBlock): void {
    const at = this.#reserve(block.#byteLength);
    block.copyTo(this.#buffer, at);
    this.#count += block.#count;
  }

  /** Copies the encoded headers into `target`, which has room, and returns the position after them. */
  copyTo(target: Buffer, position: number): number {
    return copyBytes(target, position, this.#buffer, this.#byteLength);
  }

  /** Makes room for `bytes` more and returns where they begin. */
  #reserve(bytes: number): number {
    const start = this.#byteLength;
    this.#byteLength += bytes;
    if (this.#byteLength > this.#buffer.length) {
      const grown = Buffer.allocUnsafeSlow(Math.max(INITIAL_BYTES, this.#byteLength * 2));
      this.#buffer.copy(grown, 0, 0, start);
      this.#buffer = grown;
    }
    return start;
  }
}

/** No headers. Shared: do not add to it. */
export const noHeaders: HeaderBlock = new HeaderBlock();
