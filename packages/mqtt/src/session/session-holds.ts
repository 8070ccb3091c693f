import { toOperatingError } from '@robustmq/core';
import type { CoordinatorContext, MachineTimer } from '@robustmq/kernel';
import type { PlacementClient } from '@robustmq/placement-client';
import { hasWildcard, parseSharedFilter } from '../codec/topic.ts';
import type { Session } from './session-state.ts';
import type { TopicCatalog } from './topic-router.ts';

export interface SessionHoldsOptions {
  readonly context: Pick<CoordinatorContext, 'kind' | 'index' | 'logger' | 'timer'>;
  readonly catalog: Pick<TopicCatalog, 'topics'>;
  readonly placement: Pick<PlacementClient, 'holdShards'>;
  readonly sessions: () => Iterator<readonly [string, Readonly<Session>]>;
}

/** Pause between two rounds, and between two slices of one. */
const roundMs = 30_000;
const sliceMs = 10;
const sliceSessions = 1000;

/**
 * Tells placement now and then from which offsets on the sessions of a coordinator need the records:
 * retention waits for them, up to its own bound.
 */
export class SessionHolds {
  readonly #options: SessionHoldsOptions;
  /** What was held last; undefined before the first round: then a former owner's holds may be there. */
  #held: ReadonlyMap<number, number> | undefined;
  #needed = new Map<number, number>();
  #walk: Iterator<readonly [string, Readonly<Session>]> | undefined;
  #timer: MachineTimer | undefined;

  constructor(options: SessionHoldsOptions) {
    this.#options = options;
  }

  start(): void {
    this.#timer = this.#options.context.timer(() => this.#slice());
    this.#timer.set(roundMs);
  }

  #slice(): void {
    this.#walk ??= this.#options.sessions();
    for (let i = 0; i < sliceSessions; i++) {
      const step = this.#walk.next();
      if (step.done === true) {
        this.#endRound();
        return;
      }
      neededOffsets(step.value[1], (shardId, offset) => {
        const before = this.#needed.get(shardId) ?? Number.POSITIVE_INFINITY;
        if (offset < before) this.#needed.set(shardId, offset);
      });
    }
    this.#timer?.set(sliceMs);
  }

  #endRound(): void {
    const needed = this.#needed;
    this.#needed = new Map();
    this.#walk = undefined;
    this.#timer?.set(roundMs);
    const changed = [...needed].filter(([shardId, offset]) => this.#held?.get(shardId) !== offset);
    const releases = this.#heldBefore().filter((shardId) => !needed.has(shardId));
    if (changed.length === 0 && releases.length === 0) {
      this.#held = needed;
      return;
    }
    const holds = changed.map(([shardId, offset]) => ({ shardId, offset }));
    const { context, placement } = this.#options;
    const { kind, index, logger } = context;
    placement.holdShards(`${kind}/${index}`, holds, releases).then(
      () => (this.#held = needed),
      (thrown: unknown) => {
        // The next round tells it again.
        const { message } = toOperatingError(thrown);
        logger.warn({ kind, index }, `holding partitions failed: ${message}`);
      },
    );
  }

  /** Of a former owner's holds nothing is known but that they are of shards that clients can read. */
  #heldBefore(): number[] {
    if (this.#held !== undefined) return [...this.#held.keys()];
    const shardIds: number[] = [];
    for (const topic of this.#options.catalog.topics()) {
      if (!topic.name.startsWith('$')) shardIds.push(...topic.shardIds);
    }
    return shardIds;
  }
}

/**
 * Calls with every shard that a session still has to read, and from where. Subscriptions at QoS 0 need
 * nothing: what comes while the client is away is not kept for it.
 */
export function neededOffsets(
  session: Readonly<Session>,
  need: (shardId: number, offset: number) => void,
): void {
  for (const { shardId, offset } of session.window) need(shardId, offset);
  const starts = new Map<number, number>();
  let mayReadOthers = false;
  for (const { filter, qos, startOffsets } of session.subscriptions.values()) {
    // What a share group needs it holds by itself.
    if (qos === 0 || parseSharedFilter(filter) !== undefined) continue;
    mayReadOthers ||= hasWildcard(filter);
    for (const { shardId, offset } of startOffsets) {
      starts.set(shardId, Math.min(offset, starts.get(shardId) ?? offset));
    }
  }
  for (const [shardId, start] of starts) {
    need(shardId, Math.max(start, session.positions.get(shardId) ?? 0));
  }
  if (!mayReadOthers) return;
  // Partitions that were made after the subscriptions.
  for (const [shardId, position] of session.positions) {
    if (!starts.has(shardId)) need(shardId, position);
  }
}
