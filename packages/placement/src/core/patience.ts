/** No timeout is ever longer than this, in ms, whatever a node has done. */
const timeoutMaxMs = 10_000;
/** After so long without a false alarm timeouts are halved again, down to their configured length. */
const calmMs = 60_000;

/**
 * How much longer than configured one node is waited for. A false alarm doubles it, calm takes it back;
 * while the node's event loop lags, as much is added, since it can send and count nothing meanwhile.
 */
export class Patience {
  #factor = 1;
  #changedAtMs = 0;
  /** How late the node's event loop was when it last told. */
  lagMs = 0;

  /** A timeout of `ms` as it counts for this node. */
  stretched(ms: number): number {
    return Math.min(timeoutMaxMs, ms * this.#factor + this.lagMs);
  }

  /** The node was given up and was there all the time. */
  falseAlarm(nowMs: number): void {
    this.#changedAtMs = nowMs;
    this.#factor *= 2;
  }

  /** Called now and then while all is well. */
  calm(nowMs: number): void {
    if (this.#factor === 1 || nowMs - this.#changedAtMs < calmMs) return;
    this.#changedAtMs = nowMs;
    this.#factor /= 2;
  }
}
