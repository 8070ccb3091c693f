import { assert } from '@robustmq/core';

const CLASS_BYTES_MIN = 4 * 1024;
const POOLED_BYTES_MAX = 4 * 1024 * 1024;

/**
 * Spare buffers whose sizes are powers of two from 4 KiB, shared by the writers of a process so that a
 * writer between two batches holds none. Keeps at most `pooledBytesMax`.
 */
export class ScratchPool {
  readonly #spare = new Map<number, Buffer[]>();
  readonly #pooledBytesMax: number;
  #pooledBytes = 0;

  constructor(pooledBytesMax: number = POOLED_BYTES_MAX) {
    this.#pooledBytesMax = pooledBytesMax;
  }

  /** A buffer of at least `bytes`, owned by the caller, its content undefined. */
  take(bytes: number): Buffer {
    let size = CLASS_BYTES_MIN;
    while (size < bytes) size *= 2;
    const spare = this.#spare.get(size)?.pop();
    if (spare === undefined) return Buffer.allocUnsafeSlow(size);
    this.#pooledBytes -= size;
    return spare;
  }

  /** Gives back a buffer that {@link take} returned; the caller has no view on it left. */
  give(buffer: Buffer): void {
    assert(buffer.buffer.byteLength === buffer.length, 'only whole buffers are given back');
    if (this.#pooledBytes + buffer.length > this.#pooledBytesMax) return;
    this.#pooledBytes += buffer.length;
    const spares = this.#spare.get(buffer.length);
    if (spares === undefined) this.#spare.set(buffer.length, [buffer]);
    else spares.push(buffer);
  }
}
