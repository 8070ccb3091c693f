import type {
  ChangeBatch,
  Condition,
  Leadership,
  MetadataStore,
  Operation,
  RangeOptions,
  RangeResult,
  StoredValue,
  TransactionResult,
} from '@robustmq/placement';
import type { SimProcess } from './sim-process.ts';

/** Who decides: one life of one process at a time. */
export interface LeaderSeat {
  holder: { process: SimProcess; life: number } | undefined;
}

const leadAgainMs = 50;

/**
 * Placement's store as one process reaches it: everything takes a while, and a process that dies meanwhile
 * never learns whether its transaction was done.
 */
export class SimStore implements MetadataStore {
  readonly #inner: MetadataStore;
  readonly #process: SimProcess;
  readonly #seat: LeaderSeat;

  readonly operationsMax: number;

  constructor(inner: MetadataStore, process: SimProcess, seat: LeaderSeat) {
    this.#inner = inner;
    this.operationsMax = inner.operationsMax;
    this.#process = process;
    this.#seat = seat;
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

  async lead(): Promise<Leadership> {
    const holder = { process: this.#process, life: this.#process.life };
    while (this.#isTaken) await this.#turn(leadAgainMs);
    this.#seat.holder = holder;
    // One after the other, in the order of the calls.
    let last: Promise<unknown> = Promise.resolve();
    return {
      lost: new AbortController().signal,
      transact: (conditions, operations) => {
        const done = last.then(() => this.transact(conditions, operations));
        last = done.catch(() => {});
        return done;
      },
      [Symbol.asyncDispose]: async () => {
        if (this.#seat.holder === holder) this.#seat.holder = undefined;
      },
    };
  }

  async [Symbol.asyncDispose](): Promise<void> {}

  get #isTaken(): boolean {
    const { holder } = this.#seat;
    return holder !== undefined && holder.process.isAlive && holder.process.life === holder.life;
  }

  async #slowly<T>(work: () => Promise<T>): Promise<T> {
    await this.#turn();
    const result = await work();
    await this.#turn();
    return result;
  }

  #turn(delayMs = this.#process.world.between(0.1, 2)): Promise<void> {
    return new Promise((resolve) => {
      this.#process.schedule(delayMs, 'store', resolve);
    });
  }
}
