import type { Clock } from '@robustmq/core';
import type { Checkpointer } from './checkpointer.ts';
import { isNoSpace } from './disk.ts';
import type { Flusher } from './flusher.ts';
import type { Replica } from './replica.ts';
import type { SlabPool } from './slab.ts';
import type { Space } from './space.ts';
import type { StorageLimits } from './storage-options.ts';
import type { WalFiles } from './wal/wal-files.ts';
import type { WalWriter } from './wal/wal-writer.ts';

/** Part of a small disk that the log may take. */
const WAL_SHARE_MAX = 1 / 8;
/**
 * So many times the files that the log is emptied from stay to be used again. Between two emptyings half of
 * them are wanted, and some more while one lasts; a file that is missing then is filled with zeros, at
 * the price of a second log.
 */
const WAL_FILES_KEPT = 1.5;
/** The disk was too full to empty log files: how long until the next attempt. */
const EMPTY_RETRY_MS = 1_000;

export interface ReliefOptions {
  readonly clock: Clock;
  readonly limits: StorageLimits;
  readonly space: Space;
  readonly slabs: SlabPool;
  readonly flusher: Flusher;
  readonly files: WalFiles;
  readonly writer: WalWriter;
  readonly checkpointer: Checkpointer;
  readonly replicas: ReadonlyMap<unknown, Replica>;
  readonly onFatal: (error: Error) => void;
}

/** Moves data on to segment files when there is too much of it in the log or in memory. */
export class Relief {
  readonly #options: ReliefOptions;
  readonly #walFilesMax: number;
  #emptying: Promise<void> | undefined;
  #emptyAfterMs = 0;
  #relieving: Promise<void> | undefined;
  #isStopped = false;

  constructor(options: ReliefOptions) {
    this.#options = options;
    const { limits, space } = options;
    const walBytesMax = Math.min(limits.walBytesMax, space.totalBytes * WAL_SHARE_MAX);
    this.#walFilesMax = Math.max(2, Math.floor(walBytesMax / limits.walFileBytes));
  }

  /** To be called now and then. */
  afterGroup(): void {
    const { files } = this.#options;
    if (!files.hasSpare) files.prepare();
    if (files.used.length > this.#walFilesMax) this.emptyLog();
  }

  /**
   * Empties the older half of the log's files into segment files, so that they can be used again; all
   * but the newest when space is short, so that they can be removed.
   */
  emptyLog(): void {
    const nowMs = this.#options.clock.monotonicMs();
    if (this.#emptying !== undefined || this.#isStopped || nowMs < this.#emptyAfterMs) return;
    this.#emptying = this.#emptyNow()
      .catch((error: unknown) => {
        this.#emptyAfterMs = nowMs + EMPTY_RETRY_MS;
        this.#tolerateFull(error);
      })
      .catch(this.#options.onFatal)
      .finally(() => {
        this.#emptying = undefined;
      });
  }

  async #emptyNow(): Promise<void> {
    const { files, space, replicas, flusher, checkpointer } = this.#options;
    const { used } = files;
    if (space.isReadOnly) await files.removeSpares();
    const older = used.slice(0, space.isReadOnly ? -1 : Math.ceil(used.length / 2));
    if (older.length === 0) return;
    const lsn = Math.max(...older.map((file) => file.lastLsn));
    const behind = [...replicas.values()].filter((replica) => replica.firstUnsyncedLsn <= lsn);
    await flusher.drain(behind, lsn);
    do {
      if (this.#isStopped) return;
      await checkpointer.write();
      const filesMax = space.isReadOnly ? 0 : this.#walFilesMax * WAL_FILES_KEPT;
      await files.recycle(checkpointer.neededFrom, filesMax);
      // The older of the two checkpoints may hold on to files that the newer one does not need.
    } while (
      checkpointer.canAdvance &&
      (space.isReadOnly || files.used.length > this.#walFilesMax)
    );
  }

  /** Writes the replicas of the oldest memory to their files, until there is less of it. */
  makeMemory(): void {
    if (this.#relieving !== undefined || this.#isStopped) return;
    this.#relieving = this.#makeMemoryNow()
      .catch(this.#options.onFatal)
      .finally(() => {
        this.#relieving = undefined;
      });
  }

  async #makeMemoryNow(): Promise<void> {
    const { slabs, limits, flusher, writer } = this.#options;
    const enough = limits.recentBytesMax + limits.unflushedBytesMax / 4;
    while (slabs.bytes > enough && !this.#isStopped) {
      const oldest = slabs.oldestUnwritten();
      if (oldest === undefined) return;
      // Frames in it may not be durable yet.
      await new Promise<void>((resolve) => writer.whenDurable(resolve));
      await flusher.drain(new Set(oldest.replicas), undefined);
    }
  }

  /** Writes a checkpoint. Without one, on a full disk, the log says the same again at the next start. */
  async checkpoint(): Promise<void> {
    try {
      await this.#options.checkpointer.write();
    } catch (error) {
      this.#tolerateFull(error);
    }
  }

  #tolerateFull(error: unknown): void {
    if (!isNoSpace(error)) throw error;
    this.#options.space.markFull();
  }

  /** Begins nothing more, and resolves when what runs has ended. */
  async stop(): Promise<void> {
    this.#isStopped = true;
    await this.#emptying;
    await this.#relieving;
  }
}
