/** A report counts so long, in ms: brokers repeat it each second as long as it holds. */
const countsMs = 3_000;
/** A journal that was moved away from leads nothing new for so long, in ms: nobody asks it meanwhile. */
const avoidedMs = 30_000;

/** Which journals brokers get no answer from (DESIGN.md, Reach). Pure: time comes in. */
export class BrokerReports {
  /** By journal: when each broker reported it last. */
  readonly #reports = new Map<string, Map<string, number>>();
  /** When each journal was found lost last. */
  readonly #lostMs = new Map<string, number>();

  /** A broker gets no answer from a journal. */
  report(journalId: string, brokerId: string, nowMs: number): void {
    const reports = this.#reports.get(journalId) ?? new Map<string, number>();
    this.#reports.set(journalId, reports.set(brokerId, nowMs));
  }

  /** Whether any report of the journal may count. */
  isReported(journalId: string): boolean {
    return this.#reports.has(journalId);
  }

  /** Whether at least half of these brokers say now that they get no answer from the journal. */
  isLost(journalId: string, brokerIds: readonly string[], nowMs: number): boolean {
    const reports = this.#reports.get(journalId);
    if (reports === undefined) return false;
    for (const [brokerId, atMs] of reports) {
      if (nowMs - atMs >= countsMs) reports.delete(brokerId);
    }
    if (reports.size === 0) this.#reports.delete(journalId);
    const telling = brokerIds.filter((brokerId) => reports.has(brokerId)).length;
    const isLost = telling > 0 && 2 * telling >= brokerIds.length;
    if (isLost) this.#lostMs.set(journalId, nowMs);
    return isLost;
  }

  /** Whether it was lost lately. */
  isAvoided(journalId: string, nowMs: number): boolean {
    return nowMs - (this.#lostMs.get(journalId) ?? Number.NEGATIVE_INFINITY) < avoidedMs;
  }

  /** It was started anew, or is gone. */
  forget(journalId: string): void {
    this.#reports.delete(journalId);
    this.#lostMs.delete(journalId);
  }
}
