import { batchProducerId, type FrameView, isTransactionalBatch } from '@robustmq/record-batch';
import type { AbortedTransaction } from '@robustmq/rpc';

/**
 * Tells which batches of one piece of a log belong to aborted transactions, as Kafka's consumers do: a
 * transactional batch of a producer is aborted from the first offset of an aborted transaction of that
 * producer up to its abort marker. The list names all that touch the piece, also those that began
 * before it. Batches are asked about in order. Reusable.
 */
export class AbortedTransactions {
  /** By first offset. */
  #ahead: readonly AbortedTransaction[] = [];
  #next = 0;
  readonly #running = new Set<number>();

  /** Begins a piece. */
  reset(aborted: readonly AbortedTransaction[]): void {
    this.#ahead =
      aborted.length < 2 ? aborted : aborted.toSorted((a, b) => a.firstOffset - b.firstOffset);
    this.#next = 0;
    this.#running.clear();
  }

  /** Whether the batch of this frame is not to be read. */
  covers(frame: FrameView, lastOffset: number): boolean {
    if (this.#ahead.length === 0) return false;
    for (; this.#next < this.#ahead.length; this.#next++) {
      const transaction = this.#ahead[this.#next];
      if (transaction === undefined || transaction.firstOffset > lastOffset) break;
      this.#running.add(transaction.producerId);
    }
    const producerId = batchProducerId(frame.buffer, frame.payloadStart);
    if (frame.control === 'abort') this.#running.delete(producerId);
    return isTransactionalBatch(frame.buffer, frame.payloadStart) && this.#running.has(producerId);
  }
}
