import type { CancelTimer, Clock } from '@robustmq/core';

import { topicMatches } from '../codec/topic.ts';
import type { LiveSession } from '../delivery/live-session.ts';
import type { LiveSubscription } from '../delivery/live-subscription.ts';
import type { SystemPublisher } from './system-publisher.ts';
import type { SystemValues } from './system-values.ts';

/** The values below `$SYS/` (DESIGN.md, "What the broker tells"). */
export class SystemTopics implements Disposable {
  readonly #publisher: SystemPublisher;
  readonly #values: SystemValues;
  readonly #clock: Clock;
  /** 0: there are none. */
  readonly #intervalMs: number;
  /** What was sent last, by topic: what has not changed is not sent again. */
  #sent = new Map<string, string>();
  #cancel: CancelTimer = () => {};

  constructor(options: {
    publisher: SystemPublisher;
    values: SystemValues;
    clock: Clock;
    intervalMs: number;
  }) {
    this.#publisher = options.publisher;
    this.#values = options.values;
    this.#clock = options.clock;
    this.#intervalMs = options.intervalMs;
    if (this.#intervalMs > 0) this.#schedule();
  }

  /** Gives a new subscription all values that it matches. */
  answer(session: LiveSession, subscription: LiveSubscription): void {
    if (this.#intervalMs === 0) return;
    const { filter } = subscription.stored;
    for (const [topic, value] of this.#values.read()) {
      if (topicMatches(filter, topic)) this.#publisher.answer(session, subscription, topic, value);
    }
  }

  [Symbol.dispose](): void {
    this.#cancel();
  }

  #schedule(): void {
    this.#cancel = this.#clock.setTimer(this.#intervalMs, () => {
      this.#values.sample();
      this.#publish();
      this.#schedule();
    });
  }

  #publish(): void {
    if (!this.#publisher.heard) {
      this.#sent = new Map();
      return;
    }
    for (const [topic, value] of this.#values.read()) {
      if (this.#sent.get(topic) === value) continue;
      this.#sent.set(topic, value);
      this.#publisher.publish(topic, value, true);
    }
  }
}
