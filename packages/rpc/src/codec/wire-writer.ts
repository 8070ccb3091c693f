import { AssertionFailure } from '@robustmq/core';

/** Bytes of a varint that holds `value`. Fails when the wire cannot carry it. */
export function varintSize(value: number): number {
  if (value < 0x80 && value >= 0 && Number.isInteger(value)) return 1;
  if (!Number.isSafeInteger(value) || value < 0) failValue(value);
  if (value < 0x4000) return 2;
  if (value < 0x200000) return 3;
  if (value < 0x10000000) return 4;
  if (value < 2 ** 35) return 5;
  if (value < 2 ** 42) return 6;
  return value < 2 ** 49 ? 7 : 8;
}

function failValue(value: number): never {
  throw new AssertionFailure(`an unsigned field holds an unsigned safe integer: ${value}`);
}

// What a field takes, tag included (all field numbers here are below 16: one byte); nothing when it
// has its default, as proto3 has it.

/** Bytes of a uint64 field or of an enum. */
export function uint64Size(value: number): number {
  return value === 0 ? 0 : 1 + varintSize(value);
}

/** Bytes of a uint32 field. */
export function uint32Size(value: number): number {
  if (value > 0xffffffff) failValue(value);
  return value === 0 ? 0 : 1 + varintSize(value);
}

/** Bytes of a bool field. */
export function boolSize(value: boolean): number {
  return value ? 2 : 0;
}

/** Bytes of a bytes field. */
export function bytesSize(value: Uint8Array): number {
  return value.length === 0 ? 0 : messageSize(value.length);
}

/** Bytes of a string field. */
export function stringSize(value: string): number {
  return value === '' ? 0 : messageSize(Buffer.byteLength(value));
}

/** Bytes of a field of `size` bytes, which is there even when it is empty. */
export function messageSize(size: number): number {
  return 1 + varintSize(size) + size;
}

const fixed32Bytes = 4;

/** Bytes of a packed repeated fixed32 field. */
export function fixed32ListSize(values: readonly number[]): number {
  return values.length === 0 ? 0 : messageSize(values.length * fixed32Bytes);
}

/** Writes fields in ascending order into one buffer of exactly the size that was computed. */
export class WireWriter {
  readonly #buffer: Buffer;
  #position = 0;

  constructor(size: number) {
    this.#buffer = Buffer.allocUnsafe(size);
  }

  /** A uint32, uint64 or enum field; nothing when 0. */
  uint(field: number, value: number): void {
    if (value === 0) return;
    this.#buffer[this.#position++] = field << 3;
    this.#varint(value);
  }

  bool(field: number, value: boolean): void {
    if (!value) return;
    this.#buffer[this.#position++] = field << 3;
    this.#buffer[this.#position++] = 1;
  }

  /** Copies `value`: the caller may do with it what it likes from then on. */
  bytes(field: number, value: Uint8Array): void {
    if (value.length === 0) return;
    this.message(field, value.length);
    this.#buffer.set(value, this.#position);
    this.#position += value.length;
  }

  string(field: number, value: string): void {
    if (value === '') return;
    const size = Buffer.byteLength(value);
    this.message(field, size);
    this.#buffer.write(value, this.#position, size);
    this.#position += size;
  }

  fixed32List(field: number, values: readonly number[]): void {
    if (values.length === 0) return;
    this.message(field, values.length * fixed32Bytes);
    for (const value of values) {
      this.#position = this.#buffer.writeUInt32LE(value, this.#position);
    }
  }

  /** Begins a field of `size` bytes; the caller writes them. */
  message(field: number, size: number): void {
    this.#buffer[this.#position++] = (field << 3) | 2;
    this.#varint(size);
  }

  finish(): Buffer {
    if (this.#position !== this.#buffer.length) {
      throw new AssertionFailure('the computed size is the written one');
    }
    return this.#buffer;
  }

  #varint(value: number): void {
    let rest = value;
    while (rest > 0x7fffffff) {
      this.#buffer[this.#position++] = (rest % 0x80) | 0x80;
      rest = Math.floor(rest / 0x80);
    }
    while (rest > 0x7f) {
      this.#buffer[this.#position++] = (rest & 0x7f) | 0x80;
      rest >>>= 7;
    }
    this.#buffer[this.#position++] = rest;
  }
}
