import {
  assert,
  type CancelTimer,
  type Offset,
  offset,
  OperatingError,
  type ShardId,
  toOperatingError,
} from '@robustmq/core';
import type { Tail, TailHandlers } from '@robustmq/journal-client';
import { BatchWalker, type LogPiece } from '../log/batch-walker.ts';
import { decompressLarge, hasLargeBatch } from '../log/large-batches.ts';
import type { CatchUpCursor } from './catch-up.ts';
import type { FanOutReader } from './fan-out.ts';
import type { FanOutContext } from './fan-out-context.ts';
import { type AttachmentOwner, FanOutAttachment } from './fan-out-attachment.ts';

/** What one read of a reader that catches up asks for. */
const catchUpBytes = 1024 * 1024;

/**
 * The one tail of a partition in this broker, and all who read it.
 *
 * Invariant: the position is the next offset of the last batch or frontier that every live reader got
 * (or has left out because it is before its own start); it moves before the readers are called, so a
 * reader that joins from within a call begins behind the batch that is given out.
 */
export class SharedTail implements AttachmentOwner, TailHandlers {
  readonly #shardId: ShardId;
  readonly #context: FanOutContext;
  readonly #onGone: () => void;
  readonly #walker: BatchWalker;
  readonly #live = new Set<FanOutAttachment>();
  /** Readers that read on their own until they meet the position. */
  readonly #catchingUp = new Map<FanOutAttachment, CatchUpCursor | undefined>();
  #position: number | undefined;
  #tail: Tail | undefined;
  #cancelTimer: CancelTimer | undefined;
  #gone = false;

  constructor(shardId: ShardId, context: FanOutContext, onGone: () => void) {
    this.#shardId = shardId;
    this.#context = context;
    this.#onGone = onGone;
    this.#walker = new BatchWalker(context.broken.report);
  }

  /** Undefined while the end of the partition is being asked for. */
  get position(): Offset | undefined {
    return this.#position === undefined ? undefined : offset(this.#position);
  }

  attach(reader: FanOutReader, fromOffset: number | undefined): FanOutAttachment {
    this.#cancelTimer?.();
    const attachment = new FanOutAttachment(this.#shardId, reader, this, fromOffset);
    if (this.#position !== undefined) {
      this.#place(attachment, this.#position);
    } else if (fromOffset !== undefined && this.#tail === undefined && this.#isAlone()) {
      attachment.join(fromOffset);
      this.#live.add(attachment);
      this.#open(fromOffset);
    } else {
      this.#catchingUp.set(attachment, undefined);
      if (this.#catchingUp.size === 1) void this.#openAtEnd();
    }
    return attachment;
  }

  left(attachment: FanOutAttachment): void {
    this.#live.delete(attachment);
    this.#catchingUp.get(attachment)?.close();
    this.#catchingUp.delete(attachment);
    if (this.#isAlone() && !this.#gone) this.#linger();
  }

  /** Ends the tail; its readers are told why, unless they are not to be told. */
  close(error?: OperatingError): void {
    if (this.#gone) return;
    this.#gone = true;
    this.#cancelTimer?.();
    this.#tail?.close();
    const attachments = [...this.#live, ...this.#catchingUp.keys()];
    this.#onGone();
    for (const attachment of attachments) {
      if (error === undefined) attachment.detach();
      else attachment.end(error);
    }
  }

  frames(
    frames: Buffer,
    nextOffset: Offset,
    _highWatermark: Offset,
    _lastStableOffset: Offset,
    aborted: LogPiece['aborted'],
  ): boolean {
    if (this.#live.size > 0 && frames.length > 0) {
      const piece = { shardId: this.#shardId, frames, aborted };
      if (hasLargeBatch(frames)) {
        void this.#giveLater(piece, nextOffset);
        return false;
      }
      this.#walker.start(piece);
      this.#walker.within(frames.length);
      this.#giveBatches();
      this.#walker.finish();
    }
    this.#moveTo(nextOffset);
    return true;
  }

  failed(error: OperatingError): void {
    this.close(error);
  }

  #isAlone(): boolean {
    return this.#live.size === 0 && this.#catchingUp.size === 0;
  }

  /** Gives a piece with batches that take long to decompress; meanwhile the tail stands. */
  async #giveLater(piece: LogPiece, nextOffset: Offset): Promise<void> {
    this.#walker.start(piece);
    for (let start = 0; start < piece.frames.length;) {
      const { records, end } = await decompressLarge(piece.frames, start);
      if (this.#gone) return;
      this.#walker.within(end, records);
      this.#giveBatches();
      start = end;
    }
    this.#walker.finish();
    this.#moveTo(nextOffset);
    this.#tail?.resume();
  }

  #giveBatches(): void {
    const walker = this.#walker;
    while (walker.next(this.#position ?? 0)) {
      this.#position = walker.nextOffset;
      for (const attachment of this.#live) {
        if (attachment.wantedFrom >= walker.nextOffset) continue;
        walker.rewind(attachment.wantedFrom);
        attachment.give(walker);
      }
    }
  }

  #moveTo(nextOffset: Offset): void {
    this.#position = nextOffset;
    for (const attachment of this.#live) attachment.moveTo(nextOffset);
  }

  #open(fromOffset: number): void {
    this.#position = fromOffset;
    const from = { fromOffset: offset(fromOffset), readCommitted: true };
    this.#tail = this.#context.journal.tail(this.#shardId, from, this);
  }

  /** Asks where the partition ends and begins there. Readers that want an earlier start catch up. */
  async #openAtEnd(): Promise<void> {
    let end: Offset;
    try {
      end = await this.#context.journal.endOffset(this.#shardId);
    } catch (thrown) {
      this.#onEndUnknown(toOperatingError(thrown));
      return;
    }
    if (this.#gone || this.#isAlone() || this.#tail !== undefined) return;
    this.#open(end);
    const waiting = [...this.#catchingUp.keys()];
    this.#catchingUp.clear();
    for (const attachment of waiting) {
      this.#place(attachment, end);
      attachment.tellStart();
    }
  }

  #onEndUnknown(error: OperatingError): void {
    if (this.#gone || this.#isAlone()) return;
    if (!error.retriable) {
      this.close(error);
      return;
    }
    const { clock, retryMs } = this.#context;
    this.#cancelTimer = clock.setTimer(retryMs, () => void this.#openAtEnd());
  }

  /** Lets a reader join, or catch up first. */
  #place(attachment: FanOutAttachment, position: number): void {
    const from = attachment.frontier;
    if (from === undefined || from >= position) {
      attachment.join(position);
      this.#live.add(attachment);
      return;
    }
    this.#catchingUp.set(attachment, undefined);
    void this.#catchUp(attachment, from);
  }

  /** Reads for one reader until it meets the position, where it joins in the same turn. */
  async #catchUp(attachment: FanOutAttachment, from: Offset): Promise<void> {
    const cursor = this.#context.catchUp.cursor(this.#shardId, from);
    this.#catchingUp.set(attachment, cursor);
    while (!attachment.ended) {
      const before = attachment.wantedFrom;
      const error = await this.#readOnce(attachment, cursor);
      if (error !== undefined && !error.retriable) attachment.end(error);
      if (attachment.ended) return;
      assert(this.#position !== undefined, 'a tail that was opened has a position');
      if (attachment.wantedFrom >= this.#position) {
        this.#catchingUp.delete(attachment);
        this.#place(attachment, this.#position);
        return;
      }
      if (attachment.wantedFrom === before) await this.#pause();
    }
  }

  /** One read of a reader that catches up. Returns why it failed. */
  async #readOnce(
    attachment: FanOutAttachment,
    cursor: CatchUpCursor,
  ): Promise<OperatingError | undefined> {
    try {
      const step = await cursor.read(catchUpBytes, (batch) => attachment.give(batch));
      attachment.moveTo(step.nextOffset);
      return undefined;
    } catch (thrown) {
      if (thrown instanceof OperatingError) return thrown;
      throw thrown;
    }
  }

  #pause(): Promise<void> {
    const { clock, retryMs } = this.#context;
    return new Promise((resolve) => {
      clock.setTimer(retryMs, resolve);
    });
  }

  /** Nobody reads any more: waits a while for somebody to come back. */
  #linger(): void {
    const { clock, lingerMs } = this.#context;
    this.#cancelTimer?.();
    this.#cancelTimer = clock.setTimer(lingerMs, () => this.close());
  }
}
