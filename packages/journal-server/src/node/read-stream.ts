import { OperatingError } from '@robustmq/core';
import {
  type AbortedTransaction,
  type MessageStream,
  type ReadRequest,
  type ReadResponse,
  type StreamHandlers,
  toStatus,
} from '@robustmq/rpc';
import type { Flushable } from './flusher.ts';
import type { FrameChunk } from './frame-reader.ts';
import { operatingErrorOf } from './operating-error.ts';
import { PendingRead, type ReadScheduler } from './pending-read.ts';
import { readPosition } from './read-position.ts';
import { blockedRetryMs, type ReaderPort } from './stream-port.ts';

const NO_BYTES = Buffer.alloc(0);
const noneAborted: AbortedTransaction[] = [];

/**
 * One Read stream: many reads at once, each answered once. A read that finds nothing waits as a
 * follower of its replica, and costs nothing until more is committed or its time is over.
 */
export class ReadStream implements StreamHandlers<ReadRequest>, ReadScheduler, Flushable {
  readonly #stream: MessageStream<ReadResponse>;
  readonly #port: ReaderPort;
  readonly #reads = new Map<number, PendingRead>();
  /** Reads to be looked at, in order. */
  #ready: PendingRead[] = [];
  #running = 0;
  #isScheduled = false;
  #isBlocked = false;
  #isClosed = false;

  constructor(stream: MessageStream<ReadResponse>, port: ReaderPort) {
    this.#stream = stream;
    this.#port = port;
  }

  message(request: ReadRequest): void {
    if (request.cancel) {
      this.#reads.get(request.readId)?.end();
      this.#reads.delete(request.readId);
      return;
    }
    const refusal = this.#reasonToRefuse(request);
    if (refusal === undefined) this.#open(request);
    else this.#sendError(request.readId, refusal);
  }

  #reasonToRefuse(request: ReadRequest): OperatingError | undefined {
    const { readsPerStreamMax, exhaustedRetryMs } = this.#port.limits;
    if (this.#reads.has(request.readId)) {
      return new OperatingError('INVALID_ARGUMENT', `read ${request.readId} is under way already`);
    }
    if (this.#reads.size >= readsPerStreamMax) {
      const message = `${this.#reads.size} reads wait on this stream: open another one`;
      return new OperatingError('RESOURCE_EXHAUSTED', message, { retryAfterMs: exhaustedRetryMs });
    }
    if (request.generation === 0) return undefined;
    const message = `this node has generation 0 of the segment, not ${request.generation}: resolve it`;
    return new OperatingError('CONFLICT', message);
  }

  #open(request: ReadRequest): void {
    try {
      const { shardId, fromOffset, expectedEpoch } = request;
      const replica = this.#port.locate(shardId, fromOffset, expectedEpoch);
      const read = new PendingRead(request, replica, this);
      this.#reads.set(request.readId, read);
      read.makeReady();
    } catch (thrown) {
      this.#sendError(request.readId, operatingErrorOf(thrown));
    }
  }

  makeReady(read: PendingRead): void {
    this.#ready.push(read);
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
    for (const read of this.#reads.values()) read.end();
    this.#reads.clear();
    this.#ready = [];
  }

  #schedule(): void {
    if (this.#isScheduled || this.#isBlocked || this.#isClosed || this.#ready.length === 0) return;
    this.#isScheduled = true;
    this.#port.flusher.schedule(this);
  }

  flush(): void {
    this.#isScheduled = false;
    const ready = this.#ready;
    this.#ready = [];
    let index = 0;
    for (; index < ready.length && !this.#isBlocked && !this.#isClosed; index++) {
      if (this.#running >= this.#port.limits.readsRunningPerStreamMax) break;
      const read = ready[index];
      if (read === undefined || read.isOver) continue;
      read.isReady = false;
      this.#look(read);
    }
    // The others go first next time: when one that runs is done, or after `drain`.
    if (index < ready.length) this.#ready = [...ready.slice(index), ...this.#ready];
  }

  /** Reads on, waits or answers. */
  #look(read: PendingRead): void {
    const { replica, position } = read;
    const limit = this.#port.reader.limit(replica, read.isReadCommitted);
    const found = readPosition(replica, position, limit);
    switch (found.kind) {
      case 'data':
        this.#readOn(read);
        return;
      case 'wait':
        this.#wait(read);
        return;
      case 'ended':
        this.#answer(read, NO_BYTES, noneAborted);
        return;
      case 'moved':
        this.#fail(read, this.#port.notLeader(read.replica.shard.shardId));
        return;
      case 'beyond':
        this.#fail(read, this.#port.outOfRange(read.replica, position));
        return;
      case 'error':
        this.#fail(read, found.error);
    }
  }

  #readOn(read: PendingRead): void {
    const { limits, reader } = this.#port;
    const wanted = read.request.bytesMax === 0 ? limits.readBytesDefault : read.request.bytesMax;
    try {
      const chunk = reader.read(read.replica, {
        from: read.position,
        bytesMax: Math.min(wanted, limits.readBytesMax),
        tokens: read.request.filterTokens,
        isReadCommitted: read.isReadCommitted,
      });
      if (chunk instanceof Promise) void this.#await(read, chunk);
      else this.#took(read, chunk);
    } catch (thrown) {
      this.#fail(read, operatingErrorOf(thrown));
    }
  }

  async #await(read: PendingRead, chunk: Promise<FrameChunk>): Promise<void> {
    this.#running++;
    try {
      const found = await chunk;
      if (!read.isOver) this.#took(read, found);
    } catch (thrown) {
      if (!read.isOver) this.#fail(read, operatingErrorOf(thrown));
    } finally {
      this.#running--;
      this.#schedule();
    }
  }

  #took(read: PendingRead, chunk: FrameChunk): void {
    const hasMoved = chunk.nextOffset > read.position;
    read.position = chunk.nextOffset;
    read.scannedBytes += chunk.scannedBytes;
    if (chunk.frames.length > 0) this.#answer(read, chunk.frames, chunk.aborted);
    else if (read.scannedBytes >= this.#scanBytesMax(read))
      this.#answer(read, NO_BYTES, noneAborted);
    else if (hasMoved) read.makeReady();
    else this.#wait(read, blockedRetryMs);
  }

  #scanBytesMax(read: PendingRead): number {
    const { scanBytesMax } = read.request;
    return scanBytesMax === 0 ? this.#port.limits.readScanBytesDefault : scanBytesMax;
  }

  #wait(read: PendingRead, lookAgainMs?: number): void {
    const { clock, wheel, limits } = this.#port;
    const nowMs = clock.monotonicMs();
    const waitMs = Math.min(read.request.waitMs, limits.readWaitMsMax);
    read.deadlineMs ??= nowMs + waitMs;
    const leftMs = read.deadlineMs - nowMs;
    if (leftMs <= 0) {
      this.#answer(read, NO_BYTES, noneAborted);
      return;
    }
    read.wait(wheel, Math.min(leftMs, lookAgainMs ?? leftMs));
  }

  #answer(read: PendingRead, frames: Buffer, aborted: AbortedTransaction[]): void {
    const { replica, position } = read;
    const { reader, counters } = this.#port;
    this.#finish(read);
    counters.readBytes += frames.length;
    this.#send({
      readId: read.request.readId,
      status: undefined,
      frames,
      nextOffset: position,
      highWatermark: replica.highWatermark,
      lastStableOffset: reader.limit(replica, true),
      segmentEnded: replica.isSealed && position === replica.sealedEndOffset,
      aborted,
    });
  }

  #fail(read: PendingRead, error: OperatingError): void {
    this.#finish(read);
    this.#sendError(read.request.readId, error, read.position);
  }

  #finish(read: PendingRead): void {
    read.end();
    this.#reads.delete(read.request.readId);
  }

  #sendError(readId: number, error: OperatingError, nextOffset = 0): void {
    this.#port.counters.refused(error.code);
    this.#send({
      readId,
      status: toStatus(error),
      frames: NO_BYTES,
      nextOffset,
      highWatermark: 0,
      lastStableOffset: 0,
      segmentEnded: false,
      aborted: noneAborted,
    });
  }

  #send(response: ReadResponse): void {
    if (this.#isClosed) return;
    if (!this.#stream.send(response)) this.#isBlocked = true;
  }
}
