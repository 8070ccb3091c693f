import type { Catalog } from '@robustmq/placement-client';
import { type Segment, SegmentState, type Shard } from '@robustmq/rpc';

/** What shards lose by a fault. */
export type Loss = 'leader lost' | 'follower lost' | 'nothing lost';

/**
 * What the shards lose with the victims of a fault, from its begin to its end: a shard that rolls meanwhile
 * to a segment that a victim leads has lost its leader, although it began as a follower.
 */
export class RoleWatch implements Disposable {
  readonly #victims: readonly string[];
  readonly #losses = new Map<number, Loss>();
  readonly #end: () => void;

  constructor(catalog: Catalog, shardIds: readonly number[], victims: readonly string[]) {
    this.#victims = victims;
    for (const shardId of shardIds) {
      this.#losses.set(shardId, 'nothing lost');
      this.#note(shardId, catalog.shard(shardId));
    }
    this.#end = catalog.onChange((change) => {
      if (change.kind === 'shard') this.#note(change.after?.shardId, change.after);
    });
  }

  /** No later segment counts: a journal that runs again may lead. */
  [Symbol.dispose](): void {
    this.#end();
  }

  lossOf(shardId: number): Loss {
    return this.#losses.get(shardId) ?? 'nothing lost';
  }

  #note(shardId: number | undefined, shard: Shard | undefined): void {
    const open = openSegmentOf(shard);
    if (shardId === undefined || open === undefined) return;
    const known = this.#losses.get(shardId);
    if (known === undefined || known === 'leader lost') return;
    if (this.#victims.includes(open.leaderNodeId)) this.#losses.set(shardId, 'leader lost');
    else if (open.replicaNodeIds.some((nodeId) => this.#victims.includes(nodeId))) {
      this.#losses.set(shardId, 'follower lost');
    }
  }
}

export function openSegmentOf(shard: Shard | undefined): Segment | undefined {
  const last = shard?.segments.at(-1);
  return last?.state === SegmentState.OPEN ? last : undefined;
}
