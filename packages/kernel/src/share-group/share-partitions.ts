import { type ShardId, shardId } from '@robustmq/core';
import type { ShareProgress } from './share-event.ts';
import { SharePartition, type SharePartitionOptions } from './share-partition.ts';
import type { ShareWindowImage } from './share-window.ts';

const emptyImage: ShareWindowImage = {
  start: 0,
  settled: [],
  attempts: new Map(),
  pins: new Map(),
};

/** The partitions of one share group, as the catalog shows them. */
export class SharePartitions {
  readonly #options: SharePartitionOptions;
  readonly #shown = new Map<number, SharePartition>();
  /** Windows of partitions that the catalog does not show (yet). */
  readonly #unshown: Map<number, ShareWindowImage>;
  #isOpen = false;

  constructor(options: SharePartitionOptions, windows: ReadonlyMap<number, ShareWindowImage>) {
    this.#options = options;
    this.#unshown = new Map(windows);
    this.follow();
  }

  get(id: number): SharePartition | undefined {
    return this.#shown.get(id);
  }

  [Symbol.iterator](): IterableIterator<SharePartition> {
    return this.#shown.values();
  }

  /** Takes up what the catalog shows now, and lets go what it does not. */
  follow(): void {
    const shown = new Set<ShardId>(this.#options.source.partitions());
    for (const [id, partition] of this.#shown) {
      if (shown.has(shardId(id))) continue;
      partition.close();
      this.#unshown.set(id, partition.window.image());
      this.#shown.delete(id);
    }
    for (const id of shown) {
      if (this.#shown.has(id)) continue;
      // A partition that was made later is the group's from its first record on.
      const image = this.#unshown.get(id) ?? emptyImage;
      this.#unshown.delete(id);
      const partition = new SharePartition(id, image, this.#options);
      this.#shown.set(id, partition);
      if (this.#isOpen) partition.open(image === emptyImage);
    }
  }

  /** Begins to read. `isNew`: nobody can have had anything before. */
  open(isNew: boolean): void {
    this.#isOpen = true;
    for (const partition of this.#shown.values()) partition.open(isNew);
  }

  /** Lets the tails go. Nothing may be acquired. */
  close(): void {
    this.#isOpen = false;
    for (const partition of this.#shown.values()) partition.close();
  }

  /** Takes up what has stopped or could not be opened. */
  takeUp(): void {
    if (!this.#isOpen) return;
    for (const partition of this.#shown.values()) {
      partition.resume();
      partition.open(false);
    }
  }

  /** The next time another partition is the first: none has to wait for the others for long. */
  rotate(): void {
    const [first] = this.#shown;
    if (first === undefined) return;
    this.#shown.delete(first[0]);
    this.#shown.set(...first);
  }

  /** Lowest offset that is still needed, of each partition. */
  *starts(): Generator<{ readonly shardId: number; readonly offset: number }> {
    for (const [id, { window }] of this.#shown) yield { shardId: id, offset: window.start };
    for (const [id, { start }] of this.#unshown) yield { shardId: id, offset: start };
  }

  /** Windows that have changed since they were told last. */
  *progress(): Generator<ShareProgress> {
    for (const id of this.#shown.keys()) {
      const progress = this.progressOf(id);
      if (progress !== undefined) yield progress;
    }
  }

  /** The same of one partition. */
  progressOf(id: number): ShareProgress | undefined {
    const window = this.#shown.get(id)?.window;
    if (window?.takeChanged() !== true) return undefined;
    const { start, settled, attempts } = window.image();
    return { shardId: id, start, settled, attempts };
  }

  /** Sessions that have pins. */
  pinHolders(): Set<string> {
    const keys = new Set<string>();
    for (const { window } of this.#shown.values()) {
      for (const key of window.image().pins.values()) keys.add(key);
    }
    return keys;
  }
}
