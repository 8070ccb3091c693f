import { OperatingError } from '@robustmq/core';
import {
  type AbortedTransaction,
  type MessageStream,
  type StreamHandlers,
  type TailChunk,
  type TailOpen,
  type TailRequest,
  type TailResponse,
  toStatus,
} from '@robustmq/rpc';
import type { Flushable } from './flusher.ts';
import type { FrameChunk } from './frame-reader.ts';
import { operatingErrorOf } from './operating-error.ts';
import { readPosition } from './read-position.ts';
import { blockedRetryMs, type ReaderPort } from './stream-port.ts';
import { Tail, type TailScheduler } from './tail.ts';

const NO_BYTES = Buffer.alloc(0);
const noneAborted: AbortedTransaction[] = [];

/**
 * One Tail stream: many tails. What is committed in a turn leaves in one message with a piece for each
 * tail, within the client's credit (the last batch may pass it, by less than its size). Nothing is
 * queued for a tail: without credit it keeps its position and reads from there later.
 */
export class TailStream implements StreamHandlers<TailRequest>, TailScheduler, Flushable {
  readonly #stream: MessageStream<TailResponse>;
  readonly #port: ReaderPort;
  readonly #tails = new Map<number, Tail>();
  /** Tails to be looked at, in order. */
  #ready: Tail[] = [];
  /** Tails with something to read, but without credit. */
  readonly #parked = new Set<Tail>();
  #chunks: TailChunk[] = [];
  #chunksBytes = 0;
  #creditBytes = 0;
  #running = 0;
  #isScheduled = false;
  #isBlocked = false;
  #isClosed = false;

  constructor(stream: MessageStream<TailResponse>, port: ReaderPort) {
    this.#stream = stream;
    this.#port = port;
  }

  message(request: TailRequest): void {
    this.#creditBytes += request.creditBytes;
    for (const { tailId } of request.closes) this.#close(tailId);
    for (const open of request.opens) this.#open(open);
    this.#unpark();
    this.#schedule();
  }

  #close(tailId: number): void {
    const tail = this.#tails.get(tailId);
    if (tail === undefined) return;
    tail.end();
    this.#tails.delete(tailId);
    this.#parked.delete(tail);
  }

  #open(open: TailOpen): void {
    try {
      this.#check(open);
      const { shardId, fromOffset, expectedEpoch } = open;
      const replica = this.#port.locate(shardId, fromOffset, expectedEpoch);
      const tail = new Tail(open, replica, this);
      this.#tails.set(open.tailId, tail);
      tail.makeReady();
    } catch (thrown) {
      this.#pushError(open.tailId, operatingErrorOf(thrown), open.fromOffset);
    }
  }

  #check(open: TailOpen): void {
    const { tailsPerStreamMax } = this.#port.limits;
    if (this.#tails.has(open.tailId)) {
      throw new OperatingError('INVALID_ARGUMENT', `tail ${open.tailId} is open already`);
    }
    if (this.#tails.size < tailsPerStreamMax) return;
    const message = `${this.#tails.size} tails are open on this stream: open another one`;
    throw new OperatingError('RESOURCE_EXHAUSTED', message);
  }

  makeReady(tail: Tail): void {
    this.#ready.push(tail);
    this.#schedule();
  }

  drain(): void {
    this.#isBlocked = false;
    this.#schedule();
  }

  /** The client wants no more answers, whether it ended in order or not. */
  closed(): void {
    this.#isClosed = true;
    this.#stream.end();
    for (const tail of this.#tails.values()) tail.end();
    this.#tails.clear();
    this.#parked.clear();
    this.#ready = [];
    this.#chunks = [];
  }

  #schedule(): void {
    if (this.#isScheduled || this.#isBlocked || this.#isClosed) return;
    if (this.#ready.length === 0 && this.#chunks.length === 0) return;
    this.#isScheduled = true;
    this.#port.flusher.schedule(this);
  }

  /** One message with what the tails have now. What does not fit leaves with the next. */
  flush(): void {
    this.#isScheduled = false;
    if (this.#isClosed || this.#isBlocked) return;
    const ready = this.#ready;
    this.#ready = [];
    let index = 0;
    for (; index < ready.length && this.#hasRoom(); index++) {
      const tail = ready[index];
      if (tail === undefined || tail.isOver) continue;
      tail.isReady = false;
      this.#look(tail);
    }
    if (index < ready.length) this.#ready = [...ready.slice(index), ...this.#ready];
    this.#send();
    this.#schedule();
  }

  #hasRoom(): boolean {
    return this.#chunksBytes < this.#port.limits.tailMessageBytesMax;
  }

  /** There is credit again, or a read has ended. */
  #unpark(): void {
    if (!this.#mayRead()) return;
    const parked = [...this.#parked];
    this.#parked.clear();
    for (const tail of parked) tail.makeReady();
  }

  #mayRead(): boolean {
    const { tailReadsRunningPerStreamMax } = this.#port.limits;
    return this.#creditBytes > 0 && this.#running < tailReadsRunningPerStreamMax;
  }

  #send(): void {
    if (this.#chunks.length === 0) return;
    const chunks = this.#chunks;
    this.#chunks = [];
    this.#chunksBytes = 0;
    if (!this.#stream.send({ chunks })) this.#isBlocked = true;
  }

  /** Reads on, waits or ends. */
  #look(tail: Tail): void {
    const { reader } = this.#port;
    const { replica, position } = tail;
    const found = readPosition(replica, position, reader.limit(replica, tail.isReadCommitted));
    switch (found.kind) {
      case 'data':
        if (this.#mayRead()) this.#readOn(tail);
        else this.#parked.add(tail);
        return;
      case 'wait':
        this.#tellProgress(tail);
        return;
      case 'ended':
        this.#push(tail, NO_BYTES, noneAborted);
        return;
      case 'moved':
        this.#fail(tail, this.#port.notLeader(tail.replica.shard.shardId));
        return;
      case 'beyond':
        this.#fail(tail, this.#port.outOfRange(replica, position));
        return;
      case 'error':
        this.#fail(tail, found.error);
    }
  }

  #readOn(tail: Tail): void {
    const { limits, reader } = this.#port;
    const bytesMax = Math.min(limits.tailChunkBytesMax, this.#creditBytes);
    try {
      const chunk = reader.read(tail.replica, {
        from: tail.position,
        bytesMax,
        tokens: tail.tokens,
        isReadCommitted: tail.isReadCommitted,
      });
      if (chunk instanceof Promise) void this.#await(tail, chunk, bytesMax);
      else this.#took(tail, chunk);
    } catch (thrown) {
      this.#fail(tail, operatingErrorOf(thrown));
    }
  }

  /** Reserves credit for a read from the disk, so that all that run together keep within it. */
  async #await(tail: Tail, chunk: Promise<FrameChunk>, reservedBytes: number): Promise<void> {
    this.#running++;
    this.#creditBytes -= reservedBytes;
    tail.isReading = true;
    try {
      const found = await chunk;
      tail.isReading = false;
      if (!tail.isOver) this.#took(tail, found);
    } catch (thrown) {
      if (!tail.isOver) this.#fail(tail, operatingErrorOf(thrown));
    } finally {
      tail.isReading = false;
      this.#running--;
      this.#creditBytes += reservedBytes;
      this.#unpark();
      this.#schedule();
    }
  }

  #took(tail: Tail, chunk: FrameChunk): void {
    const hasMoved = chunk.nextOffset > tail.position;
    tail.position = chunk.nextOffset;
    if (hasMoved) {
      this.#creditBytes -= chunk.frames.length;
      this.#push(tail, chunk.frames, chunk.aborted);
      if (!tail.isOver) this.#followOn(tail);
      return;
    }
    this.#tellProgress(tail);
    tail.lookAgain(this.#port.wheel, blockedRetryMs);
  }

  /** Looks again if there is more, or if the end has come meanwhile. */
  #followOn(tail: Tail): void {
    const { reader } = this.#port;
    const { replica, position } = tail;
    const limit = reader.limit(replica, tail.isReadCommitted);
    if (readPosition(replica, position, limit).kind !== 'wait') tail.makeReady();
  }

  /** Tells where the tail stands and how far the log has got, if the client does not know. */
  #tellProgress(tail: Tail): void {
    const { position, toldPosition, toldHighWatermark, replica } = tail;
    if (toldPosition === position && toldHighWatermark === replica.highWatermark) return;
    this.#push(tail, NO_BYTES, noneAborted);
  }

  #push(tail: Tail, frames: Buffer, aborted: AbortedTransaction[]): void {
    const { replica, position, tailId } = tail;
    const { reader, counters } = this.#port;
    tail.toldPosition = position;
    tail.toldHighWatermark = replica.highWatermark;
    this.#chunksBytes += frames.length;
    counters.tailBytes += frames.length;
    this.#chunks.push({
      tailId,
      status: undefined,
      frames,
      nextOffset: position,
      highWatermark: replica.highWatermark,
      lastStableOffset: reader.limit(replica, true),
      segmentEnded: position === replica.sealedEndOffset,
      aborted,
    });
    if (position === replica.sealedEndOffset) this.#close(tailId);
  }

  #fail(tail: Tail, error: OperatingError): void {
    this.#close(tail.tailId);
    this.#pushError(tail.tailId, error, tail.position);
  }

  #pushError(tailId: number, error: OperatingError, nextOffset: number): void {
    this.#port.counters.refused(error.code);
    this.#chunks.push({
      tailId,
      status: toStatus(error),
      frames: NO_BYTES,
      nextOffset,
      highWatermark: 0,
      lastStableOffset: 0,
      segmentEnded: false,
      aborted: noneAborted,
    });
  }
}
