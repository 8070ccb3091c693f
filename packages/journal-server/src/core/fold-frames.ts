import { assert } from '@robustmq/core';
import {
  batchAttribute,
  batchAttributes,
  batchBaseSequence,
  batchLastOffsetDelta,
  batchProducerEpoch,
  batchProducerId,
  decodeEndTransactionMarker,
  type FrameControl,
  FrameCursor,
} from '@robustmq/record-batch';
import type { BatchFacts } from './batch-facts.ts';
import { decodeProducerSnapshot } from './producer-snapshot.ts';
import type { ProducerState } from './producer-state.ts';

/** The facts of the checked batch at `position`. A marker is decoded; it is a few bytes long. */
export function batchFacts(batch: Buffer, position: number, writerEpoch: number): BatchFacts {
  const attributes = batchAttributes(batch, position);
  const isControl = (attributes & batchAttribute.control) !== 0;
  const marker = isControl ? decodeEndTransactionMarker(batch, position) : undefined;
  const control: FrameControl = marker?.end ?? 'none';
  return {
    records: batchLastOffsetDelta(batch, position) + 1,
    producerId: batchProducerId(batch, position),
    producerEpoch: batchProducerEpoch(batch, position),
    baseSequence: batchBaseSequence(batch, position),
    isTransactional: (attributes & batchAttribute.transactional) !== 0,
    isControl,
    control,
    coordinatorEpoch: marker?.coordinatorEpoch ?? -1,
    writerEpoch,
  };
}

/**
 * Folds whole frames into a producer state, up to an offset: what lies beyond was never committed. The
 * frames have passed their checksums. Reusable, allocates per batch only.
 */
export class FrameFolder {
  readonly #state: ProducerState;
  readonly #endOffset: number;
  readonly #nowMs: number;
  readonly #cursor = new FrameCursor();
  #isPastEnd = false;

  constructor(state: ProducerState, endOffset: number, nowMs: number) {
    this.#state = state;
    this.#endOffset = endOffset;
    this.#nowMs = nowMs;
  }

  /** `frames` holds one or more whole frames. Throws DAMAGED for a broken snapshot. */
  fold(frames: Buffer): void {
    const cursor = this.#cursor;
    cursor.reset(frames);
    let step = cursor.next();
    for (; step === 'frame'; step = cursor.next()) this.#foldFrame();
    assert(step === 'end', `the storage gives whole frames, but this one is ${step}`);
  }

  #foldFrame(): void {
    const { buffer, kind, payloadStart, end, writerEpoch, appendTimeMs, baseOffset } = this.#cursor;
    // A snapshot beyond the end covers batches beyond the end.
    if (baseOffset >= this.#endOffset) this.#isPastEnd = true;
    if (this.#isPastEnd) return;
    if (kind === 'producer-snapshot') {
      decodeProducerSnapshot(this.#state, buffer, { start: payloadStart, end }, this.#nowMs);
      return;
    }
    const facts = batchFacts(buffer, payloadStart, writerEpoch);
    this.#state.fold(facts, baseOffset, appendTimeMs, this.#nowMs);
  }
}
