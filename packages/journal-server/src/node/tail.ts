import type { TimerWheel, WheelTimer } from '@robustmq/core';
import { Isolation, type TailOpen } from '@robustmq/rpc';
import type { Replica, ReplicaFollower } from './replica.ts';

/** Looks at a tail in its turn. */
export interface TailScheduler {
  makeReady(tail: Tail): void;
}

/** One tail of a stream: a position, and no frames. What it lacks it reads from the replica. */
export class Tail implements ReplicaFollower {
  readonly tailId: number;
  readonly replica: Replica;
  readonly tokens: readonly number[];
  readonly isReadCommitted: boolean;
  /** Everything before it was sent or did not match. */
  position: number;
  /** What the client was last told of its position; undefined before the first piece. */
  toldPosition: number | undefined;
  toldHighWatermark = -1;
  /** It stands in the stream's list. */
  isReady = false;
  /** A read from the disk runs. */
  isReading = false;
  isOver = false;
  readonly #scheduler: TailScheduler;
  #timer: WheelTimer | undefined;

  constructor(open: TailOpen, replica: Replica, scheduler: TailScheduler) {
    this.tailId = open.tailId;
    this.replica = replica;
    this.tokens = open.filterTokens;
    this.isReadCommitted = open.isolation === Isolation.READ_COMMITTED;
    this.position = open.fromOffset;
    this.#scheduler = scheduler;
    replica.followers.add(this);
  }

  replicaChanged(): void {
    this.makeReady();
  }

  /** It is looked at in this turn or the next. */
  makeReady(): void {
    if (this.isReady || this.isReading || this.isOver) return;
    this.isReady = true;
    this.#scheduler.makeReady(this);
  }

  lookAgain(wheel: TimerWheel, delayMs: number): void {
    this.#timer ??= wheel.timer(() => this.makeReady());
    this.#timer.set(delayMs);
  }

  end(): void {
    this.isOver = true;
    this.replica.followers.delete(this);
    this.#timer?.cancel();
  }
}
