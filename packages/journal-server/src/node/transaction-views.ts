import type { AbortedIndex, AbortedRange } from '../core/aborted-index.ts';
import { FrameFolder } from '../core/fold-frames.ts';
import type { ProducerState } from '../core/producer-state.ts';
import type { JournalStorage } from '../storage/storage.ts';
import type { Replica } from './replica.ts';

/** What a reader of committed transactions has to know of some offsets. */
export interface TransactionView {
  readonly aborted: readonly AbortedRange[];
  /** First offset whose transaction is not over, as far as this node knows. */
  readonly lastStableOffset: number;
}

interface SegmentTransactions {
  readonly aborted: AbortedIndex;
  /** As of the segment's end; undefined when only the next segment here knows. */
  readonly lastStableOffset: number | undefined;
}

export interface TransactionViewsOptions {
  readonly storage: JournalStorage;
  /** An empty state that counts in no budget: it lives as long as a scan. */
  readonly newState: () => ProducerState;
  readonly segmentsMax: number;
}

/**
 * Aborted transactions and last stable offsets, of led segments from memory and of others by a scan on
 * first use. A transaction may begin in one segment and end in a later one: those that this node has
 * are looked at in turn.
 */
export class TransactionViews {
  readonly #options: TransactionViewsOptions;
  /** Least recently used first. */
  readonly #scanned = new Map<Replica, Promise<SegmentTransactions>>();

  constructor(options: TransactionViewsOptions) {
    this.#options = options;
  }

  /** First offset of `replica` that a reader of committed transactions must not pass, without a scan. */
  limit(replica: Replica): number {
    const { highWatermark } = replica;
    const producers = replica.state.leading?.producers;
    return producers?.transactions.lastStableOffset(highWatermark) ?? highWatermark;
  }

  /** For offsets `[from, to)` of `replica`; synchronous when it is led here. */
  view(replica: Replica, from: number, to: number): TransactionView | Promise<TransactionView> {
    const producers = replica.state.leading?.producers;
    if (!replica.isLeader || producers === undefined) return this.#search(replica, from, to);
    return {
      aborted: producers.aborted.touching(from, to),
      lastStableOffset: this.limit(replica),
    };
  }

  forget(replica: Replica): void {
    this.#scanned.delete(replica);
  }

  async #search(replica: Replica, from: number, to: number): Promise<TransactionView> {
    const aborted: AbortedRange[] = [];
    let lastStableOffset = replica.highWatermark;
    for (const segment of replica.shard.from(replica)) {
      const transactions = await this.#transactionsOf(segment);
      aborted.push(...transactions.aborted.touching(from, to));
      if (transactions.lastStableOffset === undefined) continue;
      lastStableOffset = transactions.lastStableOffset;
      if (lastStableOffset >= to) break;
    }
    return { aborted, lastStableOffset };
  }

  #transactionsOf(replica: Replica): SegmentTransactions | Promise<SegmentTransactions> {
    const producers = replica.state.leading?.producers;
    if (producers !== undefined) {
      return { aborted: producers.aborted, lastStableOffset: this.limit(replica) };
    }
    if (replica.aborted !== undefined) {
      return { aborted: replica.aborted, lastStableOffset: undefined };
    }
    const known = this.#scanned.get(replica) ?? this.#scan(replica);
    this.#scanned.delete(replica);
    this.#scanned.set(replica, known);
    for (const [oldest] of this.#scanned) {
      if (this.#scanned.size <= this.#options.segmentsMax) break;
      this.#scanned.delete(oldest);
    }
    return known;
  }

  async #scan(replica: Replica): Promise<SegmentTransactions> {
    const { storage, newState } = this.#options;
    const producers = newState();
    const end = replica.highWatermark;
    const folder = new FrameFolder(producers, end, 0);
    try {
      await storage.scan(replica.stored, { fromLastSnapshot: false }, (frame) =>
        folder.fold(frame),
      );
    } catch (thrown) {
      this.#scanned.delete(replica);
      throw thrown;
    }
    const lastStableOffset = producers.transactions.lastStableOffset(end);
    return { aborted: producers.aborted, lastStableOffset };
  }
}
