import type { Clock } from '@robustmq/core';

import { ExpiringMap } from '../expiring-map.ts';
import { boundedKey } from './bounded-key.ts';
import { FailureCounts } from './failure-counts.ts';

export interface FlappingGuardOptions {
  readonly windowMs: number;
  /** Ends of connections of one client id. */
  readonly endsMax: number;
  readonly lockMs: number;
  readonly keysMax: number;
}

export const flappingGuardDefault: FlappingGuardOptions = {
  windowMs: 60_000,
  endsMax: 15,
  lockMs: 300_000,
  keysMax: 100_000,
};

/** Locks out client ids that come and go all the time: two clients that share one, or one that is broken. */
export class FlappingGuard {
  readonly #options: FlappingGuardOptions;
  readonly #clock: Clock;
  readonly #ends: FailureCounts;
  readonly #locks: ExpiringMap<true>;
  /** Locks that were set. */
  locked = 0;

  constructor(clock: Clock, options: Partial<FlappingGuardOptions> = {}) {
    this.#options = { ...flappingGuardDefault, ...options };
    const { windowMs, keysMax } = this.#options;
    this.#clock = clock;
    this.#ends = new FailureCounts(windowMs, keysMax);
    this.#locks = new ExpiringMap(clock, keysMax);
  }

  get evicted(): number {
    return this.#ends.evicted + this.#locks.evicted;
  }

  /** Why a client is not let in; undefined: it is. */
  lockOf(clientId: string): string | undefined {
    if (this.#locks.get(boundedKey(clientId)) === undefined) return undefined;
    const { endsMax, windowMs } = this.#options;
    return `client id ${JSON.stringify(clientId.slice(0, 64))} has ended ${endsMax} connections within ${windowMs / 1000} s`;
  }

  /** A connection has ended. */
  ended(clientId: string): void {
    const key = boundedKey(clientId);
    if (this.#ends.add(key, this.#clock.monotonicMs()) < this.#options.endsMax) return;
    this.#ends.forget(key);
    this.locked++;
    this.#locks.set(key, true, this.#options.lockMs);
  }
}
