import type { Replica } from './replica.ts';

/**
 * A piece of memory that holds a stretch of the write-ahead log exactly as it is written: block
 * headers and records, frames among them whole. So the log is written from it without gathering,
 * readers get views on it, and what is kept in memory is counted by what really backs it.
 */
export class Slab {
  /** Undefined once evicted; whoever still has a view keeps the memory until it lets go. */
  buffer: Buffer | undefined;
  readonly capacity: number;
  used = 0;
  /** Frames in it that are not yet in a segment file. */
  unwrittenFrames = 0;
  /** Groups whose write reads from it and has not ended. */
  groupsInFlight = 0;
  /** Replicas with frames in it; one may stand in the list more than once. */
  readonly replicas: Replica[] = [];
  /** Where groups begin in it, and their sequence numbers. */
  readonly #groupStarts: number[] = [];
  readonly #groupLsns: number[] = [];

  constructor(capacity: number) {
    this.capacity = capacity;
    this.buffer = Buffer.allocUnsafeSlow(capacity);
  }

  get room(): number {
    return this.capacity - this.used;
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

/** All slabs in memory, oldest first. */
export class SlabPool {
  readonly #options: SlabPoolOptions;
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
    const slab = new Slab(Math.max(count, this.#options.slabBytes));
    this.#slabs.push(slab);
    this.#bytes += slab.capacity;
    this.evict();
    return slab;
  }

  /** The oldest slab that has frames which only memory and the log hold. */
  oldestUnwritten(): Slab | undefined {
    return this.#slabs.find((slab) => slab.unwrittenFrames > 0);
  }

  /** Lets go of written slabs, oldest first, until the bound holds. */
  evict(): void {
    if (this.#bytes <= this.#options.recentBytesMax) return;
    const newest = this.#slabs.at(-1);
    const evicted: Slab[] = [];
    for (const slab of this.#slabs) {
      if (this.#bytes <= this.#options.recentBytesMax) break;
      if (slab === newest || slab.unwrittenFrames > 0 || slab.groupsInFlight > 0) continue;
      slab.buffer = undefined;
      this.#bytes -= slab.capacity;
      evicted.push(slab);
    }
    if (evicted.length === 0) return;
    this.#slabs = this.#slabs.filter((slab) => slab.buffer !== undefined);
    for (const slab of evicted) {
      for (const replica of slab.replicas) replica.memory.forgetEvicted();
    }
  }
}
