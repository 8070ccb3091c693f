// The thin shell around folders: SQLite opens its file by itself.
import {
  closeSync,
  existsSync,
  fsyncSync,
  mkdirSync,
  openSync,
  readdirSync,
  renameSync,
  rmdirSync,
  rmSync,
} from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { OperatingError } from '@robustmq/core';
import type { Operation } from '../store/metadata-store.ts';
import { SqliteStore } from '../store/sqlite-store.ts';
import type { RebuildTarget, RebuiltContent } from './rebuild-target.ts';

/** A folder for the store of one placement server; with `force` what is there is kept beside it. */
export function folderTarget(dataDir: string, force: boolean): RebuildTarget {
  return {
    check: () => checkTarget(dataDir, force),
    write: (content) => writeStore(dataDir, content),
  };
}

/** Throws ALREADY_EXISTS unless the folder is empty, or CONFLICT when a placement has it open. */
function checkTarget(dataDir: string, force: boolean): void {
  if (isEmpty(dataDir)) return;
  if (!force) {
    const message = `${dataDir} is not empty: name another --data-dir, or give --force, which keeps what is there beside it`;
    throw new OperatingError('ALREADY_EXISTS', message);
  }
  if (!existsSync(join(dataDir, 'placement.db'))) return;
  try {
    void SqliteStore.open({ dataDir })[Symbol.asyncDispose]();
  } catch (thrown) {
    // Whatever else is wrong with it is why it is replaced.
    if (thrown instanceof OperatingError && thrown.code === 'CONFLICT') throw thrown;
  }
}

/**
 * Writes the store beside the folder and puts it in its place, so that a rebuild which is killed leaves no
 * half of one. Returns where what was there before is now; undefined when nothing was.
 */
async function writeStore(dataDir: string, content: RebuiltContent): Promise<string | undefined> {
  const { afterRevision, placementEpoch, operations } = content;
  const target = resolve(dataDir);
  const beside = `${target}.rebuilding`;
  rmSync(beside, { recursive: true, force: true });
  mkdirSync(dirname(target), { recursive: true });
  const store = SqliteStore.open({ dataDir: beside, afterRevision });
  try {
    await writeAll(store, operations);
  } finally {
    await store[Symbol.asyncDispose]();
  }
  const old = putAside(target, placementEpoch);
  renameSync(beside, target);
  syncFolder(dirname(target));
  return old;
}

async function writeAll(store: SqliteStore, operations: readonly Operation[]): Promise<void> {
  await using leadership = await store.lead();
  const { operationsMax } = store;
  for (let at = 0; at < operations.length; at += operationsMax) {
    await leadership.transact([], operations.slice(at, at + operationsMax));
  }
}

function isEmpty(folder: string): boolean {
  return !existsSync(folder) || readdirSync(folder).length === 0;
}

function putAside(target: string, placementEpoch: number): string | undefined {
  if (!existsSync(target)) return undefined;
  if (isEmpty(target)) {
    rmdirSync(target);
    return undefined;
  }
  for (let number = 0; ; number++) {
    const old = `${target}.before-epoch-${placementEpoch}${number === 0 ? '' : `-${number}`}`;
    if (existsSync(old)) continue;
    renameSync(target, old);
    return old;
  }
}

function syncFolder(folder: string): void {
  const file = openSync(folder, 'r');
  fsyncSync(file);
  closeSync(file);
}
