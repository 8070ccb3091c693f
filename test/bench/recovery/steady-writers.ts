import type { ShardId } from '@robustmq/core';

import type { ProbeClient } from './probe-client.ts';

/** Between an acknowledgement and the next append: the finest outage that can be seen. */
const pauseMs = 10;

interface Writer {
  readonly shardId: ShardId;
  lastAckMs: number;
  /** Longest time without an acknowledgement since the last look. */
  longestMs: number;
}

/** One writer for each shard, one append after the other; knows how long each was without an answer. */
export class SteadyWriters implements AsyncDisposable {
  readonly #client: ProbeClient;
  readonly #writers = new Map<ShardId, Writer>();
  readonly #running: Promise<void>[];
  #stopped = false;

  constructor(client: ProbeClient, shardIds: readonly ShardId[]) {
    this.#client = client;
    for (const shardId of shardIds) {
      this.#writers.set(shardId, { shardId, lastAckMs: performance.now(), longestMs: 0 });
    }
    this.#running = [...this.#writers.values()].map((writer) => this.#run(writer));
  }

  /** Forgets all gaps so far; those that last count from now. */
  reset(): void {
    const nowMs = performance.now();
    for (const writer of this.#writers.values()) {
      writer.lastAckMs = nowMs;
      writer.longestMs = 0;
    }
  }

  /** The longest gap of each shard since the reset, in ms, one that still lasts included. */
  longestMs(): Map<ShardId, number> {
    const nowMs = performance.now();
    const gaps = new Map<ShardId, number>();
    for (const { shardId, lastAckMs, longestMs } of this.#writers.values()) {
      gaps.set(shardId, Math.max(longestMs, nowMs - lastAckMs));
    }
    return gaps;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stopped = true;
    await Promise.all(this.#running);
  }

  async #run(writer: Writer): Promise<void> {
    while (!this.#stopped) {
      await this.#client.appendToEach([writer.shardId]);
      const nowMs = performance.now();
      writer.longestMs = Math.max(writer.longestMs, nowMs - writer.lastAckMs);
      writer.lastAckMs = nowMs;
      await new Promise((resolve) => setTimeout(resolve, pauseMs));
    }
  }
}
