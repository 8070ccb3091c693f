import { OperatingError } from '@robustmq/core';
import type { SimProcess } from './sim-process.ts';

const renewEachMs = 500;

/** The right to decide of one life of a process, as a lease in the store that the processes share. */
export class SimLease {
  readonly process: SimProcess;
  readonly #life: number;
  readonly #lost = new AbortController();
  renewedMs: number;
  released = false;

  constructor(process: SimProcess) {
    this.process = process;
    this.#life = process.life;
    this.renewedMs = process.world.nowMs;
  }

  get lost(): AbortSignal {
    return this.#lost.signal;
  }

  get isAlive(): boolean {
    return this.process.isAlive && this.process.life === this.#life;
  }

  lose(reason: string): void {
    this.#lost.abort(new OperatingError('UNAVAILABLE', reason));
  }
}

/** Who decides. With `leaseMs` 0, as with one process that owns the store, the next one may at once. */
export class LeaderSeat {
  readonly #leaseMs: number;
  /** How often the answer to a transaction is lost. */
  readonly lostAnswers: number;
  #lease: SimLease | undefined;

  constructor(leaseMs: number, lostAnswers: number) {
    this.#leaseMs = leaseMs;
    this.lostAnswers = lostAnswers;
  }

  /** Where the one that decides is reached; undefined: nobody does. */
  get holder(): string | undefined {
    return this.#lease?.process.name;
  }

  /** Undefined while somebody else may have it. */
  take(process: SimProcess): SimLease | undefined {
    const lease = this.#lease;
    if (lease !== undefined && !this.#isOver(lease)) return undefined;
    const taken = new SimLease(process);
    this.#lease = taken;
    this.#renew(taken);
    return taken;
  }

  /** Whether a transaction of that lease may still be done; it is lost if not. */
  holds(lease: SimLease): boolean {
    if (this.#lease === lease && !lease.released && !lease.lost.aborted) return true;
    lease.lose('another placement server decides');
    return false;
  }

  #isOver(lease: SimLease): boolean {
    if (lease.released) return true;
    if (this.#leaseMs === 0) return !lease.isAlive;
    return lease.process.world.nowMs - lease.renewedMs > this.#leaseMs;
  }

  #renew(lease: SimLease): void {
    lease.process.schedule(renewEachMs, 'lease', () => {
      if (!this.holds(lease)) return;
      lease.renewedMs = lease.process.world.nowMs;
      this.#renew(lease);
    });
  }
}
