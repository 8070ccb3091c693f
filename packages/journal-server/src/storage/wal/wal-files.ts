import { assert } from '@robustmq/core';
import type { Disk, DiskFile } from '../disk.ts';
import { isNoSpace, syncFile, writeAll } from '../disk.ts';
import { FIRST_BLOCK_POSITION, type WalIdentity, walFileHeader } from './block.ts';

export const WAL_FOLDER = 'wal';
/** A file that is being filled with zeros, before it has a sequence number. */
const PREPARING = `${WAL_FOLDER}/preparing`;
const ZEROS = Buffer.alloc(1024 * 1024);
/** Zeros written between two syncs, so that the log's own syncs never wait behind more. */
const ZEROS_PER_SYNC = 4 * ZEROS.length;

export function walPath(sequence: number): string {
  return `${WAL_FOLDER}/${sequence.toString(16).padStart(16, '0')}.wal`;
}

/** The sequence number in a file name; undefined for other files. */
export function walSequence(name: string): number | undefined {
  return /^[0-9a-f]{16}\.wal$/.test(name) ? Number.parseInt(name.slice(0, 16), 16) : undefined;
}

/** A log file that holds records, or will. Blocks of one file have consecutive lsns. */
export interface WalFile {
  readonly sequence: number;
  /** Of its first block; undefined while it has none. */
  firstLsn: number | undefined;
  lastLsn: number;
}

/** The file that is written. */
export interface OpenWalFile extends WalFile {
  readonly file: DiskFile;
  /** Where the next block goes. */
  position: number;
  /** Blocks begin below this; one that is larger than a file goes beyond. */
  readonly capacity: number;
}

export interface WalFilesOptions {
  readonly disk: Disk;
  readonly fileBytes: number;
  readonly identity: () => WalIdentity;
  /** Whether there is room for a file of that size beyond the reserve. */
  readonly hasSpace: (bytes: number) => boolean;
  /** Tells that so many bytes of the disk were taken. */
  readonly charge: (bytes: number) => void;
  readonly onFatal: (error: Error) => void;
}

/**
 * The files of the log, in order: used ones, the one that is written, and those that are ready to be
 * next. Files whose records are all in segment files are renamed and used again; a new one is filled
 * with zeros in the background, so that a sync in it never has to allocate.
 */
export class WalFiles {
  readonly #options: WalFilesOptions;
  /** Files with records that may be needed, oldest first; the last is the current one. */
  readonly #used: WalFile[] = [];
  readonly #spares: OpenWalFile[] = [];
  #current: OpenWalFile | undefined;
  #nextSequence: number;
  /** Renames, removals and preparations, one after the other. */
  #work: Promise<void> = Promise.resolve();
  #isPreparing = false;
  #isClosed = false;

  /** `nextSequence` is above that of every file there is. */
  constructor(options: WalFilesOptions, nextSequence: number) {
    this.#options = options;
    this.#nextSequence = nextSequence;
  }

  get current(): OpenWalFile {
    assert(this.#current !== undefined, 'the log is written after a file was opened');
    return this.#current;
  }

  get used(): readonly WalFile[] {
    return this.#used;
  }

  get hasSpare(): boolean {
    return this.#spares.length > 0;
  }

  /** Files as recovery found them; `current` is written on at its position, if there is one. */
  adopt(used: readonly WalFile[], current: OpenWalFile | undefined): void {
    this.#used.push(...used);
    if (current === undefined) return;
    this.#used.push(current);
    this.#current = current;
  }

  /** A prepared file that recovery found. */
  adoptSpare(spare: OpenWalFile): void {
    this.#spares.push(spare);
  }

  /** Makes the next file the current one: at once when one is ready. */
  advance(): undefined | Promise<void> {
    const spare = this.#spares.shift();
    if (spare === undefined) return this.#queued(() => this.#advanceSlowly());
    this.#use(spare);
    return undefined;
  }

  async #advanceSlowly(): Promise<void> {
    const ready = this.#spares.shift();
    if (ready !== undefined) return this.#use(ready);
    const sequence = this.#nextSequence++;
    const file = await this.#options.disk.open(walPath(sequence), 'create');
    this.#use(await this.#finish(file, sequence));
  }

  #use(next: OpenWalFile): void {
    const before = this.#current;
    if (before !== undefined) {
      // A file that never got a block holds nothing to replay and nothing to keep.
      before.file.close().catch(this.#options.onFatal);
    }
    this.#current = next;
    this.#used.push(next);
    this.prepare();
  }

  /** Writes and syncs the file's header and its name. */
  async #finish(file: DiskFile, sequence: number): Promise<OpenWalFile> {
    const { disk, identity, fileBytes } = this.#options;
    await writeAll(file, [walFileHeader(identity(), sequence)], 0);
    await syncFile(file);
    await disk.syncFolder(WAL_FOLDER);
    return {
      sequence,
      file,
      capacity: fileBytes,
      position: FIRST_BLOCK_POSITION,
      firstLsn: undefined,
      lastLsn: 0,
    };
  }

  /** Makes a spare in the background, if there is none and space for it. */
  prepare(): void {
    const { fileBytes, hasSpace } = this.#options;
    if (this.#isPreparing || this.#isClosed || this.hasSpare || !hasSpace(fileBytes)) return;
    this.#isPreparing = true;
    this.#prepareNow()
      .catch((error: unknown) => {
        if (!isNoSpace(error)) this.#options.onFatal(asError(error));
      })
      .finally(() => {
        this.#isPreparing = false;
      });
  }

  async #prepareNow(): Promise<void> {
    const { disk, fileBytes, charge } = this.#options;
    const file = await disk.open(PREPARING, 'create');
    try {
      await fillWithZeros(file, fileBytes, () => this.#isClosed);
    } catch (error) {
      await file.close();
      await disk.unlink(PREPARING);
      throw error;
    }
    charge(fileBytes);
    if (this.#isClosed) return file.close();
    await this.#queued(async () => {
      const sequence = this.#nextSequence++;
      await disk.rename(PREPARING, walPath(sequence));
      this.#spares.push(await this.#finish(file, sequence));
    });
  }

  /**
   * Gives up every file below `sequence`: they become spares up to `filesMax` files together, and one
   * in any case; the others are removed. Only after both checkpoints have ceased to need them.
   */
  async recycle(sequence: number, filesMax: number): Promise<void> {
    while (this.#used.length > 1 && (this.#used[0]?.sequence ?? sequence) < sequence) {
      const oldest = this.#used.shift();
      assert(oldest !== undefined && oldest !== this.#current, 'the current file stays');
      await this.#queued(() => this.#recycleOne(oldest.sequence, filesMax));
    }
  }

  async #recycleOne(sequence: number, filesMax: number): Promise<void> {
    const { disk, fileBytes } = this.#options;
    const isKept = !this.hasSpare || this.#used.length + this.#spares.length < filesMax;
    const file = isKept ? await disk.open(walPath(sequence), 'write') : undefined;
    const size = (await file?.size()) ?? 0;
    if (file === undefined || size < fileBytes) {
      await file?.close();
      await disk.unlink(walPath(sequence));
      return disk.syncFolder(WAL_FOLDER);
    }
    if (size > fileBytes) await file.truncate(fileBytes);
    const next = this.#nextSequence++;
    await disk.rename(walPath(sequence), walPath(next));
    this.#spares.push(await this.#finish(file, next));
  }

  /** Removes all spares but the next one. */
  removeSpares(): Promise<void> {
    return this.#queued(async () => {
      const { disk } = this.#options;
      const surplus = this.#spares.splice(1);
      for (const { file, sequence } of surplus) {
        await file.close();
        await disk.unlink(walPath(sequence));
      }
      if (surplus.length > 0) await disk.syncFolder(WAL_FOLDER);
    });
  }

  #queued(work: () => Promise<void>): Promise<void> {
    const done = this.#work.then(work);
    this.#work = done.catch(() => undefined);
    return done;
  }

  /** Closes what is open; nothing is written any more. */
  async close(): Promise<void> {
    this.#isClosed = true;
    await this.#work;
    for (const spare of this.#spares) await spare.file.close();
    await this.#current?.file.close();
  }
}

/** Fills a file up to `bytes`, so that its blocks are allocated. */
async function fillWithZeros(
  file: DiskFile,
  bytes: number,
  isCancelled: () => boolean,
): Promise<void> {
  let unsynced = 0;
  for (let position = 0; position < bytes && !isCancelled();) {
    const count = Math.min(ZEROS.length, bytes - position);
    await writeAll(file, [ZEROS.subarray(0, count)], position);
    position += count;
    unsynced += count;
    if (unsynced < ZEROS_PER_SYNC && position < bytes) continue;
    await syncFile(file);
    unsynced = 0;
  }
}

function asError(thrown: unknown): Error {
  return thrown instanceof Error ? thrown : new Error(String(thrown));
}
