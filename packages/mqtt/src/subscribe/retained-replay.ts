import { delay, toOperatingError } from '@robustmq/core';

import type { BrokerContext } from '../connection/broker-context.ts';
import type { LiveSession } from '../delivery/live-session.ts';
import type { LiveSubscription } from '../delivery/live-subscription.ts';
import type {
  RetainedMessage,
  RetainedPage,
  RetainedPlace,
  ShardPosition,
} from '../session/session-gateway.ts';
import { isSystemFilter } from '../system/system-topic.ts';
import type { ClientPace } from './replay-pace.ts';

/** A subscription that wants the retained messages. */
export interface Replay {
  readonly subscription: LiveSubscription;
  /** Where it begins: a retained message at or above comes on the live path. */
  readonly starts: readonly ShardPosition[];
  /** Where an earlier connection has stopped; undefined: from the beginning. */
  readonly from: RetainedPlace | undefined;
}

/** A page is asked for again so long after it could not be had. */
const retryDelayMs = 1_000;

/**
 * Sends one client the retained messages for its new subscriptions, one subscription after the
 * other. One that is ended meanwhile gets no more. One that is replaced gets the rest, unless the new
 * one wants all of them again: what waits is bounded by the subscriptions.
 */
export class RetainedReplay {
  readonly #context: BrokerContext;
  readonly #session: LiveSession;
  readonly #pace: ClientPace;
  readonly #waiting = new Map<string, Replay>();

  constructor(context: BrokerContext, session: LiveSession) {
    this.#context = context;
    this.#session = session;
    this.#pace = context.replayPace.client();
  }

  /** More, while it runs. */
  add(replays: readonly Replay[]): void {
    for (const replay of replays) this.#waiting.set(replay.subscription.stored.filter, replay);
  }

  /** Sends them, and what is added meanwhile; calls `done` when nothing is left. Never rejects. */
  async run(replays: readonly Replay[], done: () => void): Promise<void> {
    this.add(replays);
    // What is added meanwhile is found by the same walk.
    for (const [filter, replay] of this.#waiting) {
      this.#waiting.delete(filter);
      await this.#replay(filter, replay);
    }
    done();
  }

  async #replay(filter: string, replay: Replay): Promise<void> {
    if (isSystemFilter(filter)) {
      this.#context.system.answer(this.#session, replay.subscription);
      return;
    }
    let { from } = replay;
    do {
      const page = await this.#page(filter, replay.starts, from);
      if (page === undefined || !(await this.#send(filter, replay, page))) return;
      from = page.next;
    } while (from !== undefined);
    if (!this.#isOver(filter, replay.subscription)) this.#session.replayed(filter);
  }

  /** Undefined: nobody waits for it any more. */
  async #page(
    filter: string,
    starts: readonly ShardPosition[],
    from: RetainedPlace | undefined,
  ): Promise<RetainedPage | undefined> {
    const { retained, logger, clock } = this.#context;
    while (!this.#session.ended) {
      const shardIds = this.#session.subscriptions.get(filter)?.shardIds;
      if (shardIds === undefined) return undefined;
      // A topic may have been deleted since.
      const reached = starts.filter(({ shardId }) => shardIds.includes(shardId));
      try {
        return await retained.page(filter, reached, { from, limit: 0 });
      } catch (thrown) {
        const error = toOperatingError(thrown);
        const { clientId } = this.#session.grant;
        logger.warn({ clientId, filter, code: error.code }, `retained messages: ${error.message}`);
        if (!error.retriable) return undefined;
      }
      await delay(clock, retryDelayMs);
    }
    return undefined;
  }

  /** False: it is over. */
  async #send(
    filter: string,
    { subscription, starts }: Replay,
    { coordinator, messages, next }: RetainedPage,
  ): Promise<boolean> {
    const startOf = new Map(starts.map((start) => [start.shardId, start.offset]));
    for (const [index, message] of messages.entries()) {
      const start = startOf.get(message.shardId) ?? Number.POSITIVE_INFINITY;
      if (message.offset >= start) continue;
      await this.#pace.take();
      if (this.#isOver(filter, subscription)) return false;
      const following = placeOf(coordinator, messages[index + 1]) ?? next;
      await this.#session.deliverRetained(subscription, message, following);
    }
    return !this.#isOver(filter, subscription);
  }

  /** The client or the subscription is gone, or all of them come again. */
  #isOver(filter: string, subscription: LiveSubscription): boolean {
    if (this.#session.ended || this.#waiting.has(filter)) return true;
    return this.#session.subscriptions.get(filter)?.goesOnFrom(subscription) !== true;
  }
}

function placeOf(
  coordinator: number,
  message: RetainedMessage | undefined,
): RetainedPlace | undefined {
  return message && { coordinator, shardId: message.shardId, name: message.topic };
}
