import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { CancelTimer, Clock } from './clock.ts';
import { TimerWheel } from './timer-wheel.ts';

/** A clock that stands still until it is moved, and counts the timers that are set. */
class ManualClock implements Clock {
  nowMs = 12_345.5;
  readonly pending = new Set<{ dueMs: number; fire: () => void }>();

  wallMs(): number {
    return this.nowMs;
  }

  monotonicMs(): number {
    return this.nowMs;
  }

  setTimer(delayMs: number, fire: () => void): CancelTimer {
    const timer = { dueMs: this.nowMs + delayMs, fire };
    this.pending.add(timer);
    return () => this.pending.delete(timer);
  }

  /** Moves on by `ms`, from timer to timer; `late`: in one leap, with the timers after it. */
  advance(ms: number, late = false): void {
    const endMs = this.nowMs + ms;
    if (late) this.nowMs = endMs;
    for (;;) {
      const next = [...this.pending].sort((a, b) => a.dueMs - b.dueMs)[0];
      if (next === undefined || next.dueMs > endMs) break;
      this.pending.delete(next);
      this.nowMs = Math.max(this.nowMs, next.dueMs);
      next.fire();
    }
    this.nowMs = endMs;
  }
}

const day = 86_400_000;

describe('TimerWheel', () => {
  it('fires never early and at most a tick late, from a millisecond to months', () => {
    const delay = fc.oneof(
      fc.integer({ min: 0, max: 3000 }),
      fc.integer({ min: 0, max: 90 * day }),
    );
    fc.assert(
      fc.property(fc.array(delay, { minLength: 1, maxLength: 30 }), (delays) => {
        const clock = new ManualClock();
        const wheel = new TimerWheel(clock, 10);
        const startMs = clock.nowMs;
        const firedMs: number[] = [];
        for (const [i, delayMs] of delays.entries()) {
          wheel.timer(() => (firedMs[i] = clock.nowMs - startMs)).set(delayMs);
        }
        clock.advance(91 * day);
        for (const [i, delayMs] of delays.entries()) {
          expect(firedMs[i]).toBeGreaterThanOrEqual(delayMs);
          expect(firedMs[i]).toBeLessThanOrEqual(delayMs + 20);
        }
        expect(wheel.size).toBe(0);
        expect(clock.pending.size).toBe(0);
      }),
      { numRuns: 60 },
    );
  });

  it('agrees with a plain list over random settings, moves, cancellations and leaps', () => {
    const step = fc.oneof(
      fc.record({
        kind: fc.constant('set' as const),
        timer: fc.nat(5),
        ms: fc.oneof(fc.nat(200), fc.nat(100_000), fc.nat(20 * day)),
      }),
      fc.record({ kind: fc.constant('cancel' as const), timer: fc.nat(5), ms: fc.constant(0) }),
      fc.record({
        kind: fc.constantFrom('advance' as const, 'leap' as const),
        timer: fc.constant(0),
        ms: fc.oneof(fc.nat(100), fc.nat(50_000), fc.nat(15 * day)),
      }),
    );
    fc.assert(
      fc.property(fc.array(step, { maxLength: 40 }), (steps) => {
        const clock = new ManualClock();
        const wheel = new TimerWheel(clock, 10);
        const dueMs = new Map<number, number>();
        const timers = Array.from({ length: 6 }, (_, i) =>
          wheel.timer(() => {
            expect(dueMs.get(i)).toBeLessThanOrEqual(clock.nowMs);
            dueMs.delete(i);
          }),
        );
        for (const { kind, timer, ms } of steps) {
          if (kind === 'set') {
            timers[timer]?.set(ms);
            dueMs.set(timer, clock.nowMs + ms);
          } else if (kind === 'cancel') {
            timers[timer]?.cancel();
            dueMs.delete(timer);
          } else {
            clock.advance(ms, kind === 'leap');
            for (const due of dueMs.values()) expect(due).toBeGreaterThan(clock.nowMs - 20);
          }
          expect(wheel.size).toBe(dueMs.size);
          for (const [i, each] of timers.entries()) expect(each.isSet).toBe(dueMs.has(i));
        }
      }),
      { numRuns: 200 },
    );
  });

  it('keeps one timer of the clock for any number of deadlines, and none for none', () => {
    const clock = new ManualClock();
    const wheel = new TimerWheel(clock);
    const timers = Array.from({ length: 1000 }, () => wheel.timer(() => {}));
    for (const [i, timer] of timers.entries()) timer.set(1000 - i);
    expect(clock.pending.size).toBe(1);
    for (const timer of timers) timer.cancel();
    expect(clock.pending.size).toBe(0);
  });

  it('forgets all timers when it is cleared', () => {
    const clock = new ManualClock();
    const wheel = new TimerWheel(clock);
    const timers = [1, 1000, day].map((delayMs) => {
      const timer = wheel.timer(() => expect.unreachable());
      timer.set(delayMs);
      return timer;
    });
    wheel.clear();
    expect(wheel.size).toBe(0);
    expect(clock.pending.size).toBe(0);
    expect(timers.map((timer) => timer.isSet)).toEqual([false, false, false]);
    clock.advance(2 * day);
  });

  it('lets a timer set itself and cancel others while it fires', () => {
    const clock = new ManualClock();
    const wheel = new TimerWheel(clock);
    let fired = 0;
    const other = wheel.timer(() => expect.unreachable());
    const self = wheel.timer(() => {
      fired++;
      other.cancel();
      if (fired < 5) self.set(0);
    });
    other.set(50);
    self.set(50);
    clock.advance(1000);
    expect(fired).toBe(5);
  });
});
