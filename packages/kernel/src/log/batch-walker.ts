import { type Offset, offset, OperatingError, type ShardId, shardId } from '@robustmq/core';
import {
  BATCH_HEADER_BYTES,
  batchCodec,
  batchProducerId,
  decompress,
  FrameCursor,
  isControlBatch,
  RecordCursor,
} from '@robustmq/record-batch';
import type { AbortedTransaction } from '@robustmq/rpc';
import { AbortedTransactions } from './aborted-transactions.ts';
import type { BrokenBatchListener, DecodedBatch } from './decoded-batch.ts';
import type { PlainRecords } from './large-batches.ts';

const noBytes = Buffer.alloc(0);
const nonePlain: PlainRecords = new Map();

/** A piece of one shard's log: whole, verified frames. */
export interface LogPiece {
  readonly shardId: ShardId;
  readonly frames: Buffer;
  readonly aborted: readonly AbortedTransaction[];
}

/**
 * Walks the batches of a piece that readers are to see, each decoded once for any number of readers. It
 * is the {@link DecodedBatch} itself: reusable, without an object per batch. A batch that breaks a rule
 * anywhere is left out whole and told to the listener.
 */
export class BatchWalker implements DecodedBatch {
  readonly cursor = new RecordCursor();
  shardId: ShardId = shardId(0);
  baseOffset: Offset = offset(0);
  nextOffset: Offset = offset(0);
  appendTimeMs = 0;
  producerId = -1;
  writerEpoch = 0;
  readonly #onBroken: BrokenBatchListener;
  readonly #frames = new FrameCursor();
  readonly #aborted = new AbortedTransactions();
  #large = nonePlain;
  #plain: Buffer = noBytes;
  #isRewound = false;

  constructor(onBroken: BrokenBatchListener) {
    this.#onBroken = onBroken;
  }

  /** Begins a piece. {@link within} says where in it, before the first `next`. */
  start(piece: LogPiece): void {
    this.shardId = piece.shardId;
    this.#frames.reset(piece.frames);
    this.#aborted.reset(piece.aborted);
  }

  /** Walks the frames up to `end`, with the large batches among them decompressed already. */
  within(end: number, large: PlainRecords = nonePlain): void {
    this.#frames.reset(this.#frames.buffer, this.#frames.end, end);
    this.#large = large;
  }

  /** Moves to the next batch with records at or after `fromOffset`; false at the end. */
  next(fromOffset: number): boolean {
    const frames = this.#frames;
    while (frames.next() === 'frame') {
      if (frames.kind !== 'batch') continue;
      const isAborted = this.#aborted.covers(frames, frames.lastOffset);
      if (isAborted || isControlBatch(frames.buffer, frames.payloadStart)) continue;
      if (frames.lastOffset < fromOffset || frames.recordCount === 0) continue;
      if (this.#open()) return true;
    }
    return false;
  }

  /** Lets go of the piece's buffers. */
  finish(): void {
    this.#frames.reset(noBytes);
    this.#aborted.reset([]);
    this.#large = nonePlain;
    this.#plain = noBytes;
    this.cursor.buffer = noBytes;
  }

  /** Puts the cursor before the first record at or after `fromOffset`, for the next reader. */
  rewind(fromOffset: number): void {
    const { cursor } = this;
    if (!this.#isRewound) {
      cursor.resetPlain(this.#frames.buffer, this.#frames.payloadStart, this.#plain);
    }
    this.#isRewound = false;
    if (fromOffset <= this.baseOffset) return;
    let before = 0;
    while (cursor.next() && cursor.offset < fromOffset) before++;
    cursor.resetPlain(this.#frames.buffer, this.#frames.payloadStart, this.#plain);
    for (; before > 0; before--) cursor.next();
  }

  #open(): boolean {
    const { buffer, payloadStart, baseOffset, lastOffset, appendTimeMs, writerEpoch } =
      this.#frames;
    this.baseOffset = offset(baseOffset);
    this.nextOffset = offset(lastOffset + 1);
    this.appendTimeMs = appendTimeMs;
    this.writerEpoch = writerEpoch;
    this.producerId = batchProducerId(buffer, payloadStart);
    try {
      this.#plain = this.#plainRecords();
      this.cursor.resetPlain(buffer, payloadStart, this.#plain);
      this.cursor.verify();
      this.#isRewound = true;
      return true;
    } catch (thrown) {
      if (!(thrown instanceof OperatingError)) throw thrown;
      this.#tellBroken(thrown.message);
      return false;
    }
  }

  #plainRecords(): Buffer {
    const { buffer, position, payloadStart, end } = this.#frames;
    const large = this.#large.get(position);
    if (large instanceof OperatingError) throw large;
    if (large !== undefined) return large;
    const records = buffer.subarray(payloadStart + BATCH_HEADER_BYTES, end);
    return decompress(batchCodec(buffer, payloadStart), records);
  }

  #tellBroken(reason: string): void {
    const { shardId, baseOffset, nextOffset } = this;
    this.#onBroken({ shardId, baseOffset, nextOffset, reason });
  }
}
