import type { Random } from '@robustmq/core';

export const SECTOR_BYTES = 4096;

const noBytes = Buffer.alloc(0);

/** Bytes of a file, which grow without being copied each time. */
class Image {
  #memory = noBytes;
  bytes = noBytes;

  get length(): number {
    return this.bytes.length;
  }

  /** What is new is zero. */
  resize(length: number): void {
    const before = this.bytes.length;
    if (length === before) return;
    if (length > this.#memory.length) {
      const grown = Buffer.alloc(Math.max(length, 2 * this.#memory.length));
      this.bytes.copy(grown);
      this.#memory = grown;
    } else if (length > before) this.#memory.fill(0, before, length);
    this.bytes = this.#memory.subarray(0, length);
  }

  set(bytes: Buffer): void {
    this.resize(bytes.length);
    bytes.copy(this.bytes);
  }

  /** Takes one sector from another image, as far as both have it. */
  takeSector(from: Image, sector: number): void {
    const start = sector * SECTOR_BYTES;
    if (start < from.length) from.bytes.copy(this.bytes, start, start, start + SECTOR_BYTES);
  }
}

/** What readers see of a file, and what a loss of power leaves of it. */
export class MemoryFile {
  readonly content = new Image();
  readonly durable = new Image();
  /** Sectors that differ from the durable image. */
  readonly dirty = new Set<number>();

  clone(): MemoryFile {
    const copy = new MemoryFile();
    copy.content.set(this.content.bytes);
    copy.durable.set(this.durable.bytes);
    for (const sector of this.dirty) copy.dirty.add(sector);
    return copy;
  }

  /** Durably, behind everybody's back. */
  replace(content: Buffer): void {
    this.content.set(content);
    this.durable.set(content);
    this.dirty.clear();
  }

  write(data: Buffer, position: number): void {
    const end = position + data.length;
    if (end > this.content.length) this.content.resize(end);
    data.copy(this.content.bytes, position);
    this.#soil(position, end);
  }

  truncate(length: number): void {
    const before = this.content.length;
    this.content.resize(length);
    this.#soil(length, Math.max(before, length));
  }

  #soil(start: number, end: number): void {
    const last = Math.floor((end - 1) / SECTOR_BYTES);
    for (let at = Math.floor(start / SECTOR_BYTES); at <= last; at++) this.dirty.add(at);
  }

  sync(): void {
    this.durable.resize(this.content.length);
    for (const sector of this.dirty) this.durable.takeSector(this.content, sector);
    this.dirty.clear();
  }

  crash(random: Random): void {
    if (this.dirty.size === 0) {
      // After a failed sync the cache shows what the disk never got.
      this.content.set(this.durable.bytes);
      return;
    }
    let { length } = this.durable;
    const kept = [...this.dirty].filter(() => random.next() < 0.5);
    // A cut that was not synced may have happened or not; growth goes with the sectors that stayed.
    if (this.content.length < length) length = random.next() < 0.5 ? length : this.content.length;
    for (const sector of kept) {
      length = Math.max(length, Math.min(this.content.length, (sector + 1) * SECTOR_BYTES));
    }
    this.durable.resize(length);
    for (const sector of kept) this.durable.takeSector(this.content, sector);
    this.content.set(this.durable.bytes);
    this.dirty.clear();
  }
}
