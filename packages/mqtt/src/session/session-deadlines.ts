import type { Clock } from '@robustmq/core';
import type { CoordinatorContext, MachineTimer } from '@robustmq/kernel';
import type { MqttDisconnected } from '@robustmq/rpc';

interface Deadline {
  readonly timer: MachineTimer;
  /** On the monotonic clock; infinite when there is none. */
  readonly willMs: number;
  readonly expiryMs: number;
}

/** How long an unmet deadline waits before it is tried again. */
const retryMs = 1000;

/** Called when a deadline has passed, never before. */
export type DeadlineListener = (
  clientId: string,
  due: { readonly willDue: boolean; readonly expired: boolean },
) => void;

/**
 * The deadlines of disconnected sessions. They are stored as wall-clock times, so that another broker
 * can take them over, and are waited for on the monotonic clock, so that a wall clock that jumps
 * moves none of them while their coordinator stays.
 */
export class SessionDeadlines {
  readonly #clock: Clock;
  readonly #context: Pick<CoordinatorContext, 'timer'>;
  readonly #due: DeadlineListener;
  readonly #deadlines = new Map<string, Deadline>();

  constructor(context: Pick<CoordinatorContext, 'timer' | 'clock'>, due: DeadlineListener) {
    this.#clock = context.clock;
    this.#context = context;
    this.#due = due;
  }

  /** Begins to wait, or waits for something else. */
  set(clientId: string, disconnected: MqttDisconnected): void {
    this.clear(clientId);
    const { willAtMs, expiresAtMs } = disconnected;
    if (willAtMs === undefined && expiresAtMs === undefined) return;
    const willMs = this.#monotonic(disconnected, willAtMs);
    const expiryMs = this.#monotonic(disconnected, expiresAtMs);
    const timer = this.#context.timer(() => this.#fire(clientId));
    this.#deadlines.set(clientId, { timer, willMs, expiryMs });
    timer.set(Math.min(willMs, expiryMs) - this.#clock.monotonicMs());
  }

  /** The deadline could not be met: the listener is called again in a while. */
  retry(clientId: string): void {
    this.#deadlines.get(clientId)?.timer.set(retryMs);
  }

  clear(clientId: string): void {
    this.#deadlines.get(clientId)?.timer.cancel();
    this.#deadlines.delete(clientId);
  }

  /** A wall clock that has gone back since must not make it longer than it was. */
  #monotonic({ atMs }: MqttDisconnected, deadlineMs: number | undefined): number {
    if (deadlineMs === undefined) return Number.POSITIVE_INFINITY;
    const leftMs = deadlineMs - Math.max(atMs, this.#clock.wallMs());
    return this.#clock.monotonicMs() + Math.max(0, leftMs);
  }

  #fire(clientId: string): void {
    const deadline = this.#deadlines.get(clientId);
    if (deadline === undefined) return;
    const nowMs = this.#clock.monotonicMs();
    this.#due(clientId, { willDue: nowMs >= deadline.willMs, expired: nowMs >= deadline.expiryMs });
  }
}
