/** Until when each node is believed to live. Pure: time comes in. */
export class LeaseTable {
  readonly #leaseMs: number;
  readonly #passEachMs: number;
  readonly #deadlines = new Map<string, number>();
  #lastPassMs: number | undefined;

  /**
   * @param leaseMs How long a renewal counts.
   * @param passEachMs How often {@link LeaseTable.pass} is meant to be called.
   */
  constructor(leaseMs: number, passEachMs: number) {
    this.#leaseMs = leaseMs;
    this.#passEachMs = passEachMs;
  }

  /** Grants the full time from now. */
  renew(nodeId: string, nowMs: number): void {
    this.#deadlines.set(nodeId, nowMs + this.#leaseMs);
  }

  /** Ends a lease; it is not reported as expired. */
  end(nodeId: string): void {
    this.#deadlines.delete(nodeId);
  }

  has(nodeId: string): boolean {
    return this.#deadlines.has(nodeId);
  }

  /**
   * Ends the leases that have run out, and names their nodes. A pass that comes late by d first adds d
   * to every deadline: while this process did not run, it could not hear renewals either.
   */
  pass(nowMs: number): string[] {
    const dueMs = (this.#lastPassMs ?? nowMs) + this.#passEachMs;
    const lateMs = this.#lastPassMs === undefined ? 0 : Math.max(0, nowMs - dueMs);
    this.#lastPassMs = nowMs;
    const expired: string[] = [];
    for (const [nodeId, deadlineMs] of this.#deadlines) {
      const extendedMs = deadlineMs + lateMs;
      if (extendedMs > nowMs) {
        if (lateMs > 0) this.#deadlines.set(nodeId, extendedMs);
        continue;
      }
      this.#deadlines.delete(nodeId);
      expired.push(nodeId);
    }
    return expired;
  }
}
