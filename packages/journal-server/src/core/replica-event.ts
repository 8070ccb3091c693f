import type { OperatingError } from '@robustmq/core';
import type { PendingAppend } from './pending-append.ts';
import type { ProducerState } from './producer-state.ts';

/** What happens to a replica. */
export type ReplicaEvent =
  /** Placement has made it the leader; `producers` is the state at `baseOffset`. */
  | {
      readonly kind: 'activate';
      readonly baseOffset: number;
      readonly producers: ProducerState;
    }
  | { readonly kind: 'append'; readonly append: PendingAppend }
  /** The answer to a `write` effect: the frame is in the log, `frameBytes` long. */
  | { readonly kind: 'written'; readonly frameBytes: number }
  /** The answer to a `write` effect: nothing was taken. */
  | { readonly kind: 'writeRefused'; readonly error: OperatingError }
  /** The snapshot that a `write` effect asked for is in the log. */
  | { readonly kind: 'snapshotWritten' }
  | { readonly kind: 'localDurable'; readonly durableLength: number }
  | {
      readonly kind: 'replicateAck';
      readonly replicaIndex: number;
      readonly epoch: number;
      readonly durableLength: number;
    }
  /** Frames of the leader have come. */
  | {
      readonly kind: 'replicate';
      readonly epoch: number;
      readonly baseOffset: number;
      readonly previousLength: number;
      readonly records: number;
    }
  /** The answer to a `store` effect: the log is `length` records long now. Less than asked for is fine. */
  | { readonly kind: 'stored'; readonly length: number; readonly commitLength: number }
  /** A fenced replica has got what it lacked, and is `length` records long now (section 2.7, S4). */
  | { readonly kind: 'recovered'; readonly length: number; readonly baseOffset: number }
  | { readonly kind: 'fence'; readonly epoch: number }
  /** The chain went on without this leader. */
  | { readonly kind: 'close' }
  | { readonly kind: 'freeze' }
  | { readonly kind: 'unfreeze' }
  | { readonly kind: 'sealed'; readonly length: number }
  /** Time has passed: see the `hold` effect. */
  | { readonly kind: 'holdExpired' };

/** What the shell has to do, in this order. */
export type ReplicaEffect =
  /**
   * Encode and store the append at its `baseOffset`, after a producer snapshot if that is due, and
   * answer with `written` or `writeRefused` before anything else.
   */
  | { readonly kind: 'write'; readonly append: PendingAppend; readonly isSnapshotDue: boolean }
  | { readonly kind: 'acknowledge'; readonly append: PendingAppend }
  | { readonly kind: 'refuse'; readonly append: PendingAppend; readonly error: OperatingError }
  /** This replica does not lead: refuse with NOT_LEADER and a hint. Nothing was written. */
  | { readonly kind: 'notLeader'; readonly append: PendingAppend }
  /** The append has waited and nothing was written: give it to the shard's leader, this one or the next. */
  | { readonly kind: 'reroute'; readonly append: PendingAppend }
  /** The append waits: own its bytes. With `untilMs`, come back with `holdExpired` at that time. */
  | {
      readonly kind: 'keep';
      readonly append: PendingAppend;
      readonly untilMs: number | undefined;
    }
  /** More is readable: the commit length or the last stable offset has grown. */
  | { readonly kind: 'readable' }
  /** Frozen, and everything in the log is committed. */
  | { readonly kind: 'drained' }
  /** The replica leads no more, or was sealed: who waits for more has to look elsewhere. */
  | { readonly kind: 'closed' }
  /**
   * A follower: store the frames behind its log, those that are there already aside, and answer with
   * `stored` before anything else.
   */
  | { readonly kind: 'store' }
  /** A follower: answer the leader. */
  | { readonly kind: 'confirm'; readonly durableLength: number }
  | { readonly kind: 'rejectFrames'; readonly error: OperatingError; readonly length: number };
