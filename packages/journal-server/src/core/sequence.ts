/** Sequence numbers of a producer wrap at 2^31 (Kafka: Integer.MAX_VALUE is followed by 0). */
const SEQUENCES = 2 ** 31;

/** The sequence `steps` after `sequence`. */
export function sequenceAfter(sequence: number, steps: number): number {
  return (sequence + steps) % SEQUENCES;
}

/**
 * How far `sequence` is ahead of `expected`: 0 when it is the one, positive ahead, negative behind.
 * Half of the circle lies on each side.
 */
export function sequenceDistance(expected: number, sequence: number): number {
  const ahead = (sequence - expected + SEQUENCES) % SEQUENCES;
  return ahead < SEQUENCES / 2 ? ahead : ahead - SEQUENCES;
}
