import { OperatingError } from '@robustmq/core';
import type {
  ChangeBatch,
  Condition,
  LeadOptions,
  Leadership,
  MetadataStore,
  Operation,
  RangeOptions,
  RangeResult,
  StoredValue,
  TransactionResult,
} from '@robustmq/placement';
import type { LeaderSeat, SimLease } from './leader-seat.ts';
import type { SimProcess } from './sim-process.ts';

const leadAgainMs = 50;

/**
 * Placement's store as one process reaches it: everything takes a while, and a process that dies meanwhile
 * never learns whether its transaction was done.
 */
export class SimStore implements MetadataStore {
  readonly #inner: MetadataStore;
  readonly #process: SimProcess;
  readonly #seat: LeaderSeat;
  readonly #life: number;

  readonly operationsMax: number;

  constructor(inner: MetadataStore, process: SimProcess, seat: LeaderSeat) {
    this.#inner = inner;
    this.operationsMax = inner.operationsMax;
    this.#process = process;
    this.#seat = seat;
    this.#life = process.life;
  }

  get(key: string): Promise<StoredValue | undefined> {
    return this.#slowly(() => this.#inner.get(key));
  }

  range(prefix: string, options?: RangeOptions): Promise<RangeResult> {
    return this.#slowly(() => this.#inner.range(prefix, options));
  }

  transact(
    conditions: readonly Condition[],
    operations: readonly Operation[],
  ): Promise<TransactionResult> {
    return this.#slowly(() => this.#inner.transact(conditions, operations));
  }

  async *watch(afterRevision: number, signal: AbortSignal): AsyncIterable<ChangeBatch> {
    for await (const batch of this.#inner.watch(afterRevision, signal)) {
      await this.#turn();
      yield batch;
    }
  }

  async lead({ onOther, signal }: LeadOptions = {}): Promise<Leadership> {
    for (;;) {
      signal?.throwIfAborted();
      const lease = this.#seat.take(this.#process);
      if (lease !== undefined) return this.#leadershipOf(lease);
      const { holder } = this.#seat;
      onOther?.(holder === undefined ? '' : `${holder}:1`);
      await this.#turn(leadAgainMs);
    }
  }

  #leadershipOf(lease: SimLease): Leadership {
    // One after the other, in the order of the calls.
    let last: Promise<unknown> = Promise.resolve();
    return {
      lost: lease.lost,
      transact: (conditions, operations) => {
        const done = last.then(() => this.#guarded(lease, conditions, operations));
        last = done.catch(() => {});
        return done;
      },
      [Symbol.asyncDispose]: async () => {
        lease.released = true;
      },
    };
  }

  async #guarded(
    lease: SimLease,
    conditions: readonly Condition[],
    operations: readonly Operation[],
  ): Promise<TransactionResult> {
    await this.#turn();
    if (!this.#seat.holds(lease)) {
      throw new OperatingError('UNAVAILABLE', 'this placement server decides no more');
    }
    const result = await this.#inner.transact(conditions, operations);
    await this.#turn();
    if (!this.#process.world.chance(this.#seat.lostAnswers)) return result;
    // Nobody knows what became of it.
    lease.lose('the answer of the store was lost');
    throw new OperatingError('INDETERMINATE', 'the answer of the store was lost');
  }

  async [Symbol.asyncDispose](): Promise<void> {}

  async #slowly<T>(work: () => Promise<T>): Promise<T> {
    await this.#turn();
    const result = await work();
    await this.#turn();
    return result;
  }

  /** Never, once the process has died: what waits for the shared store would go on in its next life. */
  #turn(delayMs = this.#process.world.between(0.1, 2)): Promise<void> {
    return new Promise((resolve) => {
      if (this.#process.life === this.#life) this.#process.schedule(delayMs, 'store', resolve);
    });
  }
}
