import { assert, TurnTask } from '@robustmq/core';
import type { AbortedTransaction } from '@robustmq/rpc';
import type { JournalStorage, StorageRead } from '../storage/storage.ts';
import type { Replica } from './replica.ts';
import { selectFrames } from './selected-frames.ts';
import type { TransactionViews } from './transaction-views.ts';

export interface FrameRequest {
  readonly from: number;
  readonly bytesMax: number;
  readonly tokens: readonly number[];
  readonly isReadCommitted: boolean;
}

/** What was found from an offset on. */
export interface FrameChunk {
  /** Whole frames. Shared by all who read the same in one turn: not to be changed. */
  readonly frames: Buffer;
  /** Everything before it was given or did not match. */
  readonly nextOffset: number;
  /** Bytes looked at. */
  readonly scannedBytes: number;
  readonly aborted: AbortedTransaction[];
  readonly lastStableOffset: number;
}

const NO_BYTES = Buffer.alloc(0);

interface SharedChunk {
  readonly request: FrameRequest;
  readonly limit: number;
  readonly chunk: FrameChunk;
}

/** Reads committed frames of a replica for readers of all kinds. */
export class FrameReader {
  readonly #storage: JournalStorage;
  readonly #transactions: TransactionViews;
  /** The last chunk of each replica in this turn, for others who follow it at the same offset. */
  readonly #shared = new Map<Replica, SharedChunk>();
  readonly #forgetShared = new TurnTask(() => this.#shared.clear());

  constructor(storage: JournalStorage, transactions: TransactionViews) {
    this.#storage = storage;
    this.#transactions = transactions;
  }

  /** First offset that such a reader may not see yet. */
  limit(replica: Replica, isReadCommitted: boolean): number {
    return isReadCommitted ? this.#transactions.limit(replica) : replica.highWatermark;
  }

  /**
   * Frames from `request.from` on, about `bytesMax` bytes but at least one batch. Synchronous when they
   * are in memory. Rejects or throws DAMAGED when a checksum fails.
   */
  read(replica: Replica, request: FrameRequest): FrameChunk | Promise<FrameChunk> {
    const limit = this.limit(replica, request.isReadCommitted);
    const shared = this.#shared.get(replica);
    if (shared !== undefined && isSame(shared, request, limit)) return shared.chunk;
    const chunk = this.#readUpTo(replica, request, limit);
    if (replica.followers.size > 1 && !(chunk instanceof Promise)) {
      this.#shared.set(replica, { request, limit, chunk });
      this.#forgetShared.schedule();
    }
    return chunk;
  }

  #readUpTo(
    replica: Replica,
    request: FrameRequest,
    limit: number,
  ): FrameChunk | Promise<FrameChunk> {
    const { from, bytesMax } = request;
    const { baseOffset, stored } = replica;
    if (from >= limit) return nothing(from, limit);
    const range = { fromIndex: from - baseOffset, limitIndex: limit - baseOffset, bytesMax };
    const read = this.#storage.read(stored, range);
    if (!(read instanceof Promise)) return this.#chunkOf(replica, request, limit, read);
    return read.then((found) => this.#chunkOf(replica, request, limit, found));
  }

  #chunkOf(
    replica: Replica,
    request: FrameRequest,
    limit: number,
    read: StorageRead,
  ): FrameChunk | Promise<FrameChunk> {
    const { from } = request;
    const nextOffset = replica.baseOffset + read.nextIndex;
    assert(
      nextOffset > from && nextOffset <= limit,
      'a read goes on and keeps below its limit (I7)',
    );
    const selected = selectFrames(read.frames, request.tokens);
    const chunk = {
      frames: selected.bytes,
      nextOffset,
      scannedBytes: bytesOf(read.frames),
      aborted: [],
      lastStableOffset: limit,
    };
    const needsView = request.isReadCommitted && selected.hasTransactions;
    return needsView ? this.#withTransactions(replica, request, chunk) : chunk;
  }

  /** Tells the aborted ranges, and cuts what lies behind a transaction that is still open. */
  #withTransactions(
    replica: Replica,
    request: FrameRequest,
    chunk: FrameChunk,
  ): FrameChunk | Promise<FrameChunk> {
    const view = this.#transactions.view(replica, request.from, chunk.nextOffset);
    if (view instanceof Promise) {
      return view.then((found) => {
        if (found.lastStableOffset < chunk.nextOffset) {
          return this.#readUpTo(replica, request, found.lastStableOffset);
        }
        return { ...chunk, aborted: [...found.aborted] };
      });
    }
    return { ...chunk, aborted: [...view.aborted] };
  }
}

function isSame({ request, limit }: SharedChunk, other: FrameRequest, otherLimit: number): boolean {
  return (
    request.from === other.from &&
    request.bytesMax === other.bytesMax &&
    limit === otherLimit &&
    request.isReadCommitted === other.isReadCommitted &&
    request.tokens.length === 0 &&
    other.tokens.length === 0
  );
}

function nothing(from: number, limit: number): FrameChunk {
  return {
    frames: NO_BYTES,
    nextOffset: from,
    scannedBytes: 0,
    aborted: [],
    lastStableOffset: limit,
  };
}

function bytesOf(pieces: readonly Buffer[]): number {
  let bytes = 0;
  for (const piece of pieces) bytes += piece.length;
  return bytes;
}
