import type { Clock } from '@robustmq/core';

import { ExpiringMap } from '../expiring-map.ts';
import { boundedKey } from './bounded-key.ts';
import { FailureCounts } from './failure-counts.ts';

export interface LoginGuardOptions {
  readonly windowMs: number;
  /** Failed logins of one user from one address. */
  readonly pairMax: number;
  readonly addressMax: number;
  readonly userMax: number;
  readonly lockMs: number;
  /** How long a user is known to log in from an address. */
  readonly familiarMs: number;
  /** Keys of each kind that are counted, and locks. */
  readonly keysMax: number;
}

export const loginGuardDefault: LoginGuardOptions = {
  windowMs: 60_000,
  pairMax: 10,
  addressMax: 100,
  userMax: 100,
  lockMs: 300_000,
  familiarMs: 3_600_000,
  keysMax: 100_000,
};

/** Locks out who guesses (packages/auth/DESIGN.md, "Guards"). */
export class LoginGuard {
  readonly #options: LoginGuardOptions;
  readonly #clock: Clock;
  readonly #pairs: FailureCounts;
  readonly #addresses: FailureCounts;
  readonly #users: FailureCounts;
  readonly #locks: ExpiringMap<true>;
  readonly #familiar: ExpiringMap<true>;
  /** Locks that were set. */
  locked = 0;

  constructor(clock: Clock, options: Partial<LoginGuardOptions> = {}) {
    this.#options = { ...loginGuardDefault, ...options };
    const { windowMs, keysMax } = this.#options;
    this.#clock = clock;
    this.#pairs = new FailureCounts(windowMs, keysMax);
    this.#addresses = new FailureCounts(windowMs, keysMax);
    this.#users = new FailureCounts(windowMs, keysMax);
    this.#locks = new ExpiringMap(clock, keysMax);
    this.#familiar = new ExpiringMap(clock, keysMax);
  }

  /** Entries that had to go before their time because a table was full. */
  get evicted(): number {
    const counted = [this.#pairs, this.#addresses, this.#users, this.#locks, this.#familiar];
    return counted.reduce((sum, { evicted }) => sum + evicted, 0);
  }

  /** Why a login is not looked at; undefined: it is. */
  lockOf(address: string, userName: string | undefined): string | undefined {
    const user = JSON.stringify(userName?.slice(0, 64));
    if (userName !== undefined) {
      const pair = pairKey(address, userName);
      if (this.#isLocked(pair)) return `too many failed logins of ${user} from ${address}`;
      if (this.#familiar.get(pair) === true) return undefined;
    }
    if (this.#isLocked(addressKey(address))) return `too many failed logins from ${address}`;
    const isLocked = userName !== undefined && this.#isLocked(userKey(userName));
    return isLocked ? `too many failed logins of ${user}` : undefined;
  }

  succeeded(address: string, userName: string): void {
    const pair = pairKey(address, userName);
    this.#pairs.forget(pair);
    this.#familiar.set(pair, true, this.#options.familiarMs);
  }

  failed(address: string, userName: string | undefined): void {
    const { pairMax, addressMax, userMax } = this.#options;
    this.#count(this.#addresses, addressKey(address), addressMax);
    if (userName === undefined) return;
    this.#count(this.#pairs, pairKey(address, userName), pairMax);
    this.#count(this.#users, userKey(userName), userMax);
  }

  #isLocked(key: string): boolean {
    return this.#locks.get(key) === true;
  }

  #count(counts: FailureCounts, key: string, max: number): void {
    if (counts.add(key, this.#clock.monotonicMs()) < max) return;
    counts.forget(key);
    this.locked++;
    this.#locks.set(key, true, this.#options.lockMs);
  }
}

function addressKey(address: string): string {
  return `a ${address}`;
}

function userKey(userName: string): string {
  return `u ${boundedKey(userName)}`;
}

function pairKey(address: string, userName: string): string {
  return `p ${address} ${boundedKey(userName)}`;
}
