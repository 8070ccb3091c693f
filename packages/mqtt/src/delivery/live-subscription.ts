import type { Offset, ShardId } from '@robustmq/core';

import type { SessionSubscription } from '../session/session-gateway.ts';

/** A subscription of a connected session. */
export class LiveSubscription {
  readonly stored: SessionSubscription;
  /** Partitions that can hold its records. */
  shardIds: readonly ShardId[];
  /** Where it begins on the live path of partitions whose reader has not got there yet. */
  #liveStarts: Map<ShardId, Offset> | undefined;

  constructor(stored: SessionSubscription, shardIds: readonly ShardId[]) {
    this.stored = stored;
    this.shardIds = shardIds;
  }

  /** Live records below `start` are not for it. */
  startLiveAt(shardId: ShardId, start: Offset): void {
    this.#liveStarts ??= new Map();
    this.#liveStarts.set(shardId, start);
  }

  /** Whether a live record is for it. */
  takesLive(shardId: ShardId, offset: number): boolean {
    const start = this.#liveStarts?.get(shardId);
    if (start === undefined) return true;
    if (offset < start) return false;
    this.#liveStarts?.delete(shardId);
    if (this.#liveStarts?.size === 0) this.#liveStarts = undefined;
    return true;
  }

  /** Whether a record that is read again from the log is for it. */
  takes(shardId: ShardId, offset: number): boolean {
    for (const start of this.stored.startOffsets) {
      if (start.shardId === shardId) return offset >= start.offset;
    }
    return true;
  }
}
