import type { CancelTimer, Clock } from '@robustmq/core';

import type { ClientEvents } from './client-events.ts';

/** Why a client did not get a message. */
export type DropReason = 'socket_full' | 'too_large' | 'expired';

const periodMs = 10_000;
const clientsMax = 1_000;

/** Sums up what clients did not get, and tells it by events. Costs nothing while those are not wanted. */
export class DropReports implements Disposable {
  readonly #events: ClientEvents;
  readonly #clock: Clock;
  #counts = new Map<string, Map<DropReason, number>>();
  #sinceMs = 0;
  #cancel: CancelTimer | undefined;

  constructor(events: ClientEvents, clock: Clock) {
    this.#events = events;
    this.#clock = clock;
  }

  count(clientId: string, reason: DropReason): void {
    if (!this.#events.tells('dropped')) return;
    let counts = this.#counts.get(clientId);
    if (counts === undefined) {
      if (this.#counts.size >= clientsMax) return;
      counts = new Map();
      this.#counts.set(clientId, counts);
    }
    counts.set(reason, (counts.get(reason) ?? 0) + 1);
    if (this.#cancel !== undefined) return;
    this.#sinceMs = this.#clock.monotonicMs();
    this.#cancel = this.#clock.setTimer(periodMs, () => this.#report());
  }

  [Symbol.dispose](): void {
    this.#cancel?.();
  }

  /** Telling may drop again, which then counts for the next report. */
  #report(): void {
    const counts = this.#counts;
    this.#counts = new Map();
    this.#cancel = undefined;
    const lastedMs = Math.round(this.#clock.monotonicMs() - this.#sinceMs);
    for (const [clientId, byReason] of counts) {
      for (const [reason, count] of byReason) {
        this.#events.dropped(clientId, reason, count, lastedMs);
      }
    }
  }
}
