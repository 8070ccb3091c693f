import { OperatingError, type Offset, offset } from '@robustmq/core';
import type { CatchUpCursor } from '@robustmq/kernel';

/**
 * A partition on which a session is behind the live path: it reads on by itself from `position`.
 * Invariant: everything below `position` was delivered, did not match, or is in the window.
 */
export class Lag {
  readonly cursor: CatchUpCursor;
  /** First offset that the session has not taken. */
  position: Offset;
  reading = false;
  /** The last read ended within what it got: there was no room. */
  stopped = false;
  /**
   * Set when there was nothing more to read: live records from here on are the session's. What the
   * live path still has to pass below it was taken already.
   */
  joinAt: Offset | undefined;
  /** Records that would go out at QoS 0 and are older were missed while offline: passed over. */
  readonly qos0From: Offset;

  constructor(cursor: CatchUpCursor, qos0From: Offset) {
    this.cursor = cursor;
    this.position = cursor.position;
    this.qos0From = qos0From;
  }

  /** Where reading can go on after it failed with `thrown`; undefined when it cannot. */
  lost(thrown: unknown): Offset | undefined {
    if (!(thrown instanceof OperatingError) || thrown.code !== 'OFFSET_OUT_OF_RANGE')
      return undefined;
    const { earliestOffset } = thrown.hint;
    return earliestOffset === undefined || earliestOffset <= this.position
      ? undefined
      : offset(earliestOffset);
  }
}
