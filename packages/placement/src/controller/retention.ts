import { assert, type Clock, type Logger, OperatingError } from '@robustmq/core';
import { Segment, type Shard, type StoredShard } from '@robustmq/rpc';
import { isTrimmed, trimTo } from '../core/chain.ts';
import { decideRetention, type RetentionDecision } from '../core/retention-decision.ts';
import { readTopicConfig } from '../core/topic-config.ts';
import type { MetadataStore, Operation } from '../store/metadata-store.ts';
import { nextTurn } from '../store/next-turn.ts';
import { shardOf } from './image.ts';
import { segmentKey, segmentsPrefix, shardKey } from './keys.ts';
import { type Ledger, putShard } from './ledger.ts';
import { putDeleting } from './sealed-change.ts';

export interface RetentionOptions {
  readonly store: MetadataStore;
  readonly ledger: Ledger;
  readonly clock: Clock;
  readonly logger: Logger;
  /** Told how many segments left their chain. */
  readonly onDropped: (count: number) => void;
  /** Told of a shard whose holder lost records. */
  readonly onHoldOverridden: (shardId: number) => void;
}

/** A sealed segment as it stands in the store. */
interface SealedRow {
  readonly segment: Segment;
  readonly revision: number;
}

/** Segments that leave a chain in one transaction: two rows each. */
const segmentsPerStepMax = 90;
/** Shards after which other work gets its turn. */
const shardsPerTurn = 200;

/**
 * Takes segments off the front of chains: those below the trim offset, and those that are too old or too
 * much. The oldest segment of each chain is remembered, so that a pass reads only chains where something
 * is due.
 */
export class Retention {
  readonly #options: RetentionOptions;
  /** Oldest sealed segment by shard; undefined: there is none. */
  readonly #oldest = new Map<number, SealedRow | undefined>();

  constructor(options: RetentionOptions) {
    this.#options = options;
  }

  /** Tells that a shard got a sealed segment. */
  sealed(shardId: number): void {
    if (this.#oldest.get(shardId) === undefined) this.#oldest.delete(shardId);
  }

  /** One pass over all shards. */
  async pass(): Promise<void> {
    let count = 0;
    for (const shardId of this.#options.ledger.image.shards.keys()) {
      await this.enforce(shardId);
      if (++count % shardsPerTurn === 0) await nextTurn();
    }
    for (const shardId of this.#oldest.keys()) {
      if (!this.#options.ledger.image.shards.has(shardId)) this.#oldest.delete(shardId);
    }
  }

  /** Takes off one chain what is due. */
  async enforce(shardId: number): Promise<void> {
    for (;;) {
      const front = await this.#front(shardId);
      if (front.length === 0) return;
      const dropped = await this.#drop(shardId, front);
      if (dropped === 'conflict') {
        // Somebody else took them, or changed their replicas: they are read again.
        this.#oldest.delete(shardId);
        await nextTurn();
        continue;
      }
      this.#oldest.set(shardId, front[dropped]);
      if (dropped < front.length) return;
      this.#oldest.delete(shardId);
    }
  }

  /**
   * Raises the trim offset of a shard and takes off what lies below it. Throws NOT_FOUND for a shard
   * that is not there.
   */
  async trim(shardId: number, offset: number): Promise<void> {
    const { ledger } = this.#options;
    if (!ledger.image.shards.has(shardId)) {
      throw new OperatingError('NOT_FOUND', `there is no shard ${shardId}`);
    }
    const { changed, error } = await ledger.changeShards([shardId], 1, (stored) => {
      const before = shardOf(stored);
      const shard = trimTo(before, offset);
      return shard === before ? undefined : { stored: { ...stored, shard } };
    });
    if (error !== undefined) throw error;
    if (changed.size > 0) await this.enforce(shardId);
  }

  /** Takes all sealed segments off a chain whose topic is deleted. */
  async dropAll(shardId: number): Promise<void> {
    for (;;) {
      const front = await this.#read(shardId);
      if (front.length === 0) return;
      if (!(await this.#remove(shardId, front))) await nextTurn();
    }
  }

  /** Segments from the front that a decision needs: only the oldest while it says that nothing is due. */
  async #front(shardId: number): Promise<readonly SealedRow[]> {
    const shard = this.#stored(shardId)?.shard;
    if (shard === undefined || shard.endOffset === 0) return [];
    const isKnown = this.#oldest.has(shardId);
    const oldest = this.#oldest.get(shardId);
    if (isKnown && oldest === undefined) return [];
    if (oldest !== undefined && this.#decide(shardId, [oldest]).due.length === 0) return [oldest];
    const front = await this.#read(shardId);
    this.#oldest.set(shardId, front[0]);
    return front;
  }

  async #read(shardId: number): Promise<SealedRow[]> {
    const range = await this.#options.store.range(segmentsPrefix(shardId), {
      limit: this.#segmentsPerStep,
    });
    return range.entries.map(({ value, revision }) => ({
      segment: Segment.decode(value),
      revision,
    }));
  }

  #decide(shardId: number, front: readonly SealedRow[]): RetentionDecision {
    const { ledger, clock } = this.#options;
    const stored = this.#stored(shardId);
    if (stored === undefined) return { due: [], holdOverridden: false };
    const shard = shardOf(stored);
    const config = readTopicConfig(ledger.image.topics.get(shard.topic)?.value.config ?? {});
    const { deletes, retentionMs, retentionBytes, retentionHoldBytes: holdBytes } = config;
    return decideRetention(
      {
        shard,
        front: front.map(({ segment }) => segment),
        sealedBytes: stored.sealedBytes,
        holdOffset: ledger.image.holdOffset(shardId),
        nowMs: clock.wallMs(),
      },
      { deletes, retentionMs, retentionBytes, holdBytes },
    );
  }

  /** Returns how many of the front went; `conflict`: it was not as it was read. */
  async #drop(shardId: number, front: readonly SealedRow[]): Promise<number | 'conflict'> {
    const { logger, onHoldOverridden } = this.#options;
    const { due, holdOverridden } = this.#decide(shardId, front);
    const last = due.at(-1);
    if (last === undefined) return 0;
    if (holdOverridden) {
      const fields = { shardId, holdOffset: this.#options.ledger.image.holdOffset(shardId) };
      logger.warn(
        { ...fields, trimOffset: last.endOffset },
        'records went although somebody still needs them: retention.hold.bytes is used up',
      );
      onHoldOverridden(shardId);
    }
    // What is due are the first ones.
    const isDone = await this.#remove(shardId, front.slice(0, due.length));
    return isDone ? due.length : 'conflict';
  }

  /** False when the shard or one of the rows has changed since: nothing is done then. */
  async #remove(shardId: number, due: readonly SealedRow[]): Promise<boolean> {
    const { ledger, onDropped } = this.#options;
    const row = ledger.image.shards.get(shardId);
    if (row === undefined) return false;
    const bytes = due.reduce((sum, { segment }) => sum + segment.sizeBytes, 0);
    const end = due.at(-1)?.segment.endOffset ?? 0;
    // The segments were read before the row: when they have left the chain meanwhile, it may have fewer
    // bytes than they. Then the conditions fail.
    const left = row.value.sealedBytes - bytes;
    const stored = {
      shard: withoutFront(shardOf(row.value), end),
      sealedBytes: Math.max(0, left),
    };
    const conditions = [
      { key: shardKey(shardId), revision: row.revision },
      ...due.map(({ segment, revision }) => ({ key: keyOf(segment), revision })),
    ];
    const rows = due.flatMap(({ segment }) => [removeSegment(segment), putDeleting(segment)]);
    const result = await ledger.transact(conditions, [putShard(stored), ...rows]);
    if (result.kind === 'conflict') return false;
    assert(left >= 0, 'a chain has the bytes of all its sealed segments');
    onDropped(due.length);
    return true;
  }

  /** Two rows for each segment and the shard's own fit in a transaction. */
  get #segmentsPerStep(): number {
    return Math.min(segmentsPerStepMax, Math.floor((this.#options.ledger.operationsMax - 1) / 2));
  }

  #stored(shardId: number): StoredShard | undefined {
    return this.#options.ledger.image.shards.get(shardId)?.value;
  }
}

function withoutFront(shard: Shard, end: number): Shard {
  const trimmed = trimTo(shard, end);
  const segments = trimmed.segments.filter((segment) => !isTrimmed(trimmed, segment));
  return { ...trimmed, segments };
}

function removeSegment(segment: Segment): Operation {
  return { kind: 'delete', key: keyOf(segment) };
}

function keyOf({ shardId, endOffset, segmentId }: Segment): string {
  return segmentKey(shardId, endOffset, segmentId);
}
