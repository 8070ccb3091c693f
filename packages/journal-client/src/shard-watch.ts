import type { Clock } from '@robustmq/core';
import type { Catalog, CatalogChange } from '@robustmq/placement-client';

/** Follows what the catalog tells about shards, for whoever depends on one: also when its leader's node changes. */
export class ShardWatch {
  readonly #clock: Clock;
  readonly #listeners = new Map<number, Set<() => void>>();
  readonly #end: () => void;

  constructor(catalog: Catalog, clock: Clock) {
    this.#clock = clock;
    this.#end = catalog.onChange((change) => this.#onChange(change));
  }

  /** Calls `listener` after each change of the shard or of any journal. Returns what ends it. */
  on(shardId: number, listener: () => void): () => void {
    const known = this.#listeners.get(shardId);
    const listeners = known ?? new Set();
    if (known === undefined) this.#listeners.set(shardId, listeners);
    listeners.add(listener);
    return () => {
      listeners.delete(listener);
      if (listeners.size === 0 && this.#listeners.get(shardId) === listeners) {
        this.#listeners.delete(shardId);
      }
    };
  }

  /** Resolves after a change, after `timeoutMs`, or when the signal aborts, whatever comes first. */
  next(shardId: number, timeoutMs: number, signal?: AbortSignal): Promise<void> {
    if (signal?.aborted || timeoutMs <= 0) return Promise.resolve();
    return new Promise((resolve) => {
      const finish = (): void => {
        end();
        cancelTimer();
        signal?.removeEventListener('abort', finish);
        resolve();
      };
      const end = this.on(shardId, finish);
      const cancelTimer = this.#clock.setTimer(timeoutMs, finish);
      signal?.addEventListener('abort', finish, { once: true });
    });
  }

  close(): void {
    this.#end();
    this.#listeners.clear();
  }

  #onChange(change: CatalogChange): void {
    if (change.kind === 'shard') {
      const shardId = (change.after ?? change.before)?.shardId;
      if (shardId !== undefined) this.#tell(this.#listeners.get(shardId));
    } else if (change.kind === 'node') {
      this.#tellAll();
    }
  }

  #tell(listeners: Set<() => void> | undefined): void {
    if (listeners === undefined) return;
    const asOfNow = Array.from(listeners);
    for (const listener of asOfNow) if (listeners.has(listener)) listener();
  }

  #tellAll(): void {
    const asOfNow = Array.from(this.#listeners.values());
    for (const listeners of asOfNow) this.#tell(listeners);
  }
}
