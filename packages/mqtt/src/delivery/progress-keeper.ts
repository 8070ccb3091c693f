import { type Clock, type Logger, toOperatingError, TurnTask } from '@robustmq/core';

import type { SessionGateway } from '../session/session-gateway.ts';
import type { LiveSession } from './live-session.ts';

/**
 * Tells the coordinators how far durable sessions are: at the end of the turn where a packet depends
 * on it, lazily and together for everything else.
 */
export class ProgressKeeper {
  readonly #gateway: SessionGateway;
  readonly #clock: Clock;
  readonly #delayMs: number;
  readonly #logger: Logger;
  readonly #fenced: (session: LiveSession) => void;
  /** Sessions with progress that may wait. */
  #dirty = new Set<LiveSession>();
  /** Sessions with packets that wait for their progress to be stored. */
  #urgent = new Map<LiveSession, (() => void)[]>();
  #timerSet = false;
  readonly #turn = new TurnTask(() => this.#storeUrgent());

  constructor(options: {
    gateway: SessionGateway;
    clock: Clock;
    delayMs: number;
    logger: Logger;
    /** The session was taken over: close its connection. */
    fenced: (session: LiveSession) => void;
  }) {
    this.#gateway = options.gateway;
    this.#clock = options.clock;
    this.#delayMs = options.delayMs;
    this.#logger = options.logger;
    this.#fenced = options.fenced;
  }

  /** Stores the session's progress within the delay. */
  later(session: LiveSession): void {
    this.#dirty.add(session);
    if (this.#timerSet) return;
    this.#timerSet = true;
    this.#clock.setTimer(this.#delayMs, () => {
      this.#timerSet = false;
      const sessions = this.#dirty;
      this.#dirty = new Set();
      for (const dirty of sessions) this.#store(dirty, []);
    });
  }

  /** Stores it at the end of this turn, then calls `stored`. */
  now(session: LiveSession, stored: () => void): void {
    const waiting = this.#urgent.get(session);
    if (waiting === undefined) this.#urgent.set(session, [stored]);
    else waiting.push(stored);
    this.#turn.schedule();
  }

  /** The session has ended: what waits for it is dropped. */
  forget(session: LiveSession): void {
    this.#dirty.delete(session);
    this.#urgent.delete(session);
  }

  #storeUrgent(): void {
    const urgent = this.#urgent;
    this.#urgent = new Map();
    for (const [session, waiting] of urgent) {
      this.#dirty.delete(session);
      this.#store(session, waiting);
    }
  }

  #store(session: LiveSession, waiting: readonly (() => void)[]): void {
    this.#gateway.progress(session.grant, session.progress()).then(
      () => this.#stored(session, waiting),
      (thrown: unknown) => this.#failed(session, waiting, thrown),
    );
  }

  #stored(session: LiveSession, waiting: readonly (() => void)[]): void {
    if (session.ended) return;
    for (const stored of waiting) stored();
  }

  #failed(session: LiveSession, waiting: readonly (() => void)[], thrown: unknown): void {
    if (session.ended) return;
    const error = toOperatingError(thrown);
    if (error.code === 'FENCED') {
      this.#fenced(session);
      return;
    }
    this.#logger.warn({ clientId: session.grant.clientId, code: error.code }, error.message);
    // Absolute, so that the next one says it all: what waits goes with it.
    this.later(session);
    for (const stored of waiting) this.now(session, stored);
  }
}
