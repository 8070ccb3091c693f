const MIB = 1024 * 1024;
/** Slower than this saves nothing. */
const BYTES_PER_SECOND_MIN = MIB;
/** Part of the period in which a pass should be through. */
const PERIOD_SHARE = 0.9;

export interface ScrubPace {
  readonly bytesLeft: number;
  /** Time since the pass began. */
  readonly agedMs: number;
  readonly periodMs: number;
  readonly bytesPerSecondMax: number;
  /** By order: as fast as may be. */
  readonly isOrdered: boolean;
}

/** Bytes in a second with which a pass gets through within its period, and no faster than it may be. */
export function scrubRate(pace: ScrubPace): number {
  const { bytesLeft, agedMs, periodMs, bytesPerSecondMax, isOrdered } = pace;
  const leftMs = periodMs * PERIOD_SHARE - agedMs;
  if (isOrdered || leftMs <= 0) return bytesPerSecondMax;
  const wanted = Math.max(BYTES_PER_SECOND_MIN, (bytesLeft * 1_000) / leftMs);
  return Math.min(wanted, bytesPerSecondMax);
}
