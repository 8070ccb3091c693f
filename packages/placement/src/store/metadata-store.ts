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

/** Throws INVALID_ARGUMENT when there are more than `operationsMax` operations, or two for one key. */
export function checkOperations(operations: readonly Operation[], operationsMax: number): void {
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
  /**
   * Aborts when somebody else may have got it, or when nobody knows what became of a transaction. Never
   * aborts on a store that one process owns.
   */
  readonly lost: AbortSignal;
  /**
   * {@link MetadataStore.transact}, done only while this leadership is held: the store itself compares.
   * One after the other, in the order of the calls. Rejects with UNAVAILABLE once it is lost.
   */
  transact(
    conditions: readonly Condition[],
    operations: readonly Operation[],
  ): Promise<TransactionResult>;
}

export interface LeadOptions {
  /** HOST:PORT of this server, told to those that wait. */
  readonly address?: string;
  /** Gives up waiting. */
  readonly signal?: AbortSignal;
  /** Told the address of the one that leads, while this one waits; empty when nobody knows it. */
  readonly onOther?: (address: string) => void;
}

/**
 * Where placement keeps what it knows: keys and values, a revision that grows with each transaction,
 * compare-and-swap. What a resolved promise tells survives a crash. Keys are ASCII, ordered by byte.
 * Everything rejects with an OperatingError: UNAVAILABLE when the store cannot be reached.
 */
export interface MetadataStore extends AsyncDisposable {
  /** At most so many operations, and as many conditions, in one transaction. */
  readonly operationsMax: number;
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
  lead(options?: LeadOptions): Promise<Leadership>;
}
