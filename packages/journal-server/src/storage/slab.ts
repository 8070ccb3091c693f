import type { Replica } from './replica.ts';

/**
 * A piece of memory that holds a stretch of the write-ahead log exactly as it is written: block
 * headers and records, frames among them whole. So the log is written from it without gathering,
 * readers get views on it, and what is kept in memory is counted by what really backs it.
 */
export class Slab {
  /** Undefined once evicted; whoever still has a view keeps the memory until it lets go. */
  buffer: Buffer | undefined;
  /** Somebody may have a view on it for longer than a call: its memory is never used again. */
  isLent = false;
  readonly capacity: number;
  used = 0;
  /** Frames in it that are not yet in a segment file. */
  unwrittenFrames = 0;
  /** Groups whose write reads from it and has not ended. */
  groupsInFlight = 0;
  /** Writes to segment files that read from it and have not ended. */
  writesInFlight = 0;
  /** Replicas with frames in it; one may stand in the list more than once. */
  readonly replicas: Replica[] = [];
  /** Where groups begin in it, and their sequence numbers. */
  readonly #groupStarts: number[] = [];
  readonly #groupLsns: number[] = [];

  constructor(buffer: Buffer) {
    this.capacity = buffer.length;
    this.buffer = buffer;
  }

  get room(): number {
    return this.capacity - this.used;
  }

  /** Whether nothing is lost when it goes, and nobody is reading from it. */
  get isEvictable(): boolean {
    return this.unwrittenFrames === 0 && this.groupsInFlight === 0 && this.writesInFlight === 0;
  }

  /** From the bytes that are taken next on, this slab holds records of group `lsn`. */
  beginGroup(lsn: number): void {
    if (this.#groupLsns.at(-1) === lsn) return;
    this.#groupStarts.push(this.used);
    this.#groupLsns.push(lsn);
  }

  /** Sequence number of the group that the byte at `position` belongs to. */
  lsnAt(position: number): number {
    let low = 0;
    let high = this.#groupStarts.length - 1;
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if ((this.#groupStarts[middle] ?? 0) <= position) low = middle;
      else high = middle - 1;
    }
    return this.#groupLsns[low] ?? 0;
  }
}

export interface SlabPoolOptions {
  /** Size of an ordinary slab; a larger frame gets one of its own size. */
  readonly slabBytes: number;
  /** Slabs whose frames are all in segment files stay up to this, for readers of the tail. */
  readonly recentBytesMax: number;
}

/** Memory of evicted slabs that waits to be used again. */
const IDLE_BUFFERS_MAX = 8;

/**
 * All slabs in memory, oldest first. The memory of an evicted one is used again unless it was lent: new
 * memory costs a page fault every 4 KiB, and old memory that is let go costs a full collection sooner or later.
 */
export class SlabPool {
  readonly #options: SlabPoolOptions;
  readonly #idle: Buffer[] = [];
  #slabs: Slab[] = [];
  #bytes = 0;

  constructor(options: SlabPoolOptions) {
    this.#options = options;
  }

  /** Bytes of memory behind all slabs. */
  get bytes(): number {
    return this.#bytes;
  }

  /** A slab with at least `count` free bytes: the newest, or a new one. */
  withRoom(count: number): Slab {
    const newest = this.#slabs.at(-1);
    if (newest !== undefined && newest.room >= count) return newest;
    const capacity = Math.max(count, this.#options.slabBytes);
    this.evict(capacity);
    const slab = new Slab(this.#memory(capacity));
    this.#slabs.push(slab);
    this.#bytes += slab.capacity;
    return slab;
  }

  #memory(capacity: number): Buffer {
    const used = capacity === this.#options.slabBytes ? this.#idle.pop() : undefined;
    return used ?? Buffer.allocUnsafeSlow(capacity);
  }

  /** The oldest slab that has frames which only memory and the log hold. */
  oldestUnwritten(): Slab | undefined {
    return this.#slabs.find((slab) => slab.unwrittenFrames > 0);
  }

  /** Lets go of written slabs, oldest first, until the bound holds with `wanted` bytes more. */
  evict(wanted = 0): void {
    const bytesMax = this.#options.recentBytesMax - wanted;
    if (this.#bytes <= bytesMax) return;
    const newest = this.#slabs.at(-1);
    const evicted: Slab[] = [];
    for (const slab of this.#slabs) {
      if (this.#bytes <= bytesMax) break;
      if (slab === newest || !slab.isEvictable) continue;
      this.#letGo(slab);
      evicted.push(slab);
    }
    if (evicted.length === 0) return;
    this.#slabs = this.#slabs.filter((slab) => slab.buffer !== undefined);
    for (const slab of evicted) {
      for (const replica of slab.replicas) replica.memory.forgetEvicted();
    }
  }

  #letGo(slab: Slab): void {
    const { buffer, capacity, isLent } = slab;
    slab.buffer = undefined;
    this.#bytes -= capacity;
    const isUsable = !isLent && capacity === this.#options.slabBytes;
    if (buffer === undefined || !isUsable || this.#idle.length >= IDLE_BUFFERS_MAX) return;
    this.#idle.push(buffer);
  }
}
