import type { BatchFacts } from './batch-facts.ts';

/** When an append is answered (docs/journal.md, section 2.4). It never changes when it is committed. */
export type AckLevel = 'none' | 'leader' | 'quorum' | 'all';

/** A batch on its way into the log. The core sets the mutable fields; the shell owns the rest. */
export interface PendingAppend {
  readonly facts: BatchFacts;
  readonly ackLevel: AckLevel;
  /** Epoch of the segment that the client means; 0 for whichever is open. */
  readonly expectedEpoch: number;
  /** Offset of its first record, once written or found to be a duplicate. */
  baseOffset: number;
  /** Time of the append on the leader's clock, once written or found to be a duplicate. */
  appendTimeMs: number;
  isDuplicate: boolean;
  /** Records of the log up to its end, relative to the segment's base. */
  endLength: number;
  /** While it is early: when to stop waiting for the batches before it, on the monotonic clock. */
  heldUntilMs: number;
}
