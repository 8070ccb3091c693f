import { OperatingError, toOperatingError } from '@robustmq/core';
import type { Condition, Leadership, Operation, TransactionResult } from '../metadata-store.ts';
import type { GuardedResult } from './etcd-transaction.ts';

/** What a leadership needs of its lease. */
export interface HeldLease extends AsyncDisposable {
  readonly lost: AbortSignal;
  lose(reason: string): void;
}

export interface EtcdLeadershipOptions {
  readonly lease: HeldLease;
  /** One transaction that is done only while this leadership's key is there. */
  readonly transact: (
    conditions: readonly Condition[],
    operations: readonly Operation[],
  ) => Promise<GuardedResult>;
}

/** Transactions that wait for the one before. */
const waitingMax = 10_000;

/**
 * The leader key, held by a lease. One transaction is under way at a time, so that the order of the
 * revisions is the order in which their results are told.
 */
export class EtcdLeadership implements Leadership {
  readonly #options: EtcdLeadershipOptions;
  #last: Promise<unknown> = Promise.resolve();
  #waiting = 0;

  constructor(options: EtcdLeadershipOptions) {
    this.#options = options;
  }

  get lost(): AbortSignal {
    return this.#options.lease.lost;
  }

  transact(
    conditions: readonly Condition[],
    operations: readonly Operation[],
  ): Promise<TransactionResult> {
    if (this.#waiting >= waitingMax) {
      const message = `${waitingMax} transactions wait for etcd already`;
      return Promise.reject(new OperatingError('RESOURCE_EXHAUSTED', message));
    }
    this.#waiting++;
    const result = this.#after(this.#last, conditions, operations);
    this.#last = result.catch(() => undefined);
    return result;
  }

  /** Gives it to the next at once. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.#options.lease[Symbol.asyncDispose]();
  }

  async #after(
    previous: Promise<unknown>,
    conditions: readonly Condition[],
    operations: readonly Operation[],
  ): Promise<TransactionResult> {
    await previous;
    this.#waiting--;
    const { lease, transact } = this.#options;
    if (this.lost.aborted) throw notLeading(String(this.lost.reason));
    let result: GuardedResult;
    try {
      result = await transact(conditions, operations);
    } catch (thrown) {
      const error = toOperatingError(thrown);
      // What the store has now is known to whoever loads it: the next leader.
      if (error.code === 'INDETERMINATE') lease.lose(error.message);
      throw error;
    }
    if (result.kind !== 'lost') return result;
    lease.lose('somebody else leads');
    throw notLeading('somebody else leads');
  }
}

function notLeading(reason: string): OperatingError {
  return new OperatingError('UNAVAILABLE', `this placement leads no more: ${reason}`);
}
