import type { Clock } from '@robustmq/core';
import type { Segment } from '@robustmq/rpc';
import type { FenceReply } from '../core/seal-decision.ts';

/** How long the last answers are waited for once there are enough, in ms: more of them cut less. */
const stragglersMs = 300;

/** A segment whose replicas are being fenced, and what they answered. */
export interface FencedSegment {
  readonly segment: Segment;
  readonly replies: FenceReply[];
}

/**
 * The answers to one round of fences. A journal that is asked and hangs holds nobody up: once every segment
 * has as many answers as decide it, the others get a short time more, and what comes later is not looked at,
 * which is as if it had been lost (docs/journal.md 2.7, S3).
 */
export class FenceRound {
  readonly #clock: Clock;
  readonly #segments: readonly FencedSegment[];
  readonly #enough = Promise.withResolvers<void>();
  #isOver = false;

  constructor(clock: Clock, segments: Iterable<FencedSegment>) {
    this.#clock = clock;
    this.#segments = [...segments];
  }

  /** An answer; undefined when the journal gave none. */
  note({ replies }: FencedSegment, reply: FenceReply | undefined): void {
    if (reply !== undefined && !this.#isOver) replies.push(reply);
  }

  /** Called when a journal has answered for all its segments. */
  answered(): void {
    if (this.#segments.every(isDecided)) this.#enough.resolve();
  }

  /** Resolves when `asking` does, or shortly after there are enough answers. */
  async wait(asking: Promise<void>): Promise<void> {
    const late = Promise.withResolvers<void>();
    let cancel = (): void => {};
    const graced = (async () => {
      await this.#enough.promise;
      if (this.#isOver) return;
      cancel = this.#clock.setTimer(stragglersMs, late.resolve);
      await late.promise;
    })();
    await Promise.race([asking, graced]);
    this.#isOver = true;
    this.#enough.resolve();
    cancel();
  }
}

/** As many as find every committed record, and as many as should have it in the end (I10). */
function isDecided({ segment, replies }: FencedSegment): boolean {
  const { replicaNodeIds, ackQuorum } = segment;
  const usable = replies.filter(({ kind }) => kind === 'usable').length;
  return usable >= Math.max(ackQuorum, replicaNodeIds.length - ackQuorum + 1);
}
