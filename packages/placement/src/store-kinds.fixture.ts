/** The stores on which the tests of this package run: one in memory, and a real etcd. */
import { systemClock, systemRandom } from '@robustmq/core';
import { etcdMissing, EtcdProcess, MemoryMetadataStore, turns } from '@robustmq/testkit';
import { afterAll, beforeAll, describe } from 'vitest';
import { EtcdStore } from './store/etcd/etcd-store.ts';
import type {
  ChangeBatch,
  Leadership,
  LeadOptions,
  MetadataStore,
  TransactionResult,
} from './store/metadata-store.ts';

export interface StoreKind {
  readonly name: string;
  /** A new, empty store. */
  open(changesKept?: number): TestStore;
}

/** A store whose virtual clock can wait for it. */
export interface TestStore extends MetadataStore {
  /** Number of transactions that were done. */
  readonly transactions: number;
  /** So many turns of the event loop in a row in which nothing of the store was under way. */
  turns(count: number): Promise<void>;
}

const reason = etcdMissing();
if (reason !== undefined) console.warn(`placement on etcd is not tried: ${reason}`);

/** Describes the same tests once for each kind of store. */
export function describeOnStores(title: string, body: (stores: StoreKind) => void): void {
  describe(`${title}, store in memory`, () => body(memoryKind));
  const skipped = reason === undefined ? '' : ` (skipped: ${reason})`;
  describe.skipIf(reason !== undefined)(`${title}, store in etcd${skipped}`, () => {
    let etcd: EtcdProcess;
    let prefixes = 0;
    beforeAll(async () => {
      etcd = await EtcdProcess.start();
    });
    afterAll(() => etcd[Symbol.asyncDispose]());
    body({
      name: 'etcd',
      open: (changesKept) =>
        new AwaitedStore(
          new EtcdStore({
            endpoints: [etcd.endpoint],
            prefix: `t${prefixes++}/`,
            clock: systemClock(),
            random: systemRandom(),
            ...(changesKept !== undefined && { changesKept }),
          }),
        ),
    });
  });
}

class AwaitedMemoryStore extends MemoryMetadataStore implements TestStore {
  turns(count: number): Promise<void> {
    return turns(count);
  }
}

export const memoryKind: StoreKind = {
  name: 'memory',
  open: (changesKept = 100_000) => new AwaitedMemoryStore({ changesKept }),
};

/** Knows what is under way at a store that is elsewhere: calls, and changes that a watch has not told. */
class AwaitedStore implements TestStore {
  readonly operationsMax: number;
  readonly #store: MetadataStore;
  readonly #watches = new Set<{ position: number }>();
  #underWay = 0;
  #committed = 0;
  transactions = 0;

  constructor(store: MetadataStore) {
    this.#store = store;
    this.operationsMax = store.operationsMax;
  }

  get: MetadataStore['get'] = (key) => this.#count(this.#store.get(key));
  range: MetadataStore['range'] = (prefix, options) =>
    this.#count(this.#store.range(prefix, options));
  transact: MetadataStore['transact'] = (conditions, operations) =>
    this.#note(this.#store.transact(conditions, operations));

  async *watch(afterRevision: number, signal: AbortSignal): AsyncIterable<ChangeBatch> {
    const watch = { position: afterRevision };
    this.#watches.add(watch);
    try {
      for await (const batch of this.#store.watch(afterRevision, signal)) {
        watch.position = batch.revision;
        yield batch;
      }
    } finally {
      this.#watches.delete(watch);
    }
  }

  async lead(options?: LeadOptions): Promise<Leadership> {
    const leadership = await this.#store.lead(options);
    return {
      lost: leadership.lost,
      transact: (conditions, operations) => this.#note(leadership.transact(conditions, operations)),
      [Symbol.asyncDispose]: async () => leadership[Symbol.asyncDispose](),
    };
  }

  async turns(count: number): Promise<void> {
    for (let calm = 0; calm < count; calm++) {
      await turns(1);
      if (this.#isBusy) calm = -1;
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#store[Symbol.asyncDispose]();
  }

  get #isBusy(): boolean {
    if (this.#underWay > 0) return true;
    for (const { position } of this.#watches) if (position < this.#committed) return true;
    return false;
  }

  async #count<T>(call: Promise<T>): Promise<T> {
    this.#underWay++;
    try {
      return await call;
    } finally {
      this.#underWay--;
    }
  }

  async #note(transaction: Promise<TransactionResult>): Promise<TransactionResult> {
    const result = await this.#count(transaction);
    if (result.kind === 'committed' && result.revision > this.#committed) {
      this.#committed = result.revision;
      this.transactions++;
    }
    return result;
  }
}
