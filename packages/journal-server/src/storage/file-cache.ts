import type { Disk, DiskFile } from './disk.ts';

interface CachedFile {
  readonly opened: Promise<DiskFile>;
  users: number;
  isDropped: boolean;
}

/** Files open for reading, at most so many beyond those in use; the longest unused is closed first. */
export class FileCache {
  readonly #disk: Disk;
  readonly #filesMax: number;
  /** In order of use, the latest last. */
  readonly #files = new Map<string, CachedFile>();

  constructor(disk: Disk, filesMax: number) {
    this.#disk = disk;
    this.#filesMax = filesMax;
  }

  /** Calls `work` with the file; it stays open meanwhile. */
  async use<T>(path: string, work: (file: DiskFile) => Promise<T>): Promise<T> {
    const cached = this.#files.get(path) ?? this.#open(path);
    this.#files.delete(path);
    this.#files.set(path, cached);
    cached.users++;
    try {
      return await work(await cached.opened);
    } finally {
      cached.users--;
      if (cached.isDropped && cached.users === 0) await closeQuietly(cached);
      await this.#shrink();
    }
  }

  #open(path: string): CachedFile {
    const opened = this.#disk.open(path, 'read');
    opened.catch(() => this.#files.delete(path));
    return { opened, users: 0, isDropped: false };
  }

  async #shrink(): Promise<void> {
    if (this.#files.size <= this.#filesMax) return;
    for (const [path, file] of this.#files) {
      if (file.users > 0) continue;
      await this.drop(path);
      if (this.#files.size <= this.#filesMax) return;
    }
  }

  /** Closes a file once nobody uses it: it is removed, or the cache is full. */
  async drop(path: string): Promise<void> {
    const file = this.#files.get(path);
    if (file === undefined) return;
    this.#files.delete(path);
    file.isDropped = true;
    if (file.users === 0) await closeQuietly(file);
  }

  async close(): Promise<void> {
    for (const path of this.#files.keys()) await this.drop(path);
  }
}

async function closeQuietly(cached: CachedFile): Promise<void> {
  // Whoever opened it was told when that failed; closing a file that was only read loses nothing.
  const file = await cached.opened.catch(() => undefined);
  await file?.close();
}
