import { assert, OperatingError, toOperatingError, TurnTask } from '@robustmq/core';
import { errorOfStatus, type Shard, type ShardResult } from '@robustmq/rpc';

/** Shards in one call, as the contract says. */
const shardsPerCall = 1_000;

interface Wanted {
  readonly promise: Promise<Shard>;
  readonly resolve: (shard: Shard) => void;
  readonly reject: (error: OperatingError) => void;
}

/**
 * Gathers what one event-loop turn asks about shards into one call, with at most one question in
 * flight per shard: whoever asks meanwhile shares its answer.
 */
export class ShardBatcher {
  readonly #ask: (shardIds: number[]) => Promise<ShardResult[]>;
  readonly #applyShard: (shard: Shard) => Shard;
  readonly #wanted = new Map<number, Wanted>();
  #unsent: number[] = [];
  readonly #turn = new TurnTask(() => this.#sendAll());

  /**
   * @param ask does the call; answers in the order of the ids.
   * @param applyShard stores an answer and returns the newest that is known.
   */
  constructor(
    ask: (shardIds: number[]) => Promise<ShardResult[]>,
    applyShard: (shard: Shard) => Shard,
  ) {
    this.#ask = ask;
    this.#applyShard = applyShard;
  }

  /** The shard as placement tells it. Rejects with an OperatingError. */
  get(shardId: number): Promise<Shard> {
    const known = this.#wanted.get(shardId);
    if (known !== undefined) return known.promise;
    const wanted: Wanted = Promise.withResolvers<Shard>();
    this.#wanted.set(shardId, wanted);
    this.#unsent.push(shardId);
    this.#turn.schedule();
    return wanted.promise;
  }

  #sendAll(): void {
    const unsent = this.#unsent;
    this.#unsent = [];
    for (let at = 0; at < unsent.length; at += shardsPerCall) {
      void this.#send(unsent.slice(at, at + shardsPerCall));
    }
  }

  async #send(shardIds: number[]): Promise<void> {
    try {
      const results = await this.#ask(shardIds);
      shardIds.forEach((shardId, at) => this.#settle(shardId, outcomeOf(shardId, results[at])));
    } catch (thrown) {
      const error = toOperatingError(thrown);
      for (const shardId of shardIds) this.#settle(shardId, error);
    }
  }

  #settle(shardId: number, outcome: Shard | OperatingError): void {
    const wanted = this.#wanted.get(shardId);
    assert(wanted !== undefined, `shard ${shardId} was asked for`);
    this.#wanted.delete(shardId);
    if (outcome instanceof OperatingError) wanted.reject(outcome);
    else wanted.resolve(this.#applyShard(outcome));
  }
}

function outcomeOf(shardId: number, result: ShardResult | undefined): Shard | OperatingError {
  if (result === undefined || result.shardId !== shardId) {
    return new OperatingError('INTERNAL', `placement gave no answer for shard ${shardId}`);
  }
  if (result.status !== undefined && result.status.code !== 0) return errorOfStatus(result.status);
  if (result.shard !== undefined) return result.shard;
  return new OperatingError('INTERNAL', `placement gave an empty answer for shard ${shardId}`);
}
