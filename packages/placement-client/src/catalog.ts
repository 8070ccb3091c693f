import { isDeepStrictEqual } from 'node:util';
import { assert, type Clock, OperatingError, unreachable } from '@robustmq/core';
import type {
  CatalogEntry,
  CatalogRemoval,
  Coordinator,
  Node,
  Shard,
  Topic,
  WatchResponse,
} from '@robustmq/rpc';
import { compareShards } from './shard-order.ts';

/** One thing that has changed. `before` is undefined for a new one, `after` for one that is gone. */
interface Change<Kind extends string, Value> {
  readonly kind: Kind;
  readonly before: Value | undefined;
  readonly after: Value | undefined;
}

export type CatalogChange =
  | Change<'node', Node>
  | Change<'topic', Topic>
  | Change<'shard', Shard>
  | Change<'coordinator', Coordinator>;

export type CatalogListener = (change: CatalogChange) => void;

export interface WaitOptions {
  /** Rejects with UNAVAILABLE after so many ms. Default 10,000. */
  readonly timeoutMs?: number;
  readonly signal?: AbortSignal;
}

/** Shards that were removed and must not come back with a late answer: at most so many are remembered. */
const removedShardsMax = 10_000;

/**
 * What placement knows, as far as this process has heard of it. It may be behind, and says nothing
 * false: what it shows was true. It is kept by the watch ({@link Catalog.apply}) and by answers that
 * are newer than the watch ({@link Catalog.applyShard}). The values are shared: do not change them.
 */
export class Catalog {
  readonly #clock: Clock;
  readonly #nodes = new Map<string, Node>();
  readonly #topics = new Map<string, Topic>();
  readonly #shards = new Map<number, Shard>();
  readonly #coordinators = new Map<string, Map<number, Coordinator>>();
  readonly #removedShards = new Set<number>();
  readonly #listeners = new Set<CatalogListener>();
  readonly #waiters = new Set<() => void>();
  /** What a running full list has shown so far; undefined outside of one. */
  #listed: Listed | undefined;
  #revision = 0;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Revision of the store up to which this is complete; 0 before the first full list. */
  get revision(): number {
    return this.#revision;
  }

  node(nodeId: string): Node | undefined {
    return this.#nodes.get(nodeId);
  }

  nodes(): IterableIterator<Node> {
    return this.#nodes.values();
  }

  topic(name: string): Topic | undefined {
    return this.#topics.get(name);
  }

  /** All topics, internal ones (`$...`) too. */
  topics(): IterableIterator<Topic> {
    return this.#topics.values();
  }

  shard(shardId: number): Shard | undefined {
    return this.#shards.get(shardId);
  }

  coordinator(kind: string, index: number): Coordinator | undefined {
    return this.#coordinators.get(kind)?.get(index);
  }

  /** All coordinators of a kind, by index. */
  coordinators(kind: string): Coordinator[] {
    const ofKind = this.#coordinators.get(kind);
    return ofKind === undefined ? [] : [...ofKind.values()].sort((a, b) => a.index - b.index);
  }

  /**
   * Calls `listener` after each change, in order, while the change is already visible here. It must
   * not throw. Returns the function that ends it.
   */
  onChange(listener: CatalogListener): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** Resolves when the first full list has been applied. */
  async ready(signal?: AbortSignal): Promise<void> {
    const options = { timeoutMs: Number.POSITIVE_INFINITY, ...(signal && { signal }) };
    await this.waitFor(() => this.#revision > 0, options);
  }

  /**
   * Resolves with the first truthy thing that `find` returns: asked at once, then after each step of
   * the watch and each answer. Rejects with UNAVAILABLE after the timeout, or the signal's reason.
   */
  waitFor<T>(
    find: (catalog: this) => T | undefined | null | false,
    options: WaitOptions = {},
  ): Promise<T> {
    const { timeoutMs = 10_000, signal } = options;
    return new Promise((resolve, reject) => {
      const finish = (): void => {
        this.#waiters.delete(check);
        cancelTimer?.();
        signal?.removeEventListener('abort', onAbort);
      };
      const check = (): void => {
        const found = find(this);
        if (found === undefined || found === null || found === false) return;
        finish();
        resolve(found);
      };
      const onAbort = (): void => {
        finish();
        reject(signal?.reason);
      };
      const cancelTimer = Number.isFinite(timeoutMs)
        ? this.#clock.setTimer(timeoutMs, () => {
            finish();
            reject(
              new OperatingError('UNAVAILABLE', `placement did not tell within ${timeoutMs} ms`),
            );
          })
        : undefined;
      if (signal?.aborted) {
        onAbort();
        return;
      }
      signal?.addEventListener('abort', onAbort, { once: true });
      this.#waiters.add(check);
      check();
    });
  }

  /**
   * Applies one step of the watch. Steps come in the order in which placement sent them.
   * @param isTruth A full list that counts whatever is known: what was told before may have been an old copy.
   */
  apply(step: WatchResponse, isTruth = false): void {
    if (step.fullListBegins) this.#listed = new Listed(isTruth);
    for (const entry of step.entries) this.#applyEntry(entry);
    for (const removal of step.removals) this.#applyRemoval(removal);
    if (step.revision > 0) {
      this.#endList();
      this.#revision = step.revision;
    }
    this.#wakeWaiters();
  }

  /**
   * Applies an answer that tells the end of a chain. An answer that is older than what is known here
   * is ignored: a shard never goes backwards. Returns what is known afterwards.
   */
  applyShard(shard: Shard): Shard {
    if (this.#removedShards.has(shard.shardId)) return shard;
    this.#setShard(shard);
    this.#wakeWaiters();
    return this.#shards.get(shard.shardId) ?? shard;
  }

  #applyEntry({ entry }: CatalogEntry): void {
    switch (entry?.$case) {
      case undefined:
        return; // A newer placement tells of something that this process does not know.
      case 'node':
        this.#listed?.nodes.add(entry.value.nodeId);
        this.#setNode(entry.value);
        return;
      case 'topic':
        this.#listed?.topics.add(entry.value.name);
        this.#setTopic(entry.value);
        return;
      case 'shard':
        this.#listed?.shards.add(entry.value.shardId);
        this.#removedShards.delete(entry.value.shardId);
        this.#setShard(entry.value, this.#listed?.isTruth);
        return;
      case 'coordinator':
        this.#setCoordinator(entry.value);
        return;
      default:
        unreachable(entry);
    }
  }

  #applyRemoval({ removal }: CatalogRemoval): void {
    switch (removal?.$case) {
      case undefined:
        return;
      case 'nodeId':
        this.#removeNode(removal.value);
        return;
      case 'topic':
        this.#removeTopic(removal.value);
        return;
      case 'shardId':
        this.#removeShard(removal.value);
        return;
      default:
        unreachable(removal);
    }
  }

  /** Whatever a full list has not shown is gone. Coordinators are never removed. */
  #endList(): void {
    const listed = this.#listed;
    if (listed === undefined) return;
    this.#listed = undefined;
    for (const id of this.#nodes.keys()) if (!listed.nodes.has(id)) this.#removeNode(id);
    for (const name of this.#topics.keys()) if (!listed.topics.has(name)) this.#removeTopic(name);
    for (const id of this.#shards.keys()) if (!listed.shards.has(id)) this.#removeShard(id);
  }

  #setNode(after: Node): void {
    const before = this.#nodes.get(after.nodeId);
    if (isDeepStrictEqual(before, after)) return;
    this.#nodes.set(after.nodeId, after);
    this.#tell({ kind: 'node', before, after });
  }

  #setTopic(after: Topic): void {
    const before = this.#topics.get(after.name);
    if (isDeepStrictEqual(before, after)) return;
    this.#topics.set(after.name, after);
    this.#tell({ kind: 'topic', before, after });
  }

  #setShard(after: Shard, isTruth = false): void {
    const before = this.#shards.get(after.shardId);
    const isNew = before === undefined;
    const order = isNew || isTruth ? Number(isNew) : compareShards(after, before);
    // Comparing all of it is dear, and needed only when nothing says which is newer.
    if (order < 0 || (order === 0 && isDeepStrictEqual(before, after))) return;
    this.#shards.set(after.shardId, after);
    this.#tell({ kind: 'shard', before, after });
  }

  #setCoordinator(after: Coordinator): void {
    let ofKind = this.#coordinators.get(after.kind);
    if (ofKind === undefined) {
      ofKind = new Map();
      this.#coordinators.set(after.kind, ofKind);
    }
    const before = ofKind.get(after.index);
    assert(
      before === undefined || before.epoch <= after.epoch || this.#listed?.isTruth === true,
      `the epoch of coordinator ${after.kind}/${after.index} never falls`,
    );
    if (isDeepStrictEqual(before, after)) return;
    ofKind.set(after.index, after);
    this.#tell({ kind: 'coordinator', before, after });
  }

  #removeNode(id: string): void {
    const before = this.#nodes.get(id);
    if (this.#nodes.delete(id)) this.#tell({ kind: 'node', before, after: undefined });
  }

  #removeTopic(name: string): void {
    const before = this.#topics.get(name);
    if (this.#topics.delete(name)) this.#tell({ kind: 'topic', before, after: undefined });
  }

  #removeShard(id: number): void {
    const before = this.#shards.get(id);
    if (!this.#shards.delete(id)) return;
    this.#removedShards.add(id);
    if (this.#removedShards.size > removedShardsMax) {
      for (const oldest of this.#removedShards) {
        this.#removedShards.delete(oldest);
        break;
      }
    }
    this.#tell({ kind: 'shard', before, after: undefined });
  }

  #tell(change: CatalogChange): void {
    for (const listener of this.#listeners) listener(change);
  }

  #wakeWaiters(): void {
    for (const check of this.#waiters) check();
  }
}

/** What a full list has shown so far. */
class Listed {
  readonly nodes = new Set<string>();
  readonly topics = new Set<string>();
  readonly shards = new Set<number>();
  readonly isTruth: boolean;

  constructor(isTruth: boolean) {
    this.isTruth = isTruth;
  }
}
