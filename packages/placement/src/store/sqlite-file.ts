import { AssertionFailure, OperatingError } from '@robustmq/core';
import Database from 'better-sqlite3';

/** Marks the file as ours (SQLite's application_id): the bytes `RMQp`. */
const applicationId = 0x52_4d_51_70;
/** Version of the tables below. */
const formatVersion = 1;

const tables = `
  CREATE TABLE meta (name TEXT PRIMARY KEY, value INTEGER NOT NULL) STRICT, WITHOUT ROWID;
  CREATE TABLE kv (key TEXT PRIMARY KEY, value BLOB NOT NULL, revision INTEGER NOT NULL)
    STRICT, WITHOUT ROWID;
  CREATE TABLE change (revision INTEGER, key TEXT, PRIMARY KEY (revision, key))
    STRICT, WITHOUT ROWID;
`;

/**
 * Opens the file for this process alone, with a sync at each commit, and makes the tables in a new
 * one. Throws CONFLICT when another process has it, INVALID_ARGUMENT when it is not ours or of another
 * version.
 */
export function openDatabase(path: string): Database.Database {
  const db = new Database(path, { timeout: 0 });
  try {
    // Exclusive before WAL: then there is no shared memory file, and the lock is held until we end.
    db.pragma('locking_mode = EXCLUSIVE');
    db.pragma('journal_mode = WAL');
    db.pragma('synchronous = FULL');
    db.exec('BEGIN EXCLUSIVE');
    prepareTables(db, path);
    db.exec('COMMIT');
    return db;
  } catch (error) {
    db.close();
    throw explained(error, path);
  }
}

function prepareTables(db: Database.Database, path: string): void {
  const id = db.pragma('application_id', { simple: true });
  const version = db.pragma('user_version', { simple: true });
  const isNew = db.prepare('SELECT count(*) AS count FROM sqlite_schema').pluck().get() === 0;
  if (isNew && id === 0 && version === 0) {
    db.exec(tables);
    db.pragma(`application_id = ${applicationId}`);
    db.pragma(`user_version = ${formatVersion}`);
    return;
  }
  if (id !== applicationId) {
    throw new OperatingError('INVALID_ARGUMENT', `${path} is not a placement data file`);
  }
  if (version !== formatVersion) {
    const message = `${path} has format version ${String(version)}, this program reads version ${formatVersion}: use the program version that wrote it`;
    throw new OperatingError('INVALID_ARGUMENT', message);
  }
}

/**
 * SQLite's error as ours. A full disk is an operating error: there may be space later. A disk that fails
 * to write or sync is the end of the process: nobody knows what it has kept.
 */
export function explained(error: unknown, path: string): unknown {
  if (!(error instanceof Database.SqliteError)) return error;
  if (error.code.startsWith('SQLITE_FULL')) {
    return new OperatingError('DISK_FULL', `no space left for ${path}: make some`);
  }
  if (error.code.startsWith('SQLITE_IOERR')) {
    return new AssertionFailure(`the disk of ${path} fails: ${error.code} ${error.message}`);
  }
  if (error.code.startsWith('SQLITE_BUSY')) {
    return new OperatingError(
      'CONFLICT',
      `${path} is in use by another process: stop it, or use another --data-dir`,
    );
  }
  if (error.code === 'SQLITE_NOTADB') {
    return new OperatingError('INVALID_ARGUMENT', `${path} is not a placement data file`);
  }
  return error;
}
