import { type Logger, offset, type ShardId } from '@robustmq/core';
import type { JournalClient, ReadResult } from '@robustmq/journal-client';
import { BatchWalker } from './batch-walker.ts';
import { BrokenBatches } from './broken-batches.ts';
import { decompressLarge, hasLargeBatch, type PlainPiece } from './large-batches.ts';
import { RecentReads } from './recent-reads.ts';
import type { BatchVisitor, LogReader, LogReadOptions, LogReadStep } from './log-reader.ts';

export interface RecordReaderOptions {
  readonly journal: Pick<JournalClient, 'read'>;
  readonly logger: Logger;
}

const defaultBytesMax = 1024 * 1024;

/** Reads records through the journal client. */
export class RecordReader implements LogReader {
  readonly #reads: RecentReads;
  readonly #broken: BrokenBatches;
  readonly #walkers: BatchWalker[] = [];

  constructor(options: RecordReaderOptions) {
    this.#reads = new RecentReads(options.journal);
    this.#broken = new BrokenBatches(options.logger);
  }

  /** Batches that could not be read since the start. */
  get brokenBatches(): number {
    return this.#broken.count;
  }

  async read(shardId: ShardId, options: LogReadOptions, visit: BatchVisitor): Promise<LogReadStep> {
    const { fromOffset, bytesMax = defaultBytesMax, waitMs = 0, filterTokens, signal } = options;
    const result = await this.#reads.read(shardId, {
      fromOffset,
      bytesMax,
      waitMs,
      readCommitted: true,
      ...(filterTokens !== undefined && { filterTokens }),
      ...(signal !== undefined && { signal }),
    });
    const piece = hasLargeBatch(result.frames)
      ? await decompressLarge(result.frames, 0)
      : { records: new Map(), end: result.frames.length, endOffset: undefined };
    signal?.throwIfAborted();
    return this.#visitAll(shardId, fromOffset, { result, piece, visit });
  }

  #visitAll(
    shardId: ShardId,
    fromOffset: LogReadStep['nextOffset'],
    task: { result: ReadResult; piece: PlainPiece; visit: BatchVisitor },
  ): LogReadStep {
    const { frames, aborted, nextOffset, highWatermark, lastStableOffset } = task.result;
    const walker = this.#walkers.pop() ?? new BatchWalker(this.#broken.report);
    walker.start({ shardId, frames, aborted });
    walker.within(task.piece.end, task.piece.records);
    const end = offset(task.piece.endOffset ?? nextOffset);
    let taken = fromOffset;
    let goesOn = true;
    while (goesOn && walker.next(fromOffset)) {
      walker.rewind(fromOffset);
      goesOn = task.visit(walker);
      if (goesOn) taken = walker.nextOffset;
    }
    walker.finish();
    this.#walkers.push(walker);
    return { nextOffset: goesOn ? end : taken, highWatermark, lastStableOffset };
  }
}
