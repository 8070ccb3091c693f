import type { SegmentId } from '@robustmq/core';
import type { Damage } from './segment-reader.ts';

/** Bytes of a replica's file that fail their checks. */
export interface FoundDamage extends Damage {
  readonly segmentId: SegmentId;
  /** In the data folder. */
  readonly file: string;
}

const KEPT_MAX = 100;

/** Replicas that were found damaged since the start. */
export class Damages {
  #last: FoundDamage[] = [];
  #count = 0;

  get count(): number {
    return this.#count;
  }

  /** The last 100. */
  get last(): readonly FoundDamage[] {
    return this.#last;
  }

  note(damage: FoundDamage): void {
    this.#count++;
    this.#last = [...this.#last, damage].slice(-KEPT_MAX);
  }
}
