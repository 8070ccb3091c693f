import { OperatingError, type Offset, offset } from '@robustmq/core';
import type { CatchUpCursor } from '@robustmq/kernel';

const readBytesMin = 4096;

/**
 * A partition on which a session is behind the live path: it reads on by itself from `position`.
 * Invariant: everything below `position` was delivered, did not match, or is in the window.
 */
export class Lag {
  readonly cursor: CatchUpCursor;
  /** First offset that the session has not taken. */
  position: Offset;
  /** How long ago the batch that is taken was appended. */
  lateMs = 0;
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
  readonly #readBytesMax: number;
  #readBytes: number;

  constructor(cursor: CatchUpCursor, options: { qos0From: Offset; readBytesMax: number }) {
    this.cursor = cursor;
    this.position = cursor.position;
    this.qos0From = options.qos0From;
    this.#readBytesMax = options.readBytesMax;
    this.#readBytes = options.readBytesMax;
  }

  /** How much to read next: a client with a small window takes a small part of a large read. */
  get readBytes(): number {
    return this.#readBytes;
  }

  /** The read has ended. Everything in front of `nextOffset` was taken, unless it was stopped. */
  ended(nextOffset: Offset): void {
    if (this.stopped) {
      this.#readBytes = Math.max(readBytesMin, this.#readBytes / 2);
    } else {
      this.#readBytes = Math.min(this.#readBytesMax, this.#readBytes * 2);
      if (nextOffset > this.position) this.position = nextOffset;
    }
    this.stopped = false;
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
