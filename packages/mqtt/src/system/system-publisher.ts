import type { Subscription } from '../codec/subscription-trie.ts';
import type { LiveReaders } from '../delivery/live-readers.ts';
import type { LiveSession } from '../delivery/live-session.ts';
import type { LiveSubscription } from '../delivery/live-subscription.ts';
import { targetsOf } from '../delivery/match-table.ts';

/** Sends what stands in no log to the subscribers of this broker, at QoS 0. */
export class SystemPublisher {
  readonly #readers: LiveReaders;
  readonly #found: Subscription<LiveSession, LiveSubscription>[] = [];

  constructor(readers: LiveReaders) {
    this.#readers = readers;
  }

  /** Whether anybody may want something. */
  get heard(): boolean {
    return this.#readers.systemTrie.size > 0;
  }

  /** Whether anybody wants this topic who may see it. */
  isWanted(topic: string): boolean {
    const found = this.#readers.systemTrie.match(topic, this.#found);
    const isFound = found.some(({ value }) => value.mayShow(topic));
    found.length = 0;
    return isFound;
  }

  /** `retain`: it is a value that stands until the next one. */
  publish(topic: string, payload: string, retain: boolean): void {
    const targets = targetsOf(this.#readers.systemTrie.match(topic, this.#found), topic);
    this.#found.length = 0;
    if (targets.length === 0) return;
    this.#readers.startOwn(topic, payload);
    for (const target of targets) target.session.deliverSystem(target, retain);
  }

  /** Answers a subscription with a value that stands. */
  answer(session: LiveSession, subscription: LiveSubscription, topic: string, value: string): void {
    if (!subscription.mayShow(topic)) return;
    this.#readers.startOwn(topic, value);
    session.deliverSystemValue(subscription);
  }
}
