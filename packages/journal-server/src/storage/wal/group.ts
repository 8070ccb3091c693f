import type { Replica } from '../replica.ts';
import type { Slab } from '../slab.ts';

/** Contiguous bytes of a slab. */
export interface Run {
  readonly slab: Slab;
  readonly start: number;
  end: number;
}

/**
 * Records that one write and one sync make durable. It gathers while the group before it is being
 * synced; its first run begins with room for the block header.
 */
export class Group {
  readonly lsn: number;
  readonly runs: Run[] = [];
  records = 0;
  /** Header and records, without the padding. */
  bytes = 0;
  /** Replicas whose length or size it changes, each once. */
  readonly replicas: Replica[] = [];
  /** Their lengths and sizes when the group was closed. */
  readonly lengths: number[] = [];
  readonly sizes: number[] = [];
  /** Called when it is durable, in order. */
  readonly waiters: (() => void)[] = [];

  constructor(lsn: number) {
    this.lsn = lsn;
  }

  /** Takes `count` bytes of `slab`, which has them, and returns where they begin. */
  take(slab: Slab, count: number): number {
    const start = slab.used;
    slab.beginGroup(this.lsn);
    slab.used += count;
    this.bytes += count;
    const last = this.runs.at(-1);
    if (last !== undefined && last.slab === slab && last.end === start) {
      last.end = slab.used;
    } else {
      this.runs.push({ slab, start, end: slab.used });
      slab.groupsInFlight++;
    }
    return start;
  }

  touch(replica: Replica): void {
    if (replica.group === this) return;
    replica.group = this;
    this.replicas.push(replica);
  }

  /** No record comes after this. */
  close(): void {
    for (const replica of this.replicas) {
      replica.group = undefined;
      this.lengths.push(replica.length);
      this.sizes.push(replica.sizeBytes);
    }
  }

  release(): void {
    for (const run of this.runs) run.slab.groupsInFlight--;
  }
}
