import fs from 'node:fs';
import path from 'node:path';
import Database from 'better-sqlite3';
import { OperatingError } from '@robustmq/core';
import type { Disk, DiskDone, DiskFile, DiskSpace } from './disk.ts';

/** The real thing: a folder of a local file system. */
export class NodeDisk implements Disk {
  readonly #root: string;

  /** `root` is made, with its parents, by the first {@link makeFolder}. */
  constructor(root: string) {
    this.#root = path.resolve(root);
  }

  async open(name: string, mode: 'read' | 'write' | 'create'): Promise<DiskFile> {
    const { O_CREAT, O_RDONLY, O_RDWR } = fs.constants;
    const flags = mode === 'read' ? O_RDONLY : mode === 'write' ? O_RDWR : O_RDWR | O_CREAT;
    return new Promise((resolve, reject) => {
      fs.open(this.#at(name), flags, 0o640, (error, fd) => {
        if (error === null) resolve(new NodeDiskFile(fd));
        else reject(error);
      });
    });
  }

  async exists(name: string): Promise<boolean> {
    try {
      await fs.promises.access(this.#at(name));
      return true;
    } catch (error) {
      if (isMissing(error)) return false;
      throw error;
    }
  }

  async rename(from: string, to: string): Promise<void> {
    await fs.promises.rename(this.#at(from), this.#at(to));
  }

  async unlink(name: string): Promise<void> {
    await fs.promises.rm(this.#at(name), { force: true });
  }

  async list(folder: string): Promise<string[]> {
    try {
      return await fs.promises.readdir(this.#at(folder));
    } catch (error) {
      if (isMissing(error)) return [];
      throw error;
    }
  }

  async makeFolder(folder: string): Promise<void> {
    await fs.promises.mkdir(this.#at(folder), { recursive: true });
  }

  async syncFolder(folder: string): Promise<void> {
    const handle = await fs.promises.open(this.#at(folder), 'r');
    try {
      await handle.sync();
    } finally {
      await handle.close();
    }
  }

  async freeSpace(): Promise<DiskSpace> {
    const space = await fs.promises.statfs(this.#root);
    return { freeBytes: space.bavail * space.bsize, totalBytes: space.blocks * space.bsize };
  }

  // Node has no flock. SQLite's exclusive lock is one of the kernel's: it ends with the process,
  // however that ends, and holds between containers that share the folder.
  async lock(): Promise<() => void> {
    const database = new Database(this.#at('lock'), { timeout: 0 });
    try {
      database.pragma('locking_mode = EXCLUSIVE');
      database.exec('BEGIN EXCLUSIVE');
    } catch {
      database.close();
      throw new OperatingError(
        'ALREADY_EXISTS',
        `The data folder ${this.#root} is in use by another process: stop it, or give this one a folder of its own.`,
      );
    }
    return () => {
      database.close();
    };
  }

  #at(name: string): string {
    return path.join(this.#root, name);
  }
}

class NodeDiskFile implements DiskFile {
  readonly #fd: number;

  constructor(fd: number) {
    this.#fd = fd;
  }

  write(buffers: readonly Buffer[], position: number, done: DiskDone): void {
    let total = 0;
    for (const buffer of buffers) total += buffer.length;
    fs.writev(this.#fd, buffers, position, (error, written) => {
      if (error !== null) done(error);
      else if (written === total) done(undefined);
      else if (written === 0) done(new Error(`wrote 0 of ${total} bytes at ${position}`));
      else this.write(withoutFirst(buffers, written), position + written, done);
    });
  }

  sync(done: DiskDone): void {
    fs.fdatasync(this.#fd, (error) => done(error ?? undefined));
  }

  async read(target: Buffer, position: number): Promise<number> {
    let filled = 0;
    while (filled < target.length) {
      const got = await this.#readOnce(target, filled, position + filled);
      if (got === 0) break;
      filled += got;
    }
    return filled;
  }

  #readOnce(target: Buffer, at: number, position: number): Promise<number> {
    return new Promise((resolve, reject) => {
      fs.read(this.#fd, target, at, target.length - at, position, (error, got) => {
        if (error === null) resolve(got);
        else reject(error);
      });
    });
  }

  truncate(length: number): Promise<void> {
    return new Promise((resolve, reject) => {
      fs.ftruncate(this.#fd, length, (error) => (error === null ? resolve() : reject(error)));
    });
  }

  size(): Promise<number> {
    return new Promise((resolve, reject) => {
      fs.fstat(this.#fd, (error, stat) => (error === null ? resolve(stat.size) : reject(error)));
    });
  }

  close(): Promise<void> {
    return new Promise((resolve, reject) => {
      fs.close(this.#fd, (error) => {
        if (error === undefined || error === null) resolve();
        else reject(error);
      });
    });
  }
}

/** What a short write left over. */
function withoutFirst(buffers: readonly Buffer[], count: number): Buffer[] {
  const rest: Buffer[] = [];
  let skip = count;
  for (const buffer of buffers) {
    if (skip < buffer.length) rest.push(skip === 0 ? buffer : buffer.subarray(skip));
    skip = Math.max(0, skip - buffer.length);
  }
  return rest;
}

function isMissing(error: unknown): boolean {
  return error instanceof Error && 'code' in error && error.code === 'ENOENT';
}
