import { assert } from '@robustmq/core';

/**
 * The length that is committed: the `ackQuorum`-th largest durable length over all replicas of the
 * set. One that has told nothing yet counts with 0 (docs/journal.md, section 2.3).
 */
export function committedLength(durableLengths: readonly number[], ackQuorum: number): number {
  assert(
    ackQuorum >= 1 && ackQuorum <= durableLengths.length,
    'the ack quorum lies within the replica set',
  );
  if (durableLengths.length === 1) return durableLengths[0] ?? 0;
  const descending = durableLengths.toSorted((left, right) => right - left);
  return descending[ackQuorum - 1] ?? 0;
}
