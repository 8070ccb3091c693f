import { assert } from '@robustmq/core';

/** Batches that are remembered of each producer, as in Kafka: its clients keep at most five in flight. */
export const WINDOW_BATCHES = 5;

/** One remembered batch. */
export interface RememberedBatch {
  readonly baseSequence: number;
  readonly records: number;
  readonly baseOffset: number;
  readonly appendTimeMs: number;
}

/** What a shard remembers of one producer. Only {@link ProducerState} changes it. */
export interface ProducerEntry {
  readonly producerId: number;
  epoch: number;
  /** The last batches of this epoch, oldest first, at most {@link WINDOW_BATCHES}. */
  window: RememberedBatch[];
  /**
   * Whether the entry has seen this epoch from sequence 0 on. Only then a batch that is older than the
   * window is surely in the log.
   */
  isComplete: boolean;
  /** First offset of the open transaction; undefined when none is open. */
  transactionOffset: number | undefined;
  /** Coordinator epoch of the last end marker; -1 before the first. */
  coordinatorEpoch: number;
  /** Append time of its last frame on the leader's clock, ms since 1970. */
  lastAppendMs: number;
  /** When this process last saw a frame of it, on the monotonic clock. Not part of the fold. */
  lastSeenMs: number;
}

export function newProducerEntry(
  producerId: number,
  epoch: number,
  lastSeenMs: number,
): ProducerEntry {
  return {
    producerId,
    epoch,
    window: [],
    isComplete: false,
    transactionOffset: undefined,
    coordinatorEpoch: -1,
    lastAppendMs: 0,
    lastSeenMs,
  };
}

/** The batch of the window with exactly these sequences. */
export function findInWindow(
  entry: ProducerEntry,
  baseSequence: number,
  records: number,
): RememberedBatch | undefined {
  for (let index = entry.window.length - 1; index >= 0; index--) {
    const batch = entry.window[index];
    if (batch?.baseSequence === baseSequence && batch.records === records) return batch;
  }
  return undefined;
}

export function remember(entry: ProducerEntry, batch: RememberedBatch): void {
  if (entry.window.length === WINDOW_BATCHES) entry.window.shift();
  entry.window.push(batch);
  assert(entry.window.length <= WINDOW_BATCHES, 'a producer window holds at most five batches');
}
