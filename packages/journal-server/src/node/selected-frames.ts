import { assert } from '@robustmq/core';
import { filterMatches, FrameCursor, isTransactionalBatch } from '@robustmq/record-batch';

const NO_BYTES = Buffer.alloc(0);

/** Frames as readers get them. */
export interface SelectedFrames {
  /** Whole frames in a buffer of their own. */
  readonly bytes: Buffer;
  /** Whether a batch of a transaction is among them. */
  readonly hasTransactions: boolean;
}

const cursor = new FrameCursor();

/**
 * Copies frames together for a reader, once, without producer snapshots and without batches that have
 * none of `tokens` (no tokens: all match). The pieces stay the storage's.
 */
export function selectFrames(pieces: readonly Buffer[], tokens: readonly number[]): SelectedFrames {
  if (pieces.length === 0) return { bytes: NO_BYTES, hasTransactions: false };
  const all = Buffer.concat(pieces);
  cursor.reset(all);
  let kept = 0;
  let hasTransactions = false;
  let step = cursor.next();
  for (; step === 'frame'; step = cursor.next()) {
    if (!isWanted(tokens)) continue;
    const { position, end, payloadStart } = cursor;
    if (isTransactionalBatch(all, payloadStart)) hasTransactions = true;
    if (kept < position) all.copyWithin(kept, position, end);
    kept += end - position;
  }
  assert(step === 'end', `the storage gives whole frames, but this one is ${step}`);
  return { bytes: kept === all.length ? all : all.subarray(0, kept), hasTransactions };
}

function isWanted(tokens: readonly number[]): boolean {
  if (cursor.kind === 'producer-snapshot') return false;
  if (tokens.length === 0) return true;
  const { buffer, filterStart, payloadStart } = cursor;
  return tokens.some((token) => filterMatches(buffer, token, filterStart, payloadStart));
}
