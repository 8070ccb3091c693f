/** Somebody who waits for room. */
export interface RoomWaiter {
  /** Calls its listeners if there is room; true when nobody waits any more. */
  wakeIfWritable(): boolean;
}

/** Gathered and unacknowledged bytes of a client, and who waits until there are fewer. */
export class ClientUsage {
  bytes = 0;
  readonly waiting = new Set<RoomWaiter>();

  /** There may be room again. */
  wakeWriters(): void {
    if (this.waiting.size === 0) return;
    const asOfNow = Array.from(this.waiting);
    for (const waiter of asOfNow) {
      if (waiter.wakeIfWritable()) this.waiting.delete(waiter);
    }
  }
}
