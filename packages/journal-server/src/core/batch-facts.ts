import type { FrameControl } from '@robustmq/record-batch';

/** What the producer state needs to know of a batch: its header's fields and its frame's. */
export interface BatchFacts {
  /** Offsets that the batch takes: last offset delta + 1. */
  readonly records: number;
  /** -1 without a producer id. */
  readonly producerId: number;
  readonly producerEpoch: number;
  readonly baseSequence: number;
  readonly isTransactional: boolean;
  /** Control batches have no sequence. */
  readonly isControl: boolean;
  /** Whether it ends the open transaction of its producer, and how. */
  readonly control: FrameControl;
  /** Coordinator epoch of the end marker; -1 for every other batch. */
  readonly coordinatorEpoch: number;
  /** 0 on shards with many writers. */
  readonly writerEpoch: number;
}
