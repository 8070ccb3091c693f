/** No timeout is ever longer than this, in ms, whatever a node tells of its event loop. */
const timeoutMaxMs = 10_000;
/** A false alarm doubles a timeout, but adds no more than this, in ms: writers wait for that, too. */
const addedMaxMs = 1_000;
/** What a false alarm has changed is taken back after so long without another one, in ms. */
const calmMs = 60_000;

/**
 * How much longer than configured one node is waited for. A false alarm makes it longer, calm takes that
 * back; while the node's event loop lags, as much is added, since it can send and count nothing meanwhile.
 */
export class Patience {
  #isRestless = false;
  #alarmMs = 0;
  /** How late the node's event loop was when it last told. */
  lagMs = 0;

  /** Whether there was a false alarm lately. */
  get isRestless(): boolean {
    return this.#isRestless;
  }

  /** A timeout of `ms` as it counts for this node. */
  stretched(ms: number): number {
    const addedMs = this.#isRestless ? Math.min(ms, addedMaxMs) : 0;
    return Math.min(timeoutMaxMs, ms + addedMs + this.lagMs);
  }

  /** The node was given up and was there all the time. */
  falseAlarm(nowMs: number): void {
    this.#isRestless = true;
    this.#alarmMs = nowMs;
  }

  /** Called now and then while all is well. */
  calm(nowMs: number): void {
    if (nowMs - this.#alarmMs >= calmMs) this.#isRestless = false;
  }
}
