// The thin shell around the file: better-sqlite3 opens it by itself, the folder has to be there.
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { assert, AssertionFailure, OperatingError } from '@robustmq/core';
import type Database from 'better-sqlite3';
import { CommitSignal } from './commit-signal.ts';
import { LeadershipQueue } from './leadership-queue.ts';
import {
  type ChangeBatch,
  type Condition,
  type Leadership,
  type LeadOptions,
  checkOperations,
  type MetadataStore,
  type Operation,
  type RangeOptions,
  type RangeResult,
  type StoredChange,
  type StoredValue,
  type TransactionResult,
} from './metadata-store.ts';
import { nextTurn } from './next-turn.ts';
import { explained, openDatabase } from './sqlite-file.ts';

export interface SqliteStoreOptions {
  /** Folder of the file `placement.db`; made when it is not there. */
  readonly dataDir: string;
  /** Changes that a watch can resume behind; older ones are forgotten. Default 100,000. */
  readonly changesKept?: number;
  /** A new store begins behind this revision, and tells whoever resumes below it to take the full list. */
  readonly afterRevision?: number;
}

/** Rows of the changelog that are dropped at once, at most: it happens inside a transaction. */
const dropMax = 1_000;
/** Rows that one step of a watch reads: more than the operations of one transaction. */
const stepMax = 1_000;
const rangeDefault = 1_000;
/** Operations of one transaction: it is done synchronously. */
const operationsMax = 500;

interface KvRow {
  readonly key: string;
  readonly value: Buffer;
  readonly revision: number;
}

interface ChangeRow {
  readonly changed: number;
  readonly key: string;
  readonly value: Buffer | null;
  readonly revision: number | null;
}

/**
 * A store in one SQLite file that one process owns. A transaction is done, with its sync, before
 * `transact` returns its promise; the promise resolves in a later turn.
 */
export class SqliteStore implements MetadataStore {
  readonly operationsMax = operationsMax;
  readonly #db: Database.Database;
  readonly #statements: Statements;
  readonly #changesKept: number;
  readonly #commits = new CommitSignal();
  readonly #leadership = new LeadershipQueue((conditions, operations) =>
    this.transact(conditions, operations),
  );
  readonly #closed = new AbortController();
  #revision: number;
  /** Changes at and below this revision may have been forgotten. */
  #compacted: number;
  #changes: number;
  /** The disk failed: a sync is not repeated, since a second one that succeeds proves nothing. */
  #broken: AssertionFailure | undefined;

  private constructor(db: Database.Database, changesKept: number) {
    this.#db = db;
    this.#statements = prepareStatements(db);
    this.#changesKept = changesKept;
    this.#revision = this.#readMeta('revision');
    this.#compacted = this.#readMeta('compacted');
    this.#changes = (this.#statements.countChanges.get() as { count: number }).count;
  }

  /**
   * Opens the file. Throws CONFLICT when another process has it, INVALID_ARGUMENT when it is of
   * another version.
   */
  static open(options: SqliteStoreOptions): SqliteStore {
    mkdirSync(options.dataDir, { recursive: true });
    const db = openDatabase(join(options.dataDir, 'placement.db'));
    const { afterRevision, changesKept = 100_000 } = options;
    if (afterRevision !== undefined) beginAfter(db, afterRevision);
    return new SqliteStore(db, changesKept);
  }

  /** Lets the file grow to so many pages of 4 KiB at most; beyond it, it is as if the disk were full. */
  limitPages(count: number): void {
    this.#db.pragma(`max_page_count = ${Math.floor(count)}`);
  }

  async get(key: string): Promise<StoredValue | undefined> {
    this.#requireOpen();
    return this.#statements.get.get(key) as KvRow | undefined;
  }

  async range(prefix: string, options: RangeOptions = {}): Promise<RangeResult> {
    this.#requireOpen();
    const { after = '', limit = rangeDefault } = options;
    const entries =
      after >= prefix
        ? this.#statements.rangeAfter.all(after, endOf(prefix), limit)
        : this.#statements.rangeFrom.all(prefix, endOf(prefix), limit);
    return { entries: entries as KvRow[], revision: this.#revision };
  }

  async transact(
    conditions: readonly Condition[],
    operations: readonly Operation[],
  ): Promise<TransactionResult> {
    this.#requireOpen();
    checkOperations(operations, operationsMax);
    const result = this.#commit(conditions, operations);
    await nextTurn();
    return result;
  }

  async *watch(afterRevision: number, signal: AbortSignal): AsyncIterable<ChangeBatch> {
    const ended = AbortSignal.any([signal, this.#closed.signal]);
    let position = afterRevision;
    while (!ended.aborted) {
      if (position < this.#compacted || position > this.#revision) {
        const message = `changes after revision ${position} are not known (${this.#compacted} to ${this.#revision} are): take the full list`;
        throw new OperatingError('COMPACTED', message);
      }
      if (position === this.#revision) {
        await this.#commits.wait(ended);
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

  async [Symbol.asyncDispose](): Promise<void> {
    this.#closed.abort();
    this.#db.close();
  }

  #requireOpen(): void {
    if (!this.#db.open) throw new OperatingError('UNAVAILABLE', 'the metadata store is closed');
  }

  #readMeta(name: string): number {
    const row = this.#statements.readMeta.get(name) as { value: number } | undefined;
    return row?.value ?? 0;
  }

  #commit(conditions: readonly Condition[], operations: readonly Operation[]): TransactionResult {
    if (this.#broken !== undefined) throw this.#broken;
    try {
      this.#db.exec('BEGIN IMMEDIATE');
      if (!conditions.every((condition) => this.#holds(condition))) {
        this.#db.exec('ROLLBACK');
        return { kind: 'conflict' };
      }
      if (operations.length === 0) {
        this.#db.exec('ROLLBACK');
        return { kind: 'committed', revision: this.#revision };
      }
      return this.#apply(operations);
    } catch (error) {
      throw this.#failed(error);
    }
  }

  #failed(error: unknown): unknown {
    const failure = explained(error, this.#db.name);
    if (failure instanceof AssertionFailure) this.#broken = failure;
    else if (this.#db.inTransaction) this.#db.exec('ROLLBACK');
    return failure;
  }

  #apply(operations: readonly Operation[]): TransactionResult {
    const revision = this.#revision + 1;
    let changes = this.#changes;
    for (const operation of operations) {
      if (operation.kind === 'put') {
        this.#statements.put.run(operation.key, operation.value, revision);
      } else if (this.#statements.delete.run(operation.key).changes === 0) continue;
      this.#statements.logChange.run(revision, operation.key);
      changes++;
    }
    this.#statements.writeMeta.run('revision', revision);
    const dropped = this.#dropOldChanges(changes);
    this.#db.exec('COMMIT');
    this.#revision = revision;
    this.#changes = changes - dropped.count;
    this.#compacted = dropped.compacted;
    this.#commits.notify();
    return { kind: 'committed', revision };
  }

  /** Forgets whole revisions, so that a watch never sees half of one. */
  #dropOldChanges(changes: number): { count: number; compacted: number } {
    const surplus = Math.min(changes - this.#changesKept, dropMax);
    // In steps, so that not every transaction pays for it.
    if (surplus < Math.min(dropMax, this.#changesKept))
      return { count: 0, compacted: this.#compacted };
    const last = this.#statements.nthChange.get(surplus - 1) as { revision: number };
    const count = this.#statements.dropChanges.run(last.revision).changes;
    this.#statements.writeMeta.run('compacted', last.revision);
    return { count, compacted: last.revision };
  }

  #holds({ key, revision }: Condition): boolean {
    const row = this.#statements.revisionOf.get(key) as { revision: number } | undefined;
    return (row?.revision ?? 0) === revision;
  }

  #changesAfter(position: number): ChangeBatch {
    const rows = this.#statements.changesAfter.all(position, stepMax) as ChangeRow[];
    // A full page may end within a revision: leave that one to the next step.
    const cut = rows.length === stepMax ? rows.at(-1)?.changed : undefined;
    const whole = cut === undefined ? rows : rows.filter((row) => row.changed < cut);
    const byKey = new Map(whole.map((row) => [row.key, changeOf(row)]));
    const revision = cut === undefined ? this.#revision : (whole.at(-1)?.changed ?? position);
    return { revision, changes: [...byKey.values()] };
  }
}

function changeOf(row: ChangeRow): StoredChange {
  if (row.value === null || row.revision === null) return { kind: 'delete', key: row.key };
  return { kind: 'put', key: row.key, value: row.value, revision: row.revision };
}

function beginAfter(db: Database.Database, revision: number): void {
  const { readMeta, writeMeta } = prepareStatements(db);
  assert(readMeta.get('revision') === undefined, 'only a new store begins at a revision');
  db.transaction(() => {
    writeMeta.run('revision', revision);
    writeMeta.run('compacted', revision);
  })();
}

/** The smallest string greater than all that begin with `prefix`; keys are ASCII. */
function endOf(prefix: string): string {
  return `${prefix}\u007f`;
}

function prepareStatements(db: Database.Database) {
  return {
    get: db.prepare('SELECT key, value, revision FROM kv WHERE key = ?'),
    revisionOf: db.prepare('SELECT revision FROM kv WHERE key = ?'),
    rangeFrom: db.prepare(
      'SELECT key, value, revision FROM kv WHERE key >= ? AND key < ? ORDER BY key LIMIT ?',
    ),
    rangeAfter: db.prepare(
      'SELECT key, value, revision FROM kv WHERE key > ? AND key < ? ORDER BY key LIMIT ?',
    ),
    put: db.prepare(
      'INSERT INTO kv (key, value, revision) VALUES (?, ?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value, revision = excluded.revision',
    ),
    delete: db.prepare('DELETE FROM kv WHERE key = ?'),
    logChange: db.prepare('INSERT INTO change (revision, key) VALUES (?, ?)'),
    changesAfter: db.prepare(
      'SELECT change.revision AS changed, change.key AS key, value, kv.revision AS revision FROM change LEFT JOIN kv ON kv.key = change.key WHERE change.revision > ? ORDER BY change.revision, change.key LIMIT ?',
    ),
    countChanges: db.prepare('SELECT count(*) AS count FROM change'),
    nthChange: db.prepare('SELECT revision FROM change ORDER BY revision, key LIMIT 1 OFFSET ?'),
    dropChanges: db.prepare('DELETE FROM change WHERE revision <= ?'),
    readMeta: db.prepare('SELECT value FROM meta WHERE name = ?'),
    writeMeta: db.prepare('INSERT OR REPLACE INTO meta (name, value) VALUES (?, ?)'),
  };
}

type Statements = ReturnType<typeof prepareStatements>;
