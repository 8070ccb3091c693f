import { type Logger, type Offset, offset, type OperatingError } from '@robustmq/core';
import type { Attachment, DecodedBatch, FanOut, FanOutReader } from '@robustmq/kernel';
import type { NameOfKey, RetainedFold } from './retained-fold.ts';

export interface RetainedPartitionOptions {
  readonly fanOut: Pick<FanOut, 'attach'>;
  readonly nameOf: NameOfKey;
  readonly logger: Logger;
}

interface Waiter {
  readonly offset: number;
  readonly reached: () => void;
}

/** Keeps a partition's fold up to date through the fan-out, and tells who waits for an offset. */
export class RetainedPartition implements FanOutReader {
  readonly fold: RetainedFold;
  readonly #options: RetainedPartitionOptions;
  #attachment: Attachment | undefined;
  #waiters: Waiter[] = [];
  /** Records were read since the last call of {@link takeChanged}. */
  #hasChanged = false;

  constructor(fold: RetainedFold, options: RetainedPartitionOptions) {
    this.fold = fold;
    this.#options = options;
  }

  /** Begins to read, unless it does. */
  attach(): void {
    const { shardId, position } = this.fold;
    this.#attachment ??= this.#options.fanOut.attach(shardId, this, { fromOffset: position });
  }

  stop(): void {
    this.#attachment?.detach();
    this.#attachment = undefined;
    this.#waiters = [];
  }

  /** The partition is gone: nobody waits for it any more. */
  drop(): void {
    const waiting = this.#waiters;
    this.stop();
    this.fold.forget();
    for (const waiter of waiting) waiter.reached();
  }

  /** Calls once the fold has reached the offset: at once if it has. */
  whenReached(offset: number, reached: () => void): void {
    if (this.fold.position >= offset) reached();
    else this.#waiters.push({ offset, reached });
  }

  /** Whether the position has moved since the last call. */
  takeChanged(): boolean {
    const hasChanged = this.#hasChanged;
    this.#hasChanged = false;
    return hasChanged;
  }

  batch(batch: DecodedBatch): boolean {
    this.fold.batch(batch, this.#options.nameOf);
    this.#moved();
    return true;
  }

  frontier(frontier: Offset): void {
    if (frontier <= this.fold.position) return;
    this.fold.moveTo(frontier);
    this.#moved();
  }

  detached(error: OperatingError | undefined): void {
    this.#attachment = undefined;
    const earliest = error?.hint.earliestOffset;
    const { shardId, position } = this.fold;
    if (error?.code !== 'OFFSET_OUT_OF_RANGE' || earliest === undefined || earliest <= position) {
      return; // The coordinator attaches it again later.
    }
    if (position > 0) {
      const fields = { shardId, position, earliest };
      this.#options.logger.warn(
        fields,
        'records were trimmed before their retained messages were read',
      );
    }
    this.fold.moveTo(offset(earliest));
    this.#moved();
    this.attach();
  }

  #moved(): void {
    this.#hasChanged = true;
    if (this.#waiters.length === 0) return;
    const { position } = this.fold;
    const waiting = this.#waiters;
    this.#waiters = waiting.filter((waiter) => waiter.offset > position);
    for (const waiter of waiting) if (waiter.offset <= position) waiter.reached();
  }
}
