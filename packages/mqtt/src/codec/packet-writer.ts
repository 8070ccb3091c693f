import { assert } from '@robustmq/core';

/** Text as a string, or as bytes that are UTF-8 already. */
export type Text = string | Uint8Array;

/** Takes written bytes as a range of the memory that they stand in. */
export interface ByteSink {
  range(store: ArrayBufferLike, start: number, end: number): void;
}

const noBytes = Buffer.alloc(0);
const slabBytesDefault = 64 * 1024;

/** Bytes of `text` in UTF-8. */
export function textSize(text: Text): number {
  return typeof text === 'string' ? Buffer.byteLength(text) : text.length;
}

/**
 * A growing byte sink. It writes into a slab; {@link take} hands out what was written since the last
 * take and goes on behind it in the same slab, so a turn's packets for many sockets cost one
 * allocation per slab. Holds at most one slab of `slabBytes` when nothing is being written.
 */
export class PacketWriter {
  readonly #slabBytes: number;
  #buffer: Buffer = noBytes;
  #start = 0;
  #end = 0;

  constructor(slabBytes: number = slabBytesDefault) {
    this.#slabBytes = slabBytes;
  }

  /** Bytes written since the last {@link take} or {@link clear}. */
  get length(): number {
    return this.#end - this.#start;
  }

  /** Bytes of memory held. */
  get retainedBytes(): number {
    return this.#buffer.length;
  }

  /** What was written, as a view that is good until the next write, take or clear. */
  view(): Buffer {
    return this.#buffer.subarray(this.#start, this.#end);
  }

  /** What was written, for good: the writer never touches these bytes again. Starts anew behind them. */
  take(): Buffer {
    const taken = this.view();
    this.#start = this.#end;
    if (this.#buffer.length > this.#slabBytes) this.#forgetSlab();
    return taken;
  }

  /** As {@link take}, without a view for each packet. */
  takeInto(sink: ByteSink): void {
    const { buffer, byteOffset } = this.#buffer;
    sink.range(buffer, byteOffset + this.#start, byteOffset + this.#end);
    this.#start = this.#end;
    if (this.#buffer.length > this.#slabBytes) this.#forgetSlab();
  }

  /** Drops what was written since the last take. */
  clear(): void {
    this.#end = this.#start;
    if (this.#buffer.length > this.#slabBytes) this.#forgetSlab();
  }

  /** Makes room, so that the next `bytes` bytes are written without growing. */
  reserve(bytes: number): void {
    if (this.#end + bytes > this.#buffer.length) this.#grow(bytes);
  }

  byte(value: number): void {
    this.reserve(1);
    this.#buffer[this.#end++] = value;
  }

  u16(value: number): void {
    this.reserve(2);
    this.#buffer[this.#end++] = value >>> 8;
    this.#buffer[this.#end++] = value;
  }

  /** Overwrites two bytes, counted like {@link length}: a packet identifier in a copied PUBLISH. */
  patchU16(at: number, value: number): void {
    assert(at + 2 <= this.length, 'only what was written can be patched');
    this.#buffer[this.#start + at] = value >>> 8;
    this.#buffer[this.#start + at + 1] = value;
  }

  u32(value: number): void {
    this.reserve(4);
    this.#end = this.#buffer.writeUInt32BE(value, this.#end);
  }

  variableByteInteger(value: number): void {
    this.reserve(4);
    let rest = value;
    while (rest >= 0x80) {
      this.#buffer[this.#end++] = (rest & 0x7f) | 0x80;
      rest >>>= 7;
    }
    this.#buffer[this.#end++] = rest;
  }

  bytes(source: Uint8Array, start = 0, end = source.length): void {
    this.reserve(end - start);
    if (source instanceof Buffer) source.copy(this.#buffer, this.#end, start, end);
    else this.#buffer.set(source.subarray(start, end), this.#end);
    this.#end += end - start;
  }

  /** Two bytes of length, then the bytes: UTF-8 Encoded String or Binary Data. At most 65,535 bytes. */
  text(value: Text): void {
    if (typeof value !== 'string') {
      assert(value.length <= 0xffff, 'a text or binary field has at most 65,535 bytes');
      this.u16(value.length);
      this.bytes(value);
      return;
    }
    const length = Buffer.byteLength(value);
    assert(length <= 0xffff, 'a text field has at most 65,535 bytes');
    this.u16(length);
    this.reserve(length);
    this.#end += this.#buffer.write(value, this.#end);
  }

  /** A new slab for at least `bytes` more; what was taken stays with its takers. */
  #grow(bytes: number): void {
    const unfinished = this.#end - this.#start;
    const wanted = unfinished + bytes;
    const size = wanted > this.#slabBytes ? Math.max(wanted, 2 * unfinished) : this.#slabBytes;
    const slab = Buffer.allocUnsafeSlow(size);
    this.#buffer.copy(slab, 0, this.#start, this.#end);
    this.#buffer = slab;
    this.#start = 0;
    this.#end = unfinished;
  }

  #forgetSlab(): void {
    this.#buffer = noBytes;
    this.#start = 0;
    this.#end = 0;
  }
}
