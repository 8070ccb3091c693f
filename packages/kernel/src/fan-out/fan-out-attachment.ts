import { type Offset, offset, type OperatingError, type ShardId } from '@robustmq/core';
import type { DecodedBatch } from '../log/decoded-batch.ts';
import type { Attachment, FanOutReader } from './fan-out.ts';

/** Told when a reader leaves by itself. */
export interface AttachmentOwner {
  left(attachment: FanOutAttachment): void;
}

/** One reader at one partition, and how far it is. */
export class FanOutAttachment implements Attachment {
  readonly shardId: ShardId;
  readonly #reader: FanOutReader;
  readonly #owner: AttachmentOwner;
  #frontier: number | undefined;
  #live = false;
  #ended = false;

  constructor(
    shardId: ShardId,
    reader: FanOutReader,
    owner: AttachmentOwner,
    frontier: number | undefined,
  ) {
    this.shardId = shardId;
    this.#reader = reader;
    this.#owner = owner;
    this.#frontier = frontier;
  }

  get frontier(): Offset | undefined {
    return this.#frontier === undefined ? undefined : offset(this.#frontier);
  }

  get live(): boolean {
    return this.#live;
  }

  get ended(): boolean {
    return this.#ended;
  }

  detach(): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#live = false;
    this.#owner.left(this);
  }

  /** It gets what the shared tail brings from now on; what is before its frontier is left out. */
  join(position: number): void {
    this.#frontier = Math.max(position, this.#frontier ?? 0);
    this.#live = true;
  }

  /** Tells where it begins: it was not known when it was attached. */
  tellStart(): void {
    if (!this.#ended && this.#frontier !== undefined) this.#reader.frontier(offset(this.#frontier));
  }

  /** Offset before which it wants nothing. */
  get wantedFrom(): number {
    return this.#frontier ?? 0;
  }

  /** Gives a batch whose cursor is in place. False: the reader is behind, and the attachment has ended. */
  give(batch: DecodedBatch): boolean {
    const goesOn = this.#reader.batch(batch);
    this.#frontier = batch.nextOffset;
    if (!goesOn) this.end(undefined);
    return goesOn && !this.#ended;
  }

  /** Nothing below `frontier` concerns it beyond what it got. */
  moveTo(frontier: number): void {
    if (this.#ended || frontier <= this.wantedFrom) return;
    this.#frontier = frontier;
    this.#reader.frontier(offset(frontier));
  }

  /** Ends it and tells the reader why. */
  end(error: OperatingError | undefined): void {
    if (this.#ended) return;
    this.detach();
    this.#reader.detached(error);
  }
}
