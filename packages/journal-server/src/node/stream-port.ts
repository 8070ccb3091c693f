import type { Clock, OperatingError, TimerWheel } from '@robustmq/core';
import type { Flusher } from './flusher.ts';
import type { FrameReader } from './frame-reader.ts';
import type { JournalCounters } from './journal-counters.ts';
import type { JournalLimits } from './journal-limits.ts';
import type { Replica } from './replica.ts';

/** What Read and Tail streams need of their node. */
export interface ReaderPort {
  readonly limits: JournalLimits;
  readonly flusher: Flusher;
  readonly counters: JournalCounters;
  readonly reader: FrameReader;
  readonly clock: Clock;
  readonly wheel: TimerWheel;
  /**
   * The replica that holds an offset, of a segment with this epoch or a higher one. Throws
   * OFFSET_OUT_OF_RANGE or SEGMENT_UNKNOWN.
   */
  locate(shardId: number, offset: number, expectedEpoch: number): Replica;
  /** OFFSET_OUT_OF_RANGE for an offset behind the log, with the first one that can be read. */
  outOfRange(replica: Replica, offset: number): OperatingError;
  /** NOT_LEADER with a hint where the shard is led. */
  notLeader(shardId: number): OperatingError;
}

/** A reader that an open transaction of another segment stops looks again after so long. */
export const blockedRetryMs = 100;
