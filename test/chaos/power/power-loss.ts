import {
  closeSync,
  existsSync,
  fstatSync,
  ftruncateSync,
  linkSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  readSync,
  renameSync,
  rmSync,
  statSync,
  unlinkSync,
  writeSync,
} from 'node:fs';
import { join } from 'node:path';

import type { SeededRandom } from '../kill/seeded-random.ts';
import {
  type FileChange,
  type NameChange,
  parseFileChanges,
  parseNameChanges,
} from './undo-log.ts';

/** Folders of one role that runs with the shim; `shadow` is on the file system of `root`. */
export interface UndoFolders {
  readonly root: string;
  readonly undo: string;
  readonly shadow: string;
}

export interface Undone {
  readonly writes: number;
  readonly names: number;
}

/**
 * `everything`: nothing that was not synced has reached the disk. `sectors`: some of it has, each sector
 * in some state that it was in since the last sync, names up to a point.
 */
export type LossKind = 'everything' | 'sectors';

/** What the environment of a role has to be. */
export function undoEnvironment(library: string, folders: UndoFolders): Record<string, string> {
  const { root, undo, shadow } = folders;
  for (const folder of [undo, shadow]) mkdirSync(folder, { recursive: true });
  return { LD_PRELOAD: library, SHIM_ROOT: root, SHIM_UNDO: undo, SHIM_SHADOW: shadow };
}

/** Takes from the disk what a loss of power takes, after the role was killed. */
export function losePower(folders: UndoFolders, random: SeededRandom, kind: LossKind): Undone {
  const { root, undo, shadow } = folders;
  const paths = new Map([...filesBelow(root), ...filesBelow(shadow)]);
  let writes = 0;
  for (const name of readdirSync(undo)) {
    const path = paths.get(Number(name.slice('data-'.length)));
    if (!name.startsWith('data-') || path === undefined) continue;
    const changes = parseFileChanges(readFileSync(join(undo, name)));
    writes += changes.length;
    undoChanges(path, changes, random, kind);
  }
  const names = undoNames(join(undo, 'names'), kind === 'everything' ? undefined : random);
  for (const folder of [undo, shadow]) {
    rmSync(folder, { recursive: true });
    mkdirSync(folder);
  }
  return { writes, names };
}

/** By inode. */
function filesBelow(folder: string): [number, string][] {
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name))
    .map((path) => [statSync(path).ino, path]);
}

function undoChanges(
  path: string,
  changes: readonly FileChange[],
  random: SeededRandom,
  kind: LossKind,
): void {
  const file = openSync(path, 'r+');
  const onlyWrites = changes.every((change) => change.kind === 'write');
  if (kind === 'sectors' && onlyWrites) undoSectors(file, changes, random);
  else {
    for (const change of changes.toReversed()) {
      ftruncateSync(file, change.sizeBefore);
      if (change.before.length > 0) writeSync(file, change.before, 0, undefined, change.offset);
    }
  }
  closeSync(file);
}

/** Each sector goes back by a number of changes of its own. */
function undoSectors(file: number, changes: readonly FileChange[], random: SeededRandom): void {
  const sectorBytes = random.below(2) === 0 ? 512 : 4096;
  const firstUndone = new Map<number, number>();
  const cutOf = (sector: number): number => {
    const cut = firstUndone.get(sector) ?? random.below(changes.length + 1);
    firstUndone.set(sector, cut);
    return cut;
  };
  changes.toReversed().forEach((change, back) => {
    const number = changes.length - 1 - back;
    const end = change.offset + change.length;
    const restored = Buffer.alloc(change.length);
    const got = readSync(file, restored, 0, change.length, change.offset);
    for (let at = change.offset; at < change.offset + got;) {
      const sector = Math.floor(at / sectorBytes);
      const next = Math.min(end, (sector + 1) * sectorBytes);
      if (cutOf(sector) <= number) {
        const [from, to] = [at - change.offset, next - change.offset];
        restored.fill(0, from, to);
        // What stood behind the end of the file was nothing.
        const there = Math.min(to, change.before.length);
        if (there > from) change.before.copy(restored, from, from, there);
      }
      at = next;
    }
    writeSync(file, restored, 0, got, change.offset);
  });
  // The size is one that it had, or that it has.
  const sizes = [...changes.map((change) => change.sizeBefore), fstatSync(file).size];
  ftruncateSync(file, random.pick(sizes));
}

function undoNames(log: string, random: SeededRandom | undefined): number {
  if (!existsSync(log)) return 0;
  const changes = parseNameChanges(readFileSync(log, 'utf8'));
  const reached = random?.below(changes.length + 1) ?? 0;
  for (const change of changes.slice(reached).toReversed()) undoName(change);
  return changes.length - reached;
}

/** The last change may have been noted and never made. */
function undoName(change: NameChange): void {
  const { path } = change;
  switch (change.kind) {
    case 'created':
      if (existsSync(path)) unlinkSync(path);
      return;
    case 'removed':
      if (!existsSync(path)) linkSync(change.kept, path);
      return;
    case 'renamed':
      if (existsSync(path) && !existsSync(change.from)) renameSync(path, change.from);
      if (change.kept !== undefined && !existsSync(path)) linkSync(change.kept, path);
      return;
    default:
  }
}
