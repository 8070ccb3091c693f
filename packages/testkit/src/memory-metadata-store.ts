import { OperatingError } from '@robustmq/core';
import {
  type ChangeBatch,
  checkOperations,
  CommitSignal,
  type Condition,
  type Leadership,
  type LeadOptions,
  LeadershipQueue,
  type MetadataStore,
  type Operation,
  type RangeOptions,
  type RangeResult,
  type StoredChange,
  type StoredValue,
  type TransactionResult,
} from '@robustmq/placement';

interface Changed {
  readonly revision: number;
  readonly key: string;
}

/** A metadata store without a disk. It outlives its users: disposing it does nothing. */
export class MemoryMetadataStore implements MetadataStore {
  readonly operationsMax = 200;
  readonly #values = new Map<string, StoredValue>();
  readonly #commits = new CommitSignal();
  readonly #leadership = new LeadershipQueue((conditions, operations) =>
    this.transact(conditions, operations),
  );
  readonly #changesKept: number;
  #changed: Changed[] = [];
  #revision = 0;
  #compacted = 0;
  /** Number of transactions that were done. */
  transactions = 0;

  /** @param options.afterRevision The first change has a higher revision, and none before is known. */
  constructor(options: { changesKept?: number; afterRevision?: number } = {}) {
    const { changesKept = 100_000, afterRevision = 0 } = options;
    this.#changesKept = changesKept;
    this.#revision = afterRevision;
    this.#compacted = afterRevision;
  }

  /** Puts what a store that was made elsewhere begins with, however much that is. */
  fill(operations: readonly Operation[]): void {
    this.#apply(operations);
  }

  /** Another store with what this one has now, as from a backup. */
  clone(): MemoryMetadataStore {
    const copy = new MemoryMetadataStore({ changesKept: this.#changesKept });
    for (const [key, value] of this.#values) copy.#values.set(key, value);
    copy.#changed = [...this.#changed];
    copy.#revision = this.#revision;
    copy.#compacted = this.#compacted;
    return copy;
  }

  async get(key: string): Promise<StoredValue | undefined> {
    return this.#values.get(key);
  }

  async range(prefix: string, options: RangeOptions = {}): Promise<RangeResult> {
    const { after = '', limit = 1_000 } = options;
    const entries = [...this.#values.values()]
      .filter(({ key }) => key.startsWith(prefix) && key > after)
      .sort((a, b) => (a.key < b.key ? -1 : 1))
      .slice(0, limit);
    return { entries, revision: this.#revision };
  }

  async transact(
    conditions: readonly Condition[],
    operations: readonly Operation[],
  ): Promise<TransactionResult> {
    checkOperations(operations, this.operationsMax);
    const holds = ({ key, revision }: Condition): boolean =>
      (this.#values.get(key)?.revision ?? 0) === revision;
    if (!conditions.every(holds)) return { kind: 'conflict' };
    if (operations.length > 0) this.#apply(operations);
    return { kind: 'committed', revision: this.#revision };
  }

  async *watch(afterRevision: number, signal: AbortSignal): AsyncIterable<ChangeBatch> {
    let position = afterRevision;
    while (!signal.aborted) {
      if (position < this.#compacted || position > this.#revision) {
        throw new OperatingError('COMPACTED', `changes after revision ${position} are not known`);
      }
      if (position === this.#revision) {
        await this.#commits.wait(signal);
        continue;
      }
      const batch = this.#changesAfter(position);
      position = batch.revision;
      yield batch;
    }
  }

  lead(options?: LeadOptions): Promise<Leadership> {
    return this.#leadership.lead(options);
  }

  async [Symbol.asyncDispose](): Promise<void> {}

  #apply(operations: readonly Operation[]): void {
    const revision = ++this.#revision;
    this.transactions++;
    for (const operation of operations) {
      const { key } = operation;
      if (operation.kind === 'put') {
        this.#values.set(key, { key, value: Buffer.from(operation.value), revision });
      } else if (!this.#values.delete(key)) continue;
      this.#changed.push({ revision, key });
    }
    const cut = this.#changed.at(-this.#changesKept - 1)?.revision;
    if (cut !== undefined) {
      this.#compacted = cut;
      this.#changed = this.#changed.filter((changed) => changed.revision > cut);
    }
    this.#commits.notify();
  }

  #changesAfter(position: number): ChangeBatch {
    const later = this.#changed.filter((changed) => changed.revision > position);
    const cut = later[1_000]?.revision;
    const step = cut === undefined ? later : later.filter((changed) => changed.revision < cut);
    const changes = new Map(step.map(({ key }) => [key, this.#changeOf(key)]));
    return {
      revision: cut === undefined ? this.#revision : (step.at(-1)?.revision ?? position),
      changes: [...changes.values()],
    };
  }

  #changeOf(key: string): StoredChange {
    const stored = this.#values.get(key);
    return stored === undefined ? { kind: 'delete', key } : { kind: 'put', ...stored };
  }
}
