import type { Clock } from '@robustmq/core';
import type { Node } from '@robustmq/rpc';
import { unsealedSegment } from '../core/chain.ts';
import type { Image } from './image.ts';

interface Running {
  readonly incarnation: number;
  readonly sinceMs: number;
}

/** Measures how long it takes until everything that a lost journal led is sealed. */
export class Failovers {
  readonly #image: Image;
  readonly #clock: Clock;
  readonly #observe: (seconds: number) => void;
  readonly #running = new Map<string, Running>();

  constructor(image: Image, clock: Clock, observe: (seconds: number) => void) {
    this.#image = image;
    this.#clock = clock;
    this.#observe = observe;
  }

  /** A journal is down. */
  begin({ nodeId, incarnation }: Node): void {
    if (!this.#leads(nodeId, incarnation)) return;
    this.#running.set(nodeId, { incarnation, sinceMs: this.#clock.monotonicMs() });
  }

  /** Segments may have been sealed. */
  settle(): void {
    for (const [nodeId, { incarnation, sinceMs }] of this.#running) {
      if (this.#leads(nodeId, incarnation)) continue;
      this.#running.delete(nodeId);
      this.#observe((this.#clock.monotonicMs() - sinceMs) / 1_000);
    }
  }

  #leads(nodeId: string, incarnation: number): boolean {
    for (const shardId of this.#image.ledBy(nodeId)) {
      const shard = this.#image.shards.get(shardId)?.value.shard;
      if (shard && unsealedSegment(shard)?.leaderIncarnation === incarnation) return true;
    }
    return false;
  }
}
