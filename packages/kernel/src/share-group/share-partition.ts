import {
  type Logger,
  type Offset,
  offset,
  type OperatingError,
  type ShardId,
} from '@robustmq/core';
import type { RecordCursor } from '@robustmq/record-batch';
import type { Attachment, FanOut, FanOutReader } from '../fan-out/fan-out.ts';
import type { DecodedBatch } from '../log/decoded-batch.ts';
import type { ShareBudget } from './share-budget.ts';
import type { ShareSource } from './share-protocol.ts';
import { Delivery, type ShareRecord, type ShareTraits, takeRecords } from './share-record.ts';
import { ShareWindow, type ShareWindowImage } from './share-window.ts';

export interface SharePartitionOptions {
  readonly source: ShareSource;
  readonly fanOut: Pick<FanOut, 'attach'>;
  readonly endOffset: (shardId: ShardId) => Promise<Offset>;
  readonly budget: ShareBudget;
  /** Records that are read and not settled, at most. */
  readonly recordsMax: number;
  readonly attemptsMax: number | undefined;
  readonly logger: Logger;
  /** Records have come. */
  readonly arrived: () => void;
  /** So many offsets were trimmed before the group had read them. */
  readonly trimmed: (count: number) => void;
}

type State = 'closed' | 'asking' | 'reading' | 'stopped';

/** A partition of a share group: its window, and the tail that fills it. */
export class SharePartition implements FanOutReader {
  readonly shardId: ShardId;
  readonly window: ShareWindow<ShareRecord>;
  readonly #options: SharePartitionOptions;
  #state: State = 'closed';
  #attachment: Attachment | undefined;
  /** At-most-once records below it came while nobody was there for them, or may have been handed out. */
  #onceFrom = 0;
  /** Counts the times it was opened, so that what was asked before is known. */
  #opened = 0;
  #stoppedAt: number | undefined;

  constructor(shardId: ShardId, image: ShareWindowImage, options: SharePartitionOptions) {
    this.shardId = shardId;
    this.#options = options;
    this.window = new ShareWindow(image, {
      dropped: ({ slab }) => slab.release(),
      ...(options.attemptsMax !== undefined && { attemptsMax: options.attemptsMax }),
    });
  }

  /** Begins to read. `isNew`: nobody can have had anything of it before. */
  open(isNew: boolean): void {
    if (this.#state !== 'closed') return;
    if (isNew) this.#read();
    else void this.#askEnd();
  }

  /** Lets the tail go; what was read is forgotten and read again later. Nothing may be acquired. */
  close(): void {
    this.#opened++;
    this.#state = 'closed';
    this.#attachment?.detach();
    this.#attachment = undefined;
    this.window.rewind();
  }

  /** Reads on where it has stopped, once there is room. */
  resume(): void {
    if (this.#state !== 'stopped') return;
    const { budget, recordsMax } = this.#options;
    if (this.window.size * 2 <= recordsMax && budget.isRoomy) this.#read();
  }

  async #askEnd(): Promise<void> {
    this.#state = 'asking';
    const opened = this.#opened;
    try {
      const end = await this.#options.endOffset(this.shardId);
      if (opened !== this.#opened) return;
      this.#onceFrom = Math.max(this.#onceFrom, end);
      this.#read();
    } catch (thrown) {
      if (opened !== this.#opened) return;
      // It is opened again at the next tick.
      this.#state = 'closed';
      const message = thrown instanceof Error ? thrown.message : String(thrown);
      this.#options.logger.warn({ shardId: this.shardId }, `share group waits: ${message}`);
    }
  }

  #read(): void {
    this.#state = 'reading';
    const fromOffset = offset(this.window.readPosition);
    this.#attachment = this.#options.fanOut.attach(this.shardId, this, { fromOffset });
  }

  // FanOutReader

  batch(batch: DecodedBatch): boolean {
    this.#stoppedAt = undefined;
    takeRecords(batch, this, this.#options.budget);
    this.window.readTo(this.#stoppedAt ?? batch.nextOffset);
    this.#options.arrived();
    if (this.#stoppedAt === undefined) return true;
    this.#state = 'stopped';
    return false;
  }

  frontier(frontier: Offset): void {
    this.window.readTo(frontier);
  }

  detached(error: OperatingError | undefined): void {
    this.#attachment = undefined;
    if (error === undefined) return; // There was no room.
    // If the partition is still there, it is taken up again at one of the next ticks.
    this.#state = 'stopped';
    const earliest = error.hint.earliestOffset ?? 0;
    const { readPosition } = this.window;
    const { shardId } = this;
    if (error.code !== 'OFFSET_OUT_OF_RANGE' || earliest <= readPosition) {
      this.#options.logger.warn({ shardId, code: error.code }, error.message);
      return;
    }
    this.#options.trimmed(earliest - readPosition);
    const fields = { shardId, readPosition, earliest };
    this.#options.logger.warn(fields, 'records were trimmed before a share group had read them');
    this.window.readTo(earliest);
    this.#read();
  }

  // SlabFilter

  wants(cursor: RecordCursor, at: number): boolean {
    if (this.#stoppedAt !== undefined || !this.window.wants(at)) return false;
    if (!this.#options.source.wants(this.shardId, cursor)) return false;
    const { budget, recordsMax } = this.#options;
    if (this.window.size < recordsMax && budget.hasRoom) return true;
    this.#stoppedAt = at;
    return false;
  }

  describe(cursor: RecordCursor, appendTimeMs: number, traits: ShareTraits): boolean {
    return this.#options.source.describe(cursor, appendTimeMs, traits);
  }

  take(at: number, record: ShareRecord): void {
    if (record.delivery === Delivery.atMostOnce && at < this.#onceFrom) {
      this.window.readTo(at + 1);
      record.slab.release();
      return;
    }
    this.window.read(at, record);
  }
}
