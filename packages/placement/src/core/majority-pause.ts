/** How long journals are believed to live although most of them look bad, in ms. */
const pauseMs = 10_000;
/**
 * Fewest journals for which "most" means something. When one of one or both of two look bad there is
 * nobody left to seal with: giving them up costs nothing, and says at once what is wrong. One of two is
 * not most.
 */
const journalsMin = 3;

/**
 * When more than half of the journals look bad at once, it is more likely that placement itself is cut
 * off, or that the machine below all of them stands still, than that they all died: nobody is given up
 * for 10 s. Then everybody who still looks bad is, and there is no second pause before most look well
 * again. What is proved (an address that refuses, a new incarnation, an end in order) never waits.
 */
export class MajorityPause {
  #untilMs: number | undefined;

  /** End of the pause, which may be over; undefined while most journals look well. */
  get untilMs(): number | undefined {
    return this.#untilMs;
  }

  /** Whether a journal that was given up then still counts among those that look bad "at once". */
  isRecent(atMs: number, nowMs: number): boolean {
    return nowMs - atMs < pauseMs;
  }

  /** Whether journals are to be kept now. `total` includes those that were given up recently. */
  pass(seen: { total: number; bad: number; isAnyDue: boolean; nowMs: number }): boolean {
    const { total, bad, isAnyDue, nowMs } = seen;
    if (total < journalsMin || 2 * bad <= total) {
      this.#untilMs = undefined;
      return false;
    }
    if (this.#untilMs === undefined && isAnyDue) this.#untilMs = nowMs + pauseMs;
    return this.#untilMs !== undefined && nowMs < this.#untilMs;
  }
}
