import { assert, type Offset, OperatingError, type ShardId } from '@robustmq/core';
import type { BatchVisitor, LogReader, LogReadStep } from '../log/log-reader.ts';
import type { CatchUp, CatchUpCursor } from './catch-up.ts';

export interface CatchUpReadsOptions {
  readonly reader: LogReader;
  /** Reads that may run at the same time; each has at most its own bytes in memory. Default 8. */
  readonly runningMax?: number;
}

/**
 * Reads for those who lag, a few at a time. Whoever wants to read waits in line once, so everybody gets
 * one read before anybody gets a second.
 */
export class CatchUpReads implements CatchUp {
  readonly #reader: LogReader;
  readonly #runningMax: number;
  readonly #line = new Set<() => void>();
  #running = 0;

  constructor(options: CatchUpReadsOptions) {
    this.#reader = options.reader;
    this.#runningMax = options.runningMax ?? 8;
  }

  /** Cursors that wait for their turn. */
  get waiting(): number {
    return this.#line.size;
  }

  cursor(shardId: ShardId, position: Offset): CatchUpCursor {
    return new LineCursor(shardId, position, this);
  }

  /** Reads when it is this caller's turn. */
  async read(cursor: LineCursor, bytesMax: number, visit: BatchVisitor): Promise<LogReadStep> {
    await this.#enter(cursor.signal);
    try {
      const { shardId, position: fromOffset, signal } = cursor;
      return await this.#reader.read(shardId, { fromOffset, bytesMax, signal }, visit);
    } finally {
      this.#leave();
    }
  }

  #enter(signal: AbortSignal): Promise<void> {
    signal.throwIfAborted();
    if (this.#running < this.#runningMax) {
      this.#running++;
      return Promise.resolve();
    }
    return new Promise((resolve, reject) => {
      const onAbort = (): void => {
        this.#line.delete(enter);
        reject(signal.reason);
      };
      const enter = (): void => {
        signal.removeEventListener('abort', onAbort);
        resolve();
      };
      this.#line.add(enter);
      signal.addEventListener('abort', onAbort, { once: true });
    });
  }

  /** Hands the place to who waits longest. */
  #leave(): void {
    for (const enter of this.#line) {
      this.#line.delete(enter);
      enter();
      return;
    }
    this.#running--;
  }
}

class LineCursor implements CatchUpCursor {
  readonly shardId: ShardId;
  readonly #reads: CatchUpReads;
  readonly #closed = new AbortController();
  #position: Offset;
  #reading = false;

  constructor(shardId: ShardId, position: Offset, reads: CatchUpReads) {
    this.shardId = shardId;
    this.#position = position;
    this.#reads = reads;
  }

  get position(): Offset {
    return this.#position;
  }

  get signal(): AbortSignal {
    return this.#closed.signal;
  }

  seek(position: Offset): void {
    assert(!this.#reading, 'a cursor moves only between its reads');
    this.#position = position;
  }

  async read(bytesMax: number, visit: BatchVisitor): Promise<LogReadStep> {
    assert(!this.#reading, 'a cursor has one read at a time');
    this.#reading = true;
    try {
      const step = await this.#reads.read(this, bytesMax, visit);
      this.#position = step.nextOffset;
      return step;
    } finally {
      this.#reading = false;
    }
  }

  close(): void {
    this.#closed.abort(new OperatingError('CANCELLED', 'the cursor is closed'));
  }
}
