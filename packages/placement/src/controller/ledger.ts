import { assert, OperatingError, expectOperatingError, toOperatingError } from '@robustmq/core';
import { StoredCluster, StoredShard } from '@robustmq/rpc';
import type {
  Condition,
  Leadership,
  MetadataStore,
  Operation,
  TransactionResult,
} from '../store/metadata-store.ts';
import { nextTurn } from '../store/next-turn.ts';
import type { Image } from './image.ts';
import { clusterKey, shardKey } from './keys.ts';

/** What is to be done at once, and what it was decided from. */
interface Transaction {
  readonly conditions: readonly Condition[];
  readonly operations: readonly Operation[];
}

/** A change to one shard, with what has to happen in the same transaction. */
export interface ShardChange {
  readonly stored: StoredShard;
  readonly operations?: readonly Operation[];
}

/** What became of a change to many shards. */
export interface ShardsChanged {
  readonly changed: ReadonlySet<number>;
  /** Why the rest was not changed: some transactions may have been done before one failed. */
  readonly error: OperatingError | undefined;
}

/** Conflicts after which a change is given up: somebody else always wins. */
const conflictsMax = 100;

/** What a ledger tells of its transactions. */
export type TransactionObserver = (result: TransactionResult['kind'], operations: number) => void;

/**
 * Every change goes through here: a compare-and-swap against the row that the decision was made from,
 * in transactions of bounded size, after which the image shows what the store has.
 */
export class Ledger {
  /** Operations that fit in one transaction. */
  readonly operationsMax: number;
  /** Revision of the store before the first change. */
  readonly startRevision: number;
  readonly #leadership: Leadership;
  readonly #image: Image;
  readonly #observe: TransactionObserver;
  #revision: number;
  #failure: OperatingError | undefined;
  readonly #underWay = new Set<Promise<unknown>>();
  #stopped: OperatingError | undefined;

  constructor(
    store: MetadataStore,
    leadership: Leadership,
    image: Image,
    observe: TransactionObserver = () => {},
  ) {
    this.operationsMax = store.operationsMax;
    this.startRevision = image.revision;
    this.#revision = image.revision;
    this.#leadership = leadership;
    this.#image = image;
    this.#observe = observe;
  }

  get image(): Image {
    return this.#image;
  }

  /** Revision of the last change that was made here. */
  get revision(): number {
    return this.#revision;
  }

  /** The store must not be changed any more, and whoever tries is told why. */
  stop(error: OperatingError): void {
    this.#stopped ??= error;
  }

  get stopped(): OperatingError | undefined {
    return this.#stopped;
  }

  /** Why the last transaction could not be done, or none will be; undefined when the store took it. */
  get failure(): OperatingError | undefined {
    return this.#stopped ?? this.#failure;
  }

  /** Writes a row as it is when the store took nothing last time: nothing else might be written for long. */
  async retryStore(): Promise<void> {
    const { cluster } = this.#image;
    if (this.#failure === undefined || this.#stopped !== undefined || cluster === undefined) return;
    const conditions = [{ key: clusterKey, revision: cluster.revision }];
    await this.transact(conditions, [put(clusterKey, StoredCluster.encode(cluster.value))]);
  }

  /** Resolves when the image has what was decided until now. */
  async settled(): Promise<void> {
    await Promise.allSettled(this.#underWay);
  }

  /** One transaction; on success the image has it. */
  async transact(
    conditions: readonly Condition[],
    operations: readonly Operation[],
  ): Promise<TransactionResult> {
    const transaction = this.#transact(conditions, operations);
    this.#underWay.add(transaction);
    try {
      return await transaction;
    } finally {
      this.#underWay.delete(transaction);
    }
  }

  async #transact(
    conditions: readonly Condition[],
    operations: readonly Operation[],
  ): Promise<TransactionResult> {
    if (this.#stopped !== undefined) throw this.#stopped;
    const result = await this.#tell(this.#leadership.transact(conditions, operations));
    this.#observe(result.kind, operations.length);
    if (result.kind === 'conflict') return result;
    this.#revision = Math.max(this.#revision, result.revision);
    for (const operation of operations) {
      if (operation.kind === 'put') {
        this.#image.apply({ ...operation, revision: result.revision });
      } else this.#image.apply(operation, result.revision);
    }
    return result;
  }

  async #tell(transaction: Promise<TransactionResult>): Promise<TransactionResult> {
    try {
      const result = await transaction;
      this.#failure = undefined;
      return result;
    } catch (thrown) {
      this.#failure = toOperatingError(thrown);
      throw thrown;
    }
  }

  /**
   * Decides and transacts, again as long as somebody else was faster. `decide` looks at the image and
   * returns undefined when there is nothing to do; it may throw. Throws CONFLICT in the end.
   */
  async change(decide: () => Transaction | undefined): Promise<boolean> {
    for (let conflicts = 0; conflicts < conflictsMax; conflicts++) {
      const decided = decide();
      if (decided === undefined) return false;
      const result = await this.transact(decided.conditions, decided.operations);
      if (result.kind === 'committed') return true;
      await nextTurn();
    }
    throw new OperatingError('CONFLICT', 'placement: another change was always faster');
  }

  /**
   * Changes many shards in as few transactions as fit. `decide` gets each shard as it is now (again
   * after a conflict) and returns undefined to leave it alone. An operating error ends it, and what was
   * done before stays done: so it is told beside the ids that were changed, not thrown.
   *
   * @param operationsEach Most operations of one shard, its own row included.
   */
  async changeShards(
    shardIds: readonly number[],
    operationsEach: number,
    decide: (stored: StoredShard) => ShardChange | undefined,
  ): Promise<ShardsChanged> {
    const changed = new Set<number>();
    assert(operationsEach <= this.operationsMax, 'what belongs to one shard fits');
    const perTransaction = Math.floor(this.operationsMax / operationsEach);
    for (let at = 0; at < shardIds.length; at += perTransaction) {
      const chunk = shardIds.slice(at, at + perTransaction);
      let touched: number[] = [];
      const plan = (): Transaction | undefined => {
        const conditions: Condition[] = [];
        const operations: Operation[] = [];
        touched = [];
        for (const shardId of chunk) {
          const row = this.#image.shards.get(shardId);
          const change = row && decide(row.value);
          if (row === undefined || change === undefined) continue;
          const own = [putShard(change.stored), ...(change.operations ?? [])];
          assert(own.length <= operationsEach, `at most ${operationsEach} operations for a shard`);
          touched.push(shardId);
          conditions.push({ key: shardKey(shardId), revision: row.revision });
          operations.push(...own);
        }
        return touched.length === 0 ? undefined : { conditions, operations };
      };
      try {
        await this.change(plan);
      } catch (thrown) {
        const error = expectOperatingError(thrown);
        return { changed, error };
      }
      for (const shardId of touched) changed.add(shardId);
    }
    return { changed, error: undefined };
  }
}

/** A put of a shard's row. */
export function putShard(stored: StoredShard): Operation {
  assert(stored.shard !== undefined, 'a stored shard has its chain');
  return put(shardKey(stored.shard.shardId), StoredShard.encode(stored));
}

/** A put of an encoded message. */
export function put(key: string, encoded: { finish(): Uint8Array }): Operation {
  const bytes = encoded.finish();
  return { kind: 'put', key, value: Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length) };
}
