import type { Clock } from '@robustmq/core';
import type { Image } from './image.ts';
import type { Sealer } from './sealer.ts';

const firstDelayMs = 1_000;
const lastDelayMs = 30_000;

/**
 * Seals what has lost its leader, as soon as enough of its journals are there: whoever noticed, and
 * whether or not somebody wants to append. A seal that fails is tried again, ever more seldom.
 */
export class SealRepair {
  readonly #image: Image;
  readonly #sealer: Sealer;
  readonly #clock: Clock;
  readonly #failed = new Map<number, { delayMs: number; notBeforeMs: number }>();

  constructor(options: { readonly image: Image; readonly sealer: Sealer; readonly clock: Clock }) {
    this.#image = options.image;
    this.#sealer = options.sealer;
    this.#clock = options.clock;
  }

  /** Shards that cannot be appended to until a seal succeeds that has failed so far. */
  get stuck(): number {
    return this.#failed.size;
  }

  /** Forgets earlier failures of what a journal leads: it is back, so the next try may succeed. */
  async journalUp(nodeId: string): Promise<void> {
    const led = [...this.#image.ledBy(nodeId)];
    for (const shardId of led) this.#failed.delete(shardId);
    await this.#seal(led);
  }

  /** Looks at every unsealed segment. */
  async pass(): Promise<void> {
    for (const shardId of this.#failed.keys()) {
      if (!this.#image.unsealed.has(shardId)) this.#failed.delete(shardId);
    }
    await this.#seal([...this.#image.unsealed]);
  }

  async #seal(shardIds: readonly number[]): Promise<void> {
    const nowMs = this.#clock.monotonicMs();
    const due = shardIds.filter((shardId) => {
      const shard = this.#image.shards.get(shardId)?.value.shard;
      if (shard === undefined || !this.#sealer.needsSeal(shard)) return false;
      if ((this.#failed.get(shardId)?.notBeforeMs ?? 0) > nowMs) return false;
      return this.#sealer.canSeal(shard);
    });
    if (due.length === 0) return;
    for (const [shardId, error] of await this.#sealer.seal(due)) {
      if (error === undefined) this.#failed.delete(shardId);
      else if (error.code !== 'RESOURCE_EXHAUSTED') this.#noteFailure(shardId, nowMs);
    }
  }

  #noteFailure(shardId: number, nowMs: number): void {
    const before = this.#failed.get(shardId)?.delayMs;
    const delayMs = before === undefined ? firstDelayMs : Math.min(before * 2, lastDelayMs);
    this.#failed.set(shardId, { delayMs, notBeforeMs: nowMs + delayMs });
  }
}
