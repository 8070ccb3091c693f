import { type Random, randomInteger } from '@robustmq/core';
import { MemoryFile, SECTOR_BYTES } from './memory-file.ts';

type Done = (error: Error | undefined) => void;

/** What a disk can do wrong, set by a test at any time. */
export interface DiskFaults {
  /** Syncs that fail from now on, once each; their data is lost as the kernel loses it. */
  failingSyncs: number;
  /** Writes that fail with EIO from now on, once each. */
  failingWrites: number;
  /** While true syncs do not end; they go on when it is set to false. */
  holdSyncs: boolean;
}

export interface MemoryDiskOptions {
  readonly capacityBytes?: number;
  readonly latency?: () => number;
  readonly later?: (work: () => void) => void;
}

/**
 * A disk in memory that loses what was not synced. A file has a durable image and what readers see;
 * unsynced sectors of 4 KiB survive a crash each for itself, in any order, or not at all. Names that
 * were not synced in their folder may vanish, the latest first. What {@link mount}
 * gives fits journal-server's `Disk`. The same seed gives the same losses.
 */
export class MemoryDisk {
  readonly faults: DiskFaults = { failingSyncs: 0, failingWrites: 0, holdSyncs: false };
  /** Bytes that files may take; beyond, writes fail with ENOSPC. */
  capacityBytes: number;
  syncs = 0;
  writes = 0;
  readonly latency: () => number;
  #names = new Map<string, MemoryFile>();
  /** Changes of names that are not synced yet, oldest first. */
  #nameChanges: NameChange[] = [];
  /** Mounts of an older generation belong to a process that is gone. */
  #generation = 0;
  #isLocked = false;
  #held: (() => void)[] = [];

  readonly #later: ((work: () => void) => void) | undefined;

  /**
   * With a `latency` each operation takes so many turns, which mixes their order; with `later` it happens
   * when that calls back, as on a virtual clock, and looking at names takes no time at all.
   */
  constructor(options: MemoryDiskOptions = {}) {
    this.capacityBytes = options.capacityBytes ?? Number.MAX_SAFE_INTEGER;
    this.latency = options.latency ?? ((): number => 1);
    this.#later = options.later;
  }

  get hasFastNames(): boolean {
    return this.#later !== undefined;
  }

  /** Calls back when an operation that begins now is done. */
  later(work: () => void): void {
    if (this.#later !== undefined) {
      this.#later(work);
      return;
    }
    let left = this.latency();
    const pass = (): void => {
      left--;
      if (left > 0) setImmediate(pass);
      else work();
    };
    setImmediate(pass);
  }

  get usedBytes(): number {
    let used = 0;
    if (this.capacityBytes === Number.MAX_SAFE_INTEGER) return used;
    for (const file of this.#names.values()) used += file.content.length;
    return used;
  }

  paths(): string[] {
    return [...this.#names.keys()].sort();
  }

  /** A copy of what readers see. */
  content(path: string): Buffer {
    return Buffer.from(this.#file(path).content.bytes);
  }

  /** Overwrites a file behind everybody's back, durably: rot, or a test's cut. */
  replace(path: string, content: Buffer): void {
    const file = this.#names.get(path) ?? new MemoryFile();
    file.replace(content);
    this.#names.set(path, file);
  }

  flipBit(path: string, bit: number): void {
    const file = this.#file(path);
    for (const { bytes: image } of [file.content, file.durable]) {
      const byte = image[bit >> 3];
      if (byte !== undefined) image[bit >> 3] = byte ^ (1 << (bit & 7));
    }
  }

  /** A second disk with the same durable and visible content, as if copied while nothing ran. */
  clone(): MemoryDisk {
    const copy = new MemoryDisk({ capacityBytes: this.capacityBytes, latency: this.latency });
    for (const [path, file] of this.#names) copy.#names.set(path, file.clone());
    return copy;
  }

  /**
   * The machine loses power: open handles are dead and never call back, and of what was not synced a
   * random part stays.
   */
  crash(random: Random): void {
    this.kill();
    const kept = randomInteger(random, this.#nameChanges.length + 1);
    for (const change of this.#nameChanges.splice(kept).reverse()) {
      for (const [path, file] of change.before) {
        if (file === undefined) this.#names.delete(path);
        else this.#names.set(path, file);
      }
    }
    this.#nameChanges = [];
    for (const file of new Set(this.#names.values())) file.crash(random);
  }

  /** The process ends: its handles are dead, and what it wrote stays as if the machine went on. */
  kill(): void {
    this.#generation++;
    this.#isLocked = false;
    this.#held = [];
    this.faults.holdSyncs = false;
  }

  /** Lets syncs end again. */
  releaseSyncs(): void {
    this.faults.holdSyncs = false;
    for (const held of this.#held.splice(0)) held();
  }

  /** The disk as one process sees it, until {@link kill} or {@link crash}. */
  mount(): MountedDisk {
    return new MountedDisk(this, this.#generation);
  }

  /** Whether the process of that generation still runs. */
  isAlive(generation: number): boolean {
    return generation === this.#generation;
  }

  file(path: string): MemoryFile | undefined {
    return this.#names.get(path);
  }

  names(): IterableIterator<string> {
    return this.#names.keys();
  }

  /** Names get new meanings, all at once: one change, made or lost as a whole. */
  rename(after: readonly (readonly [string, MemoryFile | undefined])[]): void {
    const before = new Map<string, MemoryFile | undefined>();
    for (const [path, file] of after) {
      before.set(path, this.#names.get(path));
      if (file === undefined) this.#names.delete(path);
      else this.#names.set(path, file);
    }
    this.#nameChanges.push({ before });
  }

  syncNames(folder: string): void {
    this.#nameChanges = this.#nameChanges.filter((change) =>
      [...change.before.keys()].every((path) => folderOf(path) !== folder),
    );
  }

  lock(): () => void {
    if (this.#isLocked) throw new Error('the data folder is in use');
    this.#isLocked = true;
    const generation = this.#generation;
    return () => {
      if (this.isAlive(generation)) this.#isLocked = false;
    };
  }

  /** Runs `sync` now, or when syncs are let go. */
  whenSyncing(sync: () => void): void {
    if (this.faults.holdSyncs) this.#held.push(sync);
    else sync();
  }

  #file(path: string): MemoryFile {
    const file = this.#names.get(path);
    if (file === undefined) throw systemError('ENOENT', path);
    return file;
  }
}

/** What a process does with the disk. Once it is gone nothing that it does happens, ends or fails. */
export class MountedDisk {
  readonly #disk: MemoryDisk;
  readonly #generation: number;

  constructor(disk: MemoryDisk, generation: number) {
    this.#disk = disk;
    this.#generation = generation;
  }

  async open(path: string, mode: 'read' | 'write' | 'create'): Promise<MemoryHandle> {
    await this.turn();
    let file = this.#disk.file(path);
    if (file === undefined) {
      if (mode !== 'create') throw systemError('ENOENT', path);
      file = new MemoryFile();
      this.#disk.rename([[path, file]]);
    }
    return new MemoryHandle(this, this.#disk, file);
  }

  async exists(path: string): Promise<boolean> {
    await this.#namesTurn();
    return this.#disk.file(path) !== undefined;
  }

  async rename(from: string, to: string): Promise<void> {
    await this.turn();
    const file = this.#disk.file(from);
    if (file === undefined) throw systemError('ENOENT', from);
    this.#disk.rename([
      [from, undefined],
      [to, file],
    ]);
  }

  async unlink(path: string): Promise<void> {
    await this.turn();
    if (this.#disk.file(path) !== undefined) this.#disk.rename([[path, undefined]]);
  }

  async list(folder: string): Promise<string[]> {
    await this.#namesTurn();
    const prefix = folder === '' ? '' : `${folder}/`;
    const names: string[] = [];
    for (const path of this.#disk.names()) {
      const name = path.slice(prefix.length);
      if (path.startsWith(prefix) && !name.includes('/')) names.push(name);
    }
    return names;
  }

  /** Folders need not be made: a name says where it is. */
  async makeFolder(_folder: string): Promise<void> {
    await Promise.resolve();
  }

  async syncFolder(folder: string): Promise<void> {
    await this.turn();
    this.#disk.syncNames(folder);
  }

  async freeSpace(): Promise<{ freeBytes: number; totalBytes: number }> {
    await this.turn();
    const { capacityBytes, usedBytes } = this.#disk;
    return { freeBytes: Math.max(0, capacityBytes - usedBytes), totalBytes: capacityBytes };
  }

  async lock(): Promise<() => void> {
    await this.turn();
    return this.#disk.lock();
  }

  get isAlive(): boolean {
    return this.#disk.isAlive(this.#generation);
  }

  #namesTurn(): Promise<void> {
    return this.#disk.hasFastNames ? Promise.resolve() : this.turn();
  }

  /** Resolves in a later turn, unless the process is gone by then. */
  turn(): Promise<void> {
    return new Promise((resolve) => {
      this.#disk.later(() => {
        if (this.isAlive) resolve();
      });
    });
  }
}

/** Names and what they stood for before one change, which is made or lost as a whole. */
interface NameChange {
  readonly before: Map<string, MemoryFile | undefined>;
}

class MemoryHandle {
  readonly #mounted: MountedDisk;
  readonly #disk: MemoryDisk;
  readonly #file: MemoryFile;

  constructor(mounted: MountedDisk, disk: MemoryDisk, file: MemoryFile) {
    this.#mounted = mounted;
    this.#disk = disk;
    this.#file = file;
  }

  write(buffers: readonly Buffer[], position: number, done: Done): void {
    // The writer may not touch its buffers until `done`: taking the copy late would show it.
    this.#later(() => {
      this.#disk.writes++;
      const { faults } = this.#disk;
      if (faults.failingWrites > 0) {
        faults.failingWrites--;
        done(systemError('EIO', 'write'));
        return;
      }
      let at = position;
      for (const buffer of buffers) {
        const grows = Math.max(0, at + buffer.length - this.#file.content.length);
        const room = Math.max(0, this.#disk.capacityBytes - this.#disk.usedBytes);
        if (grows > room) {
          // As much as fits is written, as on a real disk.
          const fits = buffer.length - grows + Math.floor(room / SECTOR_BYTES) * SECTOR_BYTES;
          if (fits > 0) this.#file.write(buffer.subarray(0, fits), at);
          done(systemError('ENOSPC', 'write'));
          return;
        }
        if (buffer.length > 0) this.#file.write(buffer, at);
        at += buffer.length;
      }
      done(undefined);
    });
  }

  sync(done: Done): void {
    this.#later(() => {
      this.#disk.whenSyncing(() => {
        if (!this.#mounted.isAlive) return;
        this.#disk.syncs++;
        const { faults } = this.#disk;
        if (faults.failingSyncs > 0) {
          faults.failingSyncs--;
          // Clean in the cache, never written: a second sync would say that all is well.
          this.#file.dirty.clear();
          done(systemError('EIO', 'fdatasync'));
          return;
        }
        this.#file.sync();
        done(undefined);
      });
    });
  }

  async read(target: Buffer, position: number): Promise<number> {
    await this.#mounted.turn();
    return this.#file.content.bytes.copy(target, 0, position);
  }

  async truncate(length: number): Promise<void> {
    await this.#mounted.turn();
    this.#file.truncate(length);
  }

  async size(): Promise<number> {
    await this.#mounted.turn();
    return this.#file.content.length;
  }

  async close(): Promise<void> {
    await this.#mounted.turn();
  }

  #later(work: () => void): void {
    void this.#mounted.turn().then(work);
  }
}

function systemError(code: string, what: string): Error {
  return Object.assign(new Error(`${code}: ${what}`), { code });
}

function folderOf(path: string): string {
  const slash = path.lastIndexOf('/');
  return slash < 0 ? '' : path.slice(0, slash);
}
