import type { CancelTimer, Clock } from '@robustmq/core';

interface Timer {
  readonly dueMs: number;
  readonly order: number;
  readonly fire: () => void;
}

/** Event-loop turns that follow each timer, so that what it started can go on. */
const turnsPerTimer = 8;

/** A clock that stands still until {@link VirtualClock.advance} moves it. */
export class VirtualClock implements Clock {
  readonly #timers = new Set<Timer>();
  readonly #settle: (turns: number) => Promise<void>;
  #nowMs = 0;
  #order = 0;
  #wallOffsetMs: number;

  /**
   * @param wallMs Time since 1970 at which it begins.
   * @param settle Waits until what a timer has started is done or waits for the next, at least so many turns.
   */
  constructor(wallMs = 1_700_000_000_000, settle: (turns: number) => Promise<void> = turns) {
    this.#wallOffsetMs = wallMs;
    this.#settle = settle;
  }

  wallMs(): number {
    return Math.floor(this.#wallOffsetMs + this.#nowMs);
  }

  monotonicMs(): number {
    return this.#nowMs;
  }

  setTimer(delayMs: number, fire: () => void): CancelTimer {
    const timer = { dueMs: this.#nowMs + Math.max(0, delayMs), order: this.#order++, fire };
    this.#timers.add(timer);
    return () => this.#timers.delete(timer);
  }

  /** Number of timers that are set. */
  get pending(): number {
    return this.#timers.size;
  }

  /** Moves the wall clock alone, as an operator or a time server does. */
  jumpWall(byMs: number): void {
    this.#wallOffsetMs += byMs;
  }

  /** Lets `byMs` pass: fires the timers that become due, in order, each after some turns. */
  async advance(byMs: number): Promise<void> {
    const untilMs = this.#nowMs + byMs;
    await this.#settle(turnsPerTimer);
    for (;;) {
      const next = this.#next();
      if (next === undefined || next.dueMs > untilMs) break;
      this.#timers.delete(next);
      this.#nowMs = Math.max(this.#nowMs, next.dueMs);
      next.fire();
      await this.#settle(turnsPerTimer);
    }
    this.#nowMs = untilMs;
    await this.#settle(turnsPerTimer);
  }

  /** Lets `byMs` pass at once, as after a long pause: the timers that are due then fire late. */
  async skip(byMs: number): Promise<void> {
    this.#nowMs += byMs;
    await this.advance(0);
  }

  #next(): Timer | undefined {
    let next: Timer | undefined;
    for (const timer of this.#timers) {
      if (
        next === undefined ||
        timer.dueMs < next.dueMs ||
        (timer.dueMs === next.dueMs && timer.order < next.order)
      ) {
        next = timer;
      }
    }
    return next;
  }
}

/** Waits for so many turns of the event loop. */
export async function turns(count: number): Promise<void> {
  for (let at = 0; at < count; at++) await new Promise((resolve) => setImmediate(resolve));
}
