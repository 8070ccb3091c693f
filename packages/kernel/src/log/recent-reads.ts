import type { ShardId } from '@robustmq/core';
import type { JournalClient, ReadOptions, ReadResult } from '@robustmq/journal-client';

const piecesMax = 64;
const pieceBytesMax = 512 * 1024;

interface RecentPiece {
  readonly shardId: ShardId;
  readonly fromOffset: number;
  readonly result: ReadResult;
}

/**
 * Reads through the pieces that were read last: a session that takes a window of records at a time, and
 * others near it, read a piece once instead of once per window. What is committed does not change, so an
 * old piece is as good as a new one; only its high watermark is as old as the piece. Keeps at most 64
 * pieces of at most 512 KiB.
 */
export class RecentReads {
  readonly #journal: Pick<JournalClient, 'read'>;
  /** The one used last stands at the end. */
  readonly #pieces: RecentPiece[] = [];

  constructor(journal: Pick<JournalClient, 'read'>) {
    this.#journal = journal;
  }

  /** As the journal client's read; reads with a filter always go there. */
  async read(shardId: ShardId, options: ReadOptions): Promise<ReadResult> {
    if (options.filterTokens !== undefined) return this.#journal.read(shardId, options);
    const recent = this.#find(shardId, options.fromOffset);
    if (recent !== undefined) return recent;
    const result = await this.#journal.read(shardId, options);
    const isEmpty = result.nextOffset === options.fromOffset;
    if (!isEmpty && result.frames.length <= pieceBytesMax) {
      this.#pieces.push({ shardId, fromOffset: options.fromOffset, result });
      if (this.#pieces.length > piecesMax) this.#pieces.shift();
    }
    return result;
  }

  #find(shardId: ShardId, fromOffset: number): ReadResult | undefined {
    const pieces = this.#pieces;
    for (let at = pieces.length - 1; at >= 0; at--) {
      const piece = pieces[at];
      if (piece?.shardId !== shardId) continue;
      if (fromOffset < piece.fromOffset || fromOffset >= piece.result.nextOffset) continue;
      pieces.splice(at, 1);
      pieces.push(piece);
      return piece.result;
    }
    return undefined;
  }
}
