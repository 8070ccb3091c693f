import { assert } from '@robustmq/core';
import { frameLengthAt } from './frame-fields.ts';
import type { Slab } from './slab.ts';

/**
 * Where the frames of one replica lie in memory, in order. Frames have ordinals, counted since this
 * process started; the ones up to {@link writtenOrdinal} are in the segment file too and may be evicted.
 */
export class FrameTable {
  #firstOrdinal: number;
  #indexes: number[] = [];
  #slabs: Slab[] = [];
  #positions: number[] = [];
  /** Frames below this ordinal are in the segment file. */
  writtenOrdinal: number;

  /** `firstOrdinal` is above 0 when there are frames before those that will be pushed. */
  constructor(firstOrdinal = 0) {
    this.#firstOrdinal = firstOrdinal;
    this.writtenOrdinal = firstOrdinal;
  }

  get firstOrdinal(): number {
    return this.#firstOrdinal;
  }

  get endOrdinal(): number {
    return this.#firstOrdinal + this.#indexes.length;
  }

  /** `index` is the record index of the frame's first record, `position` its place in the slab. */
  push(index: number, slab: Slab, position: number): void {
    this.#indexes.push(index);
    this.#slabs.push(slab);
    this.#positions.push(position);
    slab.unwrittenFrames++;
  }

  isInMemory(ordinal: number): boolean {
    const slab = this.#slabs[ordinal - this.#firstOrdinal];
    return slab?.buffer !== undefined;
  }

  /** Record index of a frame. */
  indexOf(ordinal: number): number {
    return this.#indexes[ordinal - this.#firstOrdinal] ?? assertKnown();
  }

  slabOf(ordinal: number): Slab {
    return this.#slabs[ordinal - this.#firstOrdinal] ?? assertKnown();
  }

  positionOf(ordinal: number): number {
    return this.#positions[ordinal - this.#firstOrdinal] ?? assertKnown();
  }

  bytesOf(ordinal: number): number {
    return frameLengthAt(this.bufferOf(ordinal), this.positionOf(ordinal));
  }

  /** The memory that the frame lies in. */
  bufferOf(ordinal: number): Buffer {
    const { buffer } = this.slabOf(ordinal);
    assert(buffer !== undefined, 'an evicted frame is not read');
    return buffer;
  }

  /** A view on the frame for the current call: its memory may be used again in a later one. */
  frame(ordinal: number): Buffer {
    const buffer = this.bufferOf(ordinal);
    const position = this.positionOf(ordinal);
    return buffer.subarray(position, position + this.bytesOf(ordinal));
  }

  /** A view on the frame that is valid as long as it is held. */
  lentFrame(ordinal: number): Buffer {
    this.slabOf(ordinal).isLent = true;
    return this.frame(ordinal);
  }

  /**
   * Ordinal of the first frame that ends behind record `index`, or that stands right before it
   * without records; undefined when memory does not reach back that far or that frame is evicted.
   */
  find(index: number): number | undefined {
    let low = 0;
    let high = this.#indexes.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if ((this.#indexes[middle] ?? 0) < index) low = middle + 1;
      else high = middle;
    }
    // `low` is the first frame that begins at or behind `index`. A record strictly inside the frame
    // before it is not the start of anything.
    const isStart = this.#indexes[low] === index;
    const at = isStart ? low : low - 1;
    // A frame without records may stand before it, which memory has let go.
    if (at === 0 && isStart && this.#firstOrdinal > 0) return undefined;
    if (at < 0 || this.#slabs[at]?.buffer === undefined) return undefined;
    return this.#firstOrdinal + at;
  }

  /** The frames below `ordinal` are in the segment file now. */
  markWritten(ordinal: number): void {
    for (let at = this.writtenOrdinal; at < ordinal; at++) this.slabOf(at).unwrittenFrames--;
    this.writtenOrdinal = ordinal;
  }

  /** Group of the first frame that is not in the segment file; undefined when all are. */
  firstUnwrittenLsn(): number | undefined {
    if (this.writtenOrdinal === this.endOrdinal) return undefined;
    return this.slabOf(this.writtenOrdinal).lsnAt(this.positionOf(this.writtenOrdinal));
  }

  /** Drops the frames from `ordinal` on: what a seal cuts. */
  cut(ordinal: number): void {
    const keep = Math.max(0, ordinal - this.#firstOrdinal);
    for (let at = Math.max(ordinal, this.writtenOrdinal); at < this.endOrdinal; at++) {
      this.slabOf(at).unwrittenFrames--;
    }
    this.#indexes.length = Math.min(keep, this.#indexes.length);
    this.#slabs.length = this.#indexes.length;
    this.#positions.length = this.#indexes.length;
    this.#firstOrdinal = Math.min(this.#firstOrdinal, ordinal);
    this.writtenOrdinal = Math.min(this.writtenOrdinal, ordinal);
  }

  /** Forgets the frames at the front whose slabs were evicted. */
  forgetEvicted(): void {
    let count = 0;
    while (count < this.#slabs.length && this.#slabs[count]?.buffer === undefined) count++;
    if (count === 0) return;
    this.#firstOrdinal += count;
    this.#indexes = this.#indexes.slice(count);
    this.#slabs = this.#slabs.slice(count);
    this.#positions = this.#positions.slice(count);
  }
}

function assertKnown(): never {
  assert(false, 'a frame that is asked for is in the table');
}
