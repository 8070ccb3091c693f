import { toOperatingError } from '@robustmq/core';

import type { BrokerContext } from '../connection/broker-context.ts';
import type { LiveSession } from '../delivery/live-session.ts';
import type { LiveSubscription } from '../delivery/live-subscription.ts';
import type { RetainedMessage, ShardPosition } from '../session/session-gateway.ts';
import type { ClientPace } from './replay-pace.ts';

/** A subscription that wants the retained messages. */
export interface Replay {
  readonly subscription: LiveSubscription;
  /** Where it begins: a retained message at or above comes on the live path. */
  readonly starts: readonly ShardPosition[];
}

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
      if (!this.#session.ended) await this.#replay(filter, replay);
    }
    done();
  }

  async #replay(filter: string, { subscription, starts }: Replay): Promise<void> {
    const { retained, logger } = this.#context;
    const startOf = new Map(starts.map((start) => [start.shardId, start.offset]));
    const isBefore = ({ shardId, offset }: RetainedMessage): boolean =>
      offset < (startOf.get(shardId) ?? Number.POSITIVE_INFINITY);
    try {
      const error = await retained.lookup(filter, starts, async (messages) => {
        for (const message of messages) {
          // All of them come again.
          if (this.#waiting.has(filter) || this.#session.ended) return;
          if (!isBefore(message)) continue;
          await this.#pace.take();
          await this.#session.deliverRetained(subscription, message);
        }
      });
      if (error !== undefined) throw error;
    } catch (thrown) {
      const error = toOperatingError(thrown);
      const { clientId } = this.#session.grant;
      logger.warn({ clientId, filter, code: error.code }, `retained messages: ${error.message}`);
    }
  }
}
