import { OperatingError } from '@robustmq/core';

/**
 * The data folder as the storage sees it. Injected, so that a simulator can lose what was not
 * synced, fail a sync or rot a bit. Paths are relative to the data folder, with `/`.
 */
export interface Disk {
  /** Opens a file: `read` and `write` demand that it exists, `create` makes it when it does not. */
  open(path: string, mode: 'read' | 'write' | 'create'): Promise<DiskFile>;
  exists(path: string): Promise<boolean>;
  /** Replaces whatever has the new name. Durable after {@link syncDirectory} of both folders. */
  rename(from: string, to: string): Promise<void>;
  /** A file that is not there is no error. */
  unlink(path: string): Promise<void>;
  /** Names inside a folder, without order. A folder that is not there is empty. */
  list(folder: string): Promise<string[]>;
  /** With its parents; one that exists is no error. */
  makeFolder(folder: string): Promise<void>;
  /** Makes created, renamed and removed names of a folder durable; '' is the data folder itself. */
  syncFolder(folder: string): Promise<void>;
  freeSpace(): Promise<DiskSpace>;
  /** Takes the data folder for this process until the result is called. Throws when another has it. */
  lock(): Promise<() => void>;
}

export interface DiskSpace {
  readonly freeBytes: number;
  readonly totalBytes: number;
}

export type DiskDone = (error: Error | undefined) => void;

/**
 * An open file. Calls back instead of making promises where the log runs. Operations on one file
 * may overlap; the caller orders those that touch the same bytes.
 */
export interface DiskFile {
  /** Writes all buffers one behind the other from `position` on. They stay untouched until `done`. */
  write(buffers: readonly Buffer[], position: number, done: DiskDone): void;
  /** fdatasync: what `write` reported before is durable after `done`. Never repeated after an error. */
  sync(done: DiskDone): void;
  /** Bytes read into `target`; fewer than its length only at the end of the file. */
  read(target: Buffer, position: number): Promise<number>;
  truncate(length: number): Promise<void>;
  size(): Promise<number>;
  close(): Promise<void>;
}

/** {@link DiskFile.write} as a promise, for everything that is not on the hot path. */
export function writeAll(
  file: DiskFile,
  buffers: readonly Buffer[],
  position: number,
): Promise<void> {
  return new Promise((resolve, reject) => {
    file.write(buffers, position, (error) => (error === undefined ? resolve() : reject(error)));
  });
}

/** {@link DiskFile.sync} as a promise. */
export function syncFile(file: DiskFile): Promise<void> {
  return new Promise((resolve, reject) => {
    file.sync((error) => (error === undefined ? resolve() : reject(error)));
  });
}

/** The whole of a small file; undefined when it does not exist. */
export async function readWhole(disk: Disk, path: string): Promise<Buffer | undefined> {
  if (!(await disk.exists(path))) return undefined;
  const file = await disk.open(path, 'read');
  try {
    const content = Buffer.allocUnsafeSlow(await file.size());
    return content.subarray(0, await file.read(content, 0));
  } finally {
    await file.close();
  }
}

/** Replaces a small file so that a crash leaves the old or the new content, then makes it durable. */
export async function replaceWhole(disk: Disk, path: string, content: Buffer): Promise<void> {
  const temporary = `${path}.new`;
  const file = await disk.open(temporary, 'create');
  try {
    await file.truncate(0);
    await writeAll(file, [content], 0);
    await syncFile(file);
  } finally {
    await file.close();
  }
  await disk.rename(temporary, path);
  await disk.syncFolder(folderOf(path));
}

/**
 * Changes a small file durably. Throws DISK_FULL when there is no space for it. After any other error nobody
 * knows what is on the disk, so the node ends, and whoever waits is told UNAVAILABLE.
 */
export async function changeOrEnd(
  file: string,
  change: () => Promise<void>,
  onFatal: (error: Error) => void,
): Promise<void> {
  try {
    await change();
  } catch (thrown) {
    const error = thrown instanceof Error ? thrown : new Error(String(thrown));
    if (isNoSpace(error)) {
      throw new OperatingError('DISK_FULL', `${error.message}: no space for ${file}: make some`);
    }
    onFatal(error);
    throw new OperatingError('UNAVAILABLE', `the storage of this node has ended: ${error.message}`);
  }
}

/** The folder of a path; '' for a name in the data folder itself. */
export function folderOf(path: string): string {
  const slash = path.lastIndexOf('/');
  return slash < 0 ? '' : path.slice(0, slash);
}

/** Whether an error says that the disk is full. */
export function isNoSpace(error: unknown): boolean {
  const code = error instanceof Error && 'code' in error ? error.code : undefined;
  return code === 'ENOSPC' || code === 'EDQUOT';
}
