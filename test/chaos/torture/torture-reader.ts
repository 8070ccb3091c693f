import { type Offset, offset, OperatingError, shardId } from '@robustmq/core';
import type { ReadResult, Tail } from '@robustmq/journal-client';

import type { SeededRandom } from '../kill/seeded-random.ts';
import { seeFrames } from '../../history/frame-check.ts';
import type { ShardHistory } from '../../history/shard-history.ts';
import type { TortureClient } from './torture-client.ts';

/** Follows a shard from an offset on, and goes on at the earliest one where trimming was faster. */
export class TortureTail implements Disposable {
  readonly #client: TortureClient;
  readonly #history: ShardHistory;
  readonly #onMoved: () => void;
  #tail: Tail | undefined;
  #position: number;

  constructor(
    client: TortureClient,
    history: ShardHistory,
    start: { from: number; onMoved: () => void },
  ) {
    this.#client = client;
    this.#history = history;
    this.#position = start.from;
    this.#onMoved = start.onMoved;
    this.#open();
  }

  get position(): number {
    return this.#position;
  }

  #open(): void {
    const from = { fromOffset: offset(this.#position), readCommitted: true };
    this.#tail = this.#client.journal.tail(shardId(this.#history.shardId), from, {
      frames: (frames, nextOffset, highWatermark) => {
        this.#took(frames, nextOffset, highWatermark);
        return true;
      },
      failed: (error) => this.#failed(error),
    });
  }

  #took(frames: Buffer, next: number, highWatermark: number): void {
    if (next > highWatermark) {
      this.#history.report('uncommitted', `tail: went to ${next}, committed is ${highWatermark}`);
    }
    seeFrames(this.#history, frames, { from: this.#position, next, how: 'tail' });
    this.#position = next;
    this.#onMoved();
  }

  #failed(error: OperatingError): void {
    const { earliestOffset = -1 } = error.hint;
    const isTrimmed =
      error.code === 'OFFSET_OUT_OF_RANGE' && this.#position < this.#history.trimMax;
    if (!isTrimmed || earliestOffset > this.#history.trimMax || earliestOffset <= this.#position) {
      this.#history.report(
        'failed',
        `tail at ${this.#position} failed with earliest ${earliestOffset}: ${error.message}`,
      );
      return;
    }
    this.#position = earliestOffset;
    this.#open();
  }

  [Symbol.dispose](): void {
    this.#tail?.close();
  }
}

/** Reads here and there until it is stopped. */
export class TortureReader {
  readonly #client: TortureClient;
  readonly #history: ShardHistory;
  readonly #random: SeededRandom;
  reads = 0;

  constructor(client: TortureClient, history: ShardHistory, random: SeededRandom) {
    this.#client = client;
    this.#history = history;
    this.#random = random;
  }

  /** One read from a random offset. A journal that stays away for long is no violation. */
  async readSomewhere(): Promise<void> {
    const from = this.#random.below(this.#history.endAcknowledged + 1);
    const bytesMax = 1 + this.#random.below(200_000);
    const trimmedTo = this.#history.trimMax;
    try {
      await this.#read(from, bytesMax);
    } catch (thrown) {
      const { code } = thrown instanceof OperatingError ? thrown : { code: String(thrown) };
      const { trimMax } = this.#history;
      if (code === 'OFFSET_OUT_OF_RANGE' && from < Math.max(trimmedTo, trimMax)) return;
      if (thrown instanceof OperatingError && thrown.retriable) return;
      this.#history.report('failed', `read at ${from}: ${String(thrown)}`);
    }
  }

  /** The end has to be behind whatever was acknowledged before it was asked. */
  async askEnd(): Promise<void> {
    const acknowledged = this.#history.endAcknowledged;
    try {
      const end = await this.#client.endOffset(this.#history.shardId);
      if (end < acknowledged) {
        this.#history.report(
          'realTime',
          `end ${end}, but ${acknowledged - 1} was acknowledged before`,
        );
      }
    } catch (thrown) {
      if (!(thrown instanceof OperatingError) || !thrown.retriable) {
        this.#history.report('failed', `end offset: ${String(thrown)}`);
      }
    }
  }

  /** Reads the whole shard. */
  async readAll(): Promise<void> {
    const shard = shardId(this.#history.shardId);
    const earliest = await this.#client.journal.earliestOffset(shard);
    const end = await this.#client.endOffset(shard);
    for (let from: number = earliest; from < end;) {
      const { nextOffset } = await this.#read(from, 1024 * 1024);
      if (nextOffset === from) {
        this.#history.report('gap', `nothing comes at ${from}, and the end is ${end}`);
        break;
      }
      from = nextOffset;
    }
    this.#history.conclude(earliest, end);
  }

  async #read(from: number, bytesMax: number): Promise<ReadResult> {
    const options = { fromOffset: offset(from), bytesMax, waitMs: 0, readCommitted: true };
    const result = await this.#client.journal.read(shardId(this.#history.shardId), options);
    this.reads++;
    const next: Offset = result.nextOffset;
    if (next > result.highWatermark && next > from) {
      this.#history.report(
        'uncommitted',
        `read went to ${next}, committed is ${result.highWatermark}`,
      );
    }
    seeFrames(this.#history, result.frames, { from, next, how: 'read' });
    return result;
  }
}
