import type { CancelTimer, Clock } from '@robustmq/core';
import { OperatingError } from '@robustmq/core';
import type { Disk } from './disk.ts';

const POLL_MS = 1_000;
const GIB = 1024 * 1024 * 1024;

export interface SpaceOptions {
  readonly disk: Disk;
  readonly clock: Clock;
  /** Free bytes below which appends are refused; undefined for the default of a disk of that size. */
  readonly reserveBytes: number | undefined;
  readonly walFileBytes: number;
  /** Bytes that have yet to be written to segment files. */
  readonly unflushedBytes: () => number;
  readonly onChange: (readOnly: boolean) => void;
  /** A look has found too little space, again perhaps: whatever can be given back should be. */
  readonly onShortage: () => void;
  readonly onFatal: (error: Error) => void;
}

/**
 * Watches the disk's free space (docs/journal.md, amendment 9). What the storage has taken since the
 * last look, and what it owes the segment files, counts as taken: the reserve is there when the log
 * has to be emptied.
 */
export class Space {
  readonly #options: SpaceOptions;
  #freeBytes = Number.POSITIVE_INFINITY;
  #totalBytes = 0;
  #chargedBytes = 0;
  #reserveBytes = 0;
  #isReadOnly = false;
  #cancel: CancelTimer | undefined;
  #isLooking = false;
  #isStopped = false;

  constructor(options: SpaceOptions) {
    this.#options = options;
  }

  get freeBytes(): number {
    return this.#freeBytes - this.#chargedBytes - this.#options.unflushedBytes();
  }

  /** Size of the disk. */
  get totalBytes(): number {
    return this.#totalBytes;
  }

  get isReadOnly(): boolean {
    return this.#isReadOnly;
  }

  /** Looks once, then again each second until {@link stop}. */
  async start(): Promise<void> {
    await this.#look();
    this.#again();
  }

  #again(): void {
    if (this.#isStopped) return;
    this.#cancel = this.#options.clock.setTimer(POLL_MS, () => {
      this.#look().then(() => this.#again(), this.#options.onFatal);
    });
  }

  async #look(): Promise<void> {
    const { disk, walFileBytes, reserveBytes } = this.#options;
    const chargedBefore = this.#chargedBytes;
    this.#isLooking = true;
    const { freeBytes, totalBytes } = await disk.freeSpace();
    this.#isLooking = false;
    if (this.#isStopped) return;
    this.#freeBytes = freeBytes;
    this.#chargedBytes = Math.max(0, this.#chargedBytes - chargedBefore);
    const usual = Math.min(2 * GIB, totalBytes * 0.05);
    this.#reserveBytes = reserveBytes ?? Math.max(usual, 2 * walFileBytes);
    this.#totalBytes = totalBytes;
    this.#set(!this.hasRoomFor(0));
    if (this.#isReadOnly) this.#options.onShortage();
  }

  /** Whether so many bytes can be taken without touching the reserve. */
  hasRoomFor(bytes: number): boolean {
    return this.freeBytes - bytes >= this.#reserveBytes;
  }

  /** So many bytes of the disk were taken. */
  charge(bytes: number): void {
    this.#chargedBytes += bytes;
  }

  /** The disk said that it is full. The next look decides anew. */
  markFull(): void {
    this.#set(true);
  }

  /** Throws DISK_FULL when appends are refused, or this one would go into the reserve. */
  check(bytes: number): void {
    if (!this.#isReadOnly && this.hasRoomFor(bytes)) return;
    this.#set(true);
    // The estimate only falls; the disk may have more by now.
    if (this.#chargedBytes > 0 && !this.#isLooking) this.#look().catch(this.#options.onFatal);
    throw new OperatingError(
      'DISK_FULL',
      `the journal's disk has ${Math.max(0, Math.floor(this.freeBytes))} bytes free, its reserve is ${Math.ceil(this.#reserveBytes)}: free or add space, appends go on by themselves then`,
      { retryAfterMs: POLL_MS },
    );
  }

  #set(isReadOnly: boolean): void {
    if (this.#isReadOnly === isReadOnly) return;
    this.#isReadOnly = isReadOnly;
    this.#options.onChange(isReadOnly);
  }

  stop(): void {
    this.#isStopped = true;
    this.#cancel?.();
  }
}
