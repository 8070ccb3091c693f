import { toOperatingError } from '@robustmq/core';
import type { PlacementClient } from '@robustmq/placement-client';
import type { CoordinatorContext } from '../coordinator/state-machine.ts';

export interface ShareHoldsOptions {
  readonly context: Pick<CoordinatorContext, 'kind' | 'index' | 'logger'>;
  readonly placement: Pick<PlacementClient, 'holdShards'>;
  /** Shards that a former owner may have held. */
  readonly heldBefore: () => Iterable<number>;
}

/** Tells placement from which offsets on the groups of a coordinator need the records. */
export class ShareHolds {
  readonly #options: ShareHoldsOptions;
  /** What was held last; undefined before the first time. */
  #held: ReadonlyMap<number, number> | undefined;

  constructor(options: ShareHoldsOptions) {
    this.#options = options;
  }

  /** `starts` are the lowest offsets that each group needs. */
  tell(starts: Iterable<{ readonly shardId: number; readonly offset: number }>): void {
    const needed = new Map<number, number>();
    for (const { shardId, offset } of starts) {
      const before = needed.get(shardId) ?? Number.POSITIVE_INFINITY;
      if (offset < before) needed.set(shardId, offset);
    }
    const changed = [...needed].filter(([shardId, offset]) => this.#held?.get(shardId) !== offset);
    const before = this.#held?.keys() ?? this.#options.heldBefore();
    const releases = [...before].filter((shardId) => !needed.has(shardId));
    if (changed.length === 0 && releases.length === 0) return;
    const holds = changed.map(([shardId, offset]) => ({ shardId, offset }));
    const { context, placement } = this.#options;
    const { kind, index, logger } = context;
    placement.holdShards(`${kind}/${index}`, holds, releases).then(
      () => (this.#held = needed),
      (thrown: unknown) => {
        // The next time tells it again.
        const { message } = toOperatingError(thrown);
        logger.warn({ kind, index }, `holding partitions failed: ${message}`);
      },
    );
  }
}
