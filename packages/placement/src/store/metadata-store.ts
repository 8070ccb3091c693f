import { OperatingError } from '@robustmq/core';

/** One key as it is in the store. */
export interface StoredValue {
  readonly key: string;
  /** The store's; not to be changed. */
  readonly value: Buffer;
  /** Revision of the transaction that last put it. */
  readonly revision: number;
}

/** Must hold for a transaction to be done: the key's revision is this one; 0: there is no such key. */
export interface Condition {
  readonly key: string;
  readonly revision: number;
}

/** One change that a transaction makes. Deleting a key that is not there does nothing. */
export type Operation =
  | { readonly kind: 'put'; readonly key: string; readonly value: Buffer }
  | { readonly kind: 'delete'; readonly key: string };

/** At most so many operations in one transaction: a store may do it synchronously. */
export const operationsMax = 200;

/** Throws INVALID_ARGUMENT when there are too many operations, or two for one key. */
export function checkOperations(operations: readonly Operation[]): void {
  if (operations.length > operationsMax) {
    const message = `a transaction has at most ${operationsMax} operations, not ${operations.length}`;
    throw new OperatingError('INVALID_ARGUMENT', message);
  }
  const keys = new Set(operations.map((operation) => operation.key));
  if (keys.size < operations.length) {
    throw new OperatingError('INVALID_ARGUMENT', 'a transaction has one operation for each key');
  }
}

/** `conflict`: a condition did not hold and nothing was done. */
export type TransactionResult =
  | { readonly kind: 'committed'; readonly revision: number }
  | { readonly kind: 'conflict' };

/** One key that has changed. */
export type StoredChange =
  | {
      readonly kind: 'put';
      readonly key: string;
      readonly value: Buffer;
      readonly revision: number;
    }
  | { readonly kind: 'delete'; readonly key: string };

/** A step of a watch. */
export interface ChangeBatch {
  /** Everything up to this revision has been told now. */
  readonly revision: number;
  /** Each changed key once, with the newest value, which may be newer than `revision`. At most 1,000. */
  readonly changes: readonly StoredChange[];
}

export interface RangeOptions {
  /** Only keys greater than this one. */
  readonly after?: string;
  /** At most so many; default 1,000. */
  readonly limit?: number;
}

export interface RangeResult {
  /** In the order of the keys. */
  readonly entries: readonly StoredValue[];
  /** Revision at which this was read. */
  readonly revision: number;
}

/** The right to decide, held by one placement server at a time. Disposing gives it to the next. */
export interface Leadership extends AsyncDisposable {
  /** Aborts when somebody else may have got it. Never aborts on a store that one process owns. */
  readonly lost: AbortSignal;
}

/**
 * Where placement keeps what it knows: keys and values, a revision that grows with each transaction,
 * compare-and-swap. What a resolved promise tells survives a crash. Keys are ASCII, ordered by byte.
 * Everything rejects with an OperatingError: UNAVAILABLE when the store cannot be reached.
 */
export interface MetadataStore extends AsyncDisposable {
  get(key: string): Promise<StoredValue | undefined>;
  /** Keys that begin with `prefix`, in order; all of them of one revision. */
  range(prefix: string, options?: RangeOptions): Promise<RangeResult>;
  /**
   * Does all operations at one new revision if all conditions hold, or nothing. A key may stand in one
   * operation only. Without operations it only checks. At most {@link operationsMax} operations.
   */
  transact(
    conditions: readonly Condition[],
    operations: readonly Operation[],
  ): Promise<TransactionResult>;
  /**
   * What has changed after a revision, then what changes. Ends when `signal` aborts. Throws COMPACTED
   * when the store does not know any more (or not yet: it was restored) what changed after it.
   */
  watch(afterRevision: number, signal: AbortSignal): AsyncIterable<ChangeBatch>;
  /** Waits until no other placement server decides. */
  lead(signal?: AbortSignal): Promise<Leadership>;
}
