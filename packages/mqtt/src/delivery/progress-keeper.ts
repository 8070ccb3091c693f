import {
  type CancelTimer,
  type Clock,
  type Logger,
  toOperatingError,
  TurnTask,
} from '@robustmq/core';

import type { SessionGateway, SessionGrant, SessionProgress } from '../session/session-gateway.ts';

/** A durable session with progress to store. */
export interface ProgressSource {
  readonly grant: SessionGrant;
  readonly ended: boolean;
  /** Its progress now. What waits for being stored, and is in it, may go on at {@link progressStored}. */
  progress(): SessionProgress;
  /** The progress that was asked for last is stored. */
  progressStored(): void;
}

export interface ProgressKeeperOptions {
  readonly gateway: SessionGateway;
  readonly clock: Clock;
  readonly delayMs: number;
  readonly logger: Logger;
  /** The session was taken over: close its connection. */
  readonly fenced: (session: ProgressSource) => void;
}

/**
 * Tells the coordinators how far durable sessions are: at the end of the turn where a packet depends
 * on it, lazily and together for everything else. One call per session at a time, so that packets
 * that wait leave in their order whatever fails; what comes meanwhile goes with the next.
 */
export class ProgressKeeper {
  readonly #options: ProgressKeeperOptions;
  /** Sessions with progress that may wait. */
  #dirty = new Set<ProgressSource>();
  /** Sessions with packets that wait for their progress to be stored. */
  #urgent = new Set<ProgressSource>();
  readonly #storing = new Set<ProgressSource>();
  #cancelTimer: CancelTimer | undefined;
  readonly #turn = new TurnTask(() => this.#storeUrgent());

  constructor(options: ProgressKeeperOptions) {
    this.#options = options;
  }

  /** Stores the session's progress within the delay. */
  later(session: ProgressSource): void {
    this.#dirty.add(session);
    this.#cancelTimer ??= this.#options.clock.setTimer(this.#options.delayMs, this.#storeDirty);
  }

  /** Stores it at the end of this turn, or as soon as what is being stored is. */
  now(session: ProgressSource): void {
    this.#urgent.add(session);
    if (!this.#storing.has(session)) this.#turn.schedule();
  }

  /** The session has ended: nothing more is stored for it. */
  forget(session: ProgressSource): void {
    this.#dirty.delete(session);
    this.#urgent.delete(session);
  }

  /** Stores nothing more. */
  close(): void {
    this.#cancelTimer?.();
    this.#dirty.clear();
    this.#urgent.clear();
  }

  #storeUrgent(): void {
    const urgent = this.#urgent;
    this.#urgent = new Set();
    for (const session of urgent) this.#store(session);
  }

  readonly #storeDirty = (): void => {
    this.#cancelTimer = undefined;
    const dirty = this.#dirty;
    this.#dirty = new Set();
    for (const session of dirty) this.#store(session);
  };

  #store(session: ProgressSource): void {
    if (this.#storing.has(session)) {
      this.#urgent.add(session);
      return;
    }
    this.#dirty.delete(session);
    this.#storing.add(session);
    this.#options.gateway.progress(session.grant, session.progress()).then(
      () => this.#stored(session),
      (thrown: unknown) => this.#failed(session, thrown),
    );
  }

  #stored(session: ProgressSource): void {
    this.#storing.delete(session);
    if (session.ended) return;
    session.progressStored();
    if (this.#urgent.has(session)) this.#turn.schedule();
  }

  #failed(session: ProgressSource, thrown: unknown): void {
    this.#storing.delete(session);
    if (session.ended) return;
    const error = toOperatingError(thrown);
    if (error.code === 'FENCED') {
      this.#options.fenced(session);
      return;
    }
    const { clientId } = session.grant;
    this.#options.logger.warn({ clientId, code: error.code }, error.message);
    // Progress is absolute: the next time says it all.
    this.#urgent.delete(session);
    this.later(session);
  }
}
