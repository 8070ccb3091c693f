/** Cancels a timer made by {@link Clock.setTimer}. Cancelling twice, or after it fired, does nothing. */
export type CancelTimer = () => void;

/** Time as a parameter, so that a whole cluster can run on a virtual clock. */
export interface Clock {
  /** Milliseconds since 1970. May jump: for time stamps and retention only. */
  wallMs(): number;
  /** Milliseconds that never go back: for deadlines and durations. Has a fraction. */
  monotonicMs(): number;
  /** Calls `fire` once, not before `delayMs` milliseconds have passed. */
  setTimer(delayMs: number, fire: () => void): CancelTimer;
}

/** The clock of the machine. `keepAlive: false` lets the process end although a timer is set. */
export function systemClock(): Clock {
  return {
    wallMs: () => Date.now(),
    monotonicMs: () => performance.now(),
    setTimer(delayMs, fire) {
      const timer = setTimeout(fire, Math.max(0, Math.min(delayMs, 0x7fffffff)));
      return () => clearTimeout(timer);
    },
  };
}

/** Resolves after `delayMs` on `clock`; rejects with the signal's reason when aborted. */
export function delay(clock: Clock, delayMs: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    if (signal?.aborted) {
      reject(signal.reason);
      return;
    }
    const onAbort = (): void => {
      cancel();
      reject(signal?.reason);
    };
    const cancel = clock.setTimer(delayMs, () => {
      signal?.removeEventListener('abort', onAbort);
      resolve();
    });
    signal?.addEventListener('abort', onAbort, { once: true });
  });
}
