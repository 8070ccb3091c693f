import { delay, type Offset, offset, type ShardId, toOperatingError } from '@robustmq/core';
import type { DecodedBatch } from '@robustmq/kernel';

import type { DeliveryClient, DeliveryContext } from './delivery-context.ts';
import { Lag } from './lag.ts';
import type { MatchTable, NameMatch } from './match-table.ts';

/** The session that lags. */
export interface LaggingSession {
  /** Whether there is room for so much that a read from the log pays. */
  readonly canCatchUp: boolean;
  /** Takes the record on which the batch's cursor stands. False: there is no room. */
  takeLagging(lag: Lag, batch: DecodedBatch, match: NameMatch, at: number): boolean;
  /** Records from the lag's position up to `earliest` are not in the log any more. */
  trimmed(shardId: ShardId, lag: Lag, earliest: Offset): void;
}

/** Reading is tried again so long after it has failed for a reason that passes. */
const retryDelayMs = 500;

/** The partitions on which one session reads on by itself (DESIGN.md, "Positions"). */
export class LaggingShards {
  readonly #session: LaggingSession;
  readonly #client: DeliveryClient;
  readonly #context: DeliveryContext;
  readonly #lags = new Map<ShardId, Lag>();

  constructor(session: LaggingSession, client: DeliveryClient, context: DeliveryContext) {
    this.#session = session;
    this.#client = client;
    this.#context = context;
  }

  get size(): number {
    return this.#lags.size;
  }

  /** Records between the session and the live path, on all of them. */
  get records(): number {
    let records = 0;
    for (const [shardId, { position }] of this.#lags) {
      records += Math.max(0, (this.#context.readers.frontier(shardId) ?? position) - position);
    }
    return records;
  }

  has(shardId: ShardId): boolean {
    return this.#lags.has(shardId);
  }

  /** First offset that the session has not taken; undefined when it is live there. */
  position(shardId: ShardId): Offset | undefined {
    return this.#lags.get(shardId)?.position;
  }

  /** Reads on from `from`. Records that would go out at QoS 0 are passed over below `qos0From`. */
  add(shardId: ShardId, from: Offset, qos0From: Offset): void {
    const readBytesMax = this.#context.limits.catchUpReadBytes;
    const cursor = this.#context.catchUp.cursor(shardId, from);
    this.#lags.set(shardId, new Lag(cursor, { qos0From, readBytesMax }));
  }

  drop(shardId: ShardId): void {
    this.#lags.get(shardId)?.cursor.close();
    this.#lags.delete(shardId);
  }

  close(): void {
    for (const lag of this.#lags.values()) lag.cursor.close();
    this.#lags.clear();
  }

  /** Whether a live record is the session's to take now; ends the lag when it has caught up. */
  passesLive(shardId: ShardId, at: number): boolean {
    const lag = this.#lags.get(shardId);
    if (lag === undefined) return true;
    if (lag.joinAt === undefined || at < lag.joinAt) return false;
    this.drop(shardId);
    return true;
  }

  /** Lets every partition read on that does not. */
  pump(): void {
    for (const [shardId, lag] of this.#lags) {
      if (lag.joinAt !== undefined) this.#dropIfPassed(shardId, lag.joinAt);
      else if (!lag.reading) void this.#catchUp(shardId, lag);
    }
  }

  #dropIfPassed(shardId: ShardId, joinAt: Offset): void {
    const frontier = this.#context.readers.frontier(shardId);
    if (frontier !== undefined && frontier >= joinAt) this.drop(shardId);
  }

  async #catchUp(shardId: ShardId, lag: Lag): Promise<void> {
    lag.reading = true;
    try {
      while (this.#lags.get(shardId) === lag && this.#session.canCatchUp) {
        if (this.#caughtUp(shardId, lag)) return;
        await this.#readOn(shardId, lag);
      }
    } finally {
      lag.reading = false;
    }
  }

  /** Joins the live path when there is nothing before it. Same turn, so no gap and no repeat. */
  #caughtUp(shardId: ShardId, lag: Lag): boolean {
    const frontier = this.#context.readers.frontier(shardId);
    if (frontier === undefined || lag.position < frontier) return false;
    if (lag.position === frontier) this.drop(shardId);
    else lag.joinAt = lag.position;
    return true;
  }

  async #readOn(shardId: ShardId, lag: Lag): Promise<void> {
    const table = this.#context.readers.tableOfShard(shardId);
    if (table === undefined) {
      // The topic is deleted.
      this.drop(shardId);
      return;
    }
    if (lag.cursor.position !== lag.position) lag.cursor.seek(lag.position);
    try {
      const step = await lag.cursor.read(lag.readBytes, (batch) =>
        this.#lags.get(shardId) === lag ? this.#takeBatch(lag, batch, table) : false,
      );
      lag.ended(step.nextOffset);
    } catch (thrown) {
      if (this.#lags.get(shardId) === lag) await this.#failed(shardId, lag, thrown);
    }
  }

  async #failed(shardId: ShardId, lag: Lag, thrown: unknown): Promise<void> {
    const earliest = lag.lost(thrown);
    if (earliest !== undefined) {
      this.#session.trimmed(shardId, lag, earliest);
      lag.position = earliest;
      return;
    }
    const error = toOperatingError(thrown);
    if (error.code === 'NOT_FOUND') this.drop(shardId);
    else if (error.retriable) await delay(this.#context.clock, retryDelayMs);
    else this.#client.failed(error);
  }

  #takeBatch(lag: Lag, batch: DecodedBatch, table: MatchTable): boolean {
    const { cursor } = batch;
    lag.lateMs = this.#context.readers.lateMs(batch);
    while (cursor.next()) {
      const at = batch.baseOffset + cursor.offsetDelta;
      if (at < lag.position) continue;
      if (!this.#session.takeLagging(lag, batch, table.of(cursor), at)) {
        lag.position = offset(at);
        lag.stopped = true;
        return false;
      }
      lag.position = offset(at + 1);
    }
    lag.position = batch.nextOffset;
    return true;
  }
}
