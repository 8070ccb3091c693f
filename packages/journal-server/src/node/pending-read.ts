import type { TimerWheel, WheelTimer } from '@robustmq/core';
import { Isolation, type ReadRequest } from '@robustmq/rpc';
import type { Replica, ReplicaFollower } from './replica.ts';

/** Looks at a read in its turn. */
export interface ReadScheduler {
  makeReady(read: PendingRead): void;
}

/** A read that has no answer yet. */
export class PendingRead implements ReplicaFollower {
  readonly request: ReadRequest;
  readonly replica: Replica;
  readonly isReadCommitted: boolean;
  /** Everything before it was looked at. */
  position: number;
  scannedBytes = 0;
  /** On the monotonic clock; undefined until it first has to wait. */
  deadlineMs: number | undefined;
  /** It stands in the stream's list. */
  isReady = false;
  isOver = false;
  readonly #scheduler: ReadScheduler;
  #timer: WheelTimer | undefined;

  constructor(request: ReadRequest, replica: Replica, scheduler: ReadScheduler) {
    this.request = request;
    this.replica = replica;
    this.isReadCommitted = request.isolation === Isolation.READ_COMMITTED;
    this.position = request.fromOffset;
    this.#scheduler = scheduler;
  }

  replicaChanged(): void {
    this.makeReady();
  }

  /** It is looked at in this turn or the next. */
  makeReady(): void {
    if (this.isReady || this.isOver) return;
    this.isReady = true;
    this.#stopWaiting();
    this.#scheduler.makeReady(this);
  }

  /** Until the replica changes, or so long. */
  wait(wheel: TimerWheel, delayMs: number): void {
    this.replica.followers.add(this);
    this.#timer ??= wheel.timer(() => this.makeReady());
    this.#timer.set(delayMs);
  }

  /** It was answered or withdrawn. */
  end(): void {
    this.isOver = true;
    this.#stopWaiting();
  }

  #stopWaiting(): void {
    this.replica.followers.delete(this);
    this.#timer?.cancel();
  }
}
