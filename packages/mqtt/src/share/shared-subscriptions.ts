import { delay, OperatingError, toOperatingError } from '@robustmq/core';
import type { ShareGroupClient, ShareMembership } from '@robustmq/kernel';

import type { DeliveryClient, DeliveryContext } from '../delivery/delivery-context.ts';
import type { SendOrigin } from '../delivery/outbound-publishes.ts';
import type {
  SessionSubscription,
  ShardPosition,
  WindowEntry,
} from '../session/session-gateway.ts';
import { groupIdOf } from './mqtt-share-protocol.ts';
import { type SharedOwner, SharedSubscription } from './shared-subscription.ts';

/** A resumed session tries again after so long to take part. */
const retryMs = 500;
/** What an UNSUBSCRIBE waits for its group at most; the group is told all the same. */
const leaveMs = 10_000;

export interface SharedSubscriptionsPorts {
  readonly client: DeliveryClient;
  readonly context: DeliveryContext;
  readonly groups: Pick<ShareGroupClient, 'member'>;
}

/** The shared subscriptions of one connected session. */
export class SharedSubscriptions {
  readonly #owner: SharedOwner;
  readonly #ports: SharedSubscriptionsPorts;
  readonly #subscriptions = new Map<string, SharedSubscription>();
  /** Groups that a resumed session has not taken part in yet. */
  #resuming = 0;

  constructor(owner: SharedOwner, ports: SharedSubscriptionsPorts) {
    this.#owner = owner;
    this.#ports = ports;
  }

  get size(): number {
    return this.#subscriptions.size;
  }

  has(filter: string): boolean {
    return this.#subscriptions.has(filter);
  }

  /** A subscription as it is now; undefined: there is none. */
  stored(filter: string): SessionSubscription | undefined {
    return this.#subscriptions.get(filter)?.subscription;
  }

  /** Messages wait for room. */
  get waits(): boolean {
    for (const subscription of this.#subscriptions.values()) if (subscription.waits) return true;
    return false;
  }

  /**
   * Takes part in a group, or replaces the options. `ends` are where a group begins that is not there.
   * Rejects when it is refused, or its coordinator cannot be reached in time.
   */
  async subscribe(stored: SessionSubscription, ends: readonly ShardPosition[]): Promise<void> {
    const known = this.#subscriptions.get(stored.filter);
    if (known === undefined) await this.#join(stored, ends);
    else await known.replace(stored);
  }

  /** Whether there was such a subscription. Resolves when the group knows. */
  async unsubscribe(filter: string): Promise<boolean> {
    const subscription = this.#subscriptions.get(filter);
    if (subscription === undefined) return false;
    this.#subscriptions.delete(filter);
    const { clock } = this.#ports.context;
    const late = new AbortController();
    const told = subscription.end('leave').finally(() => late.abort());
    await Promise.race([
      told,
      delay(clock, leaveMs, late.signal).then(
        () => {
          throw new OperatingError('UNAVAILABLE', `the group of ${filter} cannot be reached`);
        },
        () => {},
      ),
    ]);
    return true;
  }

  /** The rules have changed: the groups of what they do not allow any more are left until the next connection. */
  accessChanged(): void {
    for (const [filter, subscription] of this.#subscriptions) {
      if (this.#owner.mayShare(filter, subscription.qos)) continue;
      this.#subscriptions.delete(filter);
      void subscription.end('leave');
    }
  }

  /**
   * Takes part again in what the session is subscribed to. What it has of the groups at QoS 2 stays in its
   * window until they know.
   */
  resume(
    subscriptions: readonly SessionSubscription[],
    window: readonly WindowEntry[],
    ends: readonly ShardPosition[],
  ): void {
    const allowed = subscriptions.filter(({ filter, qos }) => this.#owner.mayShare(filter, qos));
    if (allowed.length === 0) return;
    const stored = window.filter(({ qos }) => qos === 2);
    this.#owner.outbound.guard(this.#untilResumed);
    this.#resuming = allowed.length;
    for (const subscription of allowed) void this.#rejoin(subscription, ends, stored);
  }

  /** Sends what has waited, as far as there is room. */
  roomMade(): void {
    for (const subscription of this.#subscriptions.values()) {
      if (subscription.waits) subscription.roomMade();
    }
  }

  /** The connection has ended. Resolves when the groups know. */
  async end(): Promise<void> {
    const kind = this.#owner.durable ? 'part' : 'leave';
    const subscriptions = [...this.#subscriptions.values()];
    this.#subscriptions.clear();
    await Promise.all(subscriptions.map((subscription) => subscription.end(kind)));
  }

  /** A new member, which does not take part yet. */
  #add(
    stored: SessionSubscription,
    starts: readonly ShardPosition[],
    resumed: readonly ShardPosition[] | undefined,
  ): { subscription: SharedSubscription; membership: ShareMembership } {
    const { client, context, groups } = this.#ports;
    const { grant, durable } = this.#owner;
    const groupId = groupIdOf(stored.filter);
    if (groupId === undefined) throw new OperatingError('INVALID_ARGUMENT', 'it is not shared');
    const subscription = new SharedSubscription(stored, this.#owner, { client, context });
    const { windowMax, sharedWindowMax } = context.limits;
    const membership = groups.member(
      {
        groupId,
        key: grant.clientId,
        epoch: grant.epoch,
        durable,
        resumed: resumed !== undefined,
        delivery: stored.qos,
        // [MQTT5-3.3.4-9]
        roomMax: Math.min(client.receiveMaximum, windowMax, sharedWindowMax),
        starts,
        stored: resumed ?? [],
      },
      subscription,
    );
    subscription.membership = membership;
    // Messages may come before the answer does.
    this.#subscriptions.set(stored.filter, subscription);
    return { subscription, membership };
  }

  async #join(stored: SessionSubscription, ends: readonly ShardPosition[]): Promise<void> {
    const { subscription, membership } = this.#add(stored, ends, undefined);
    try {
      await membership.join();
    } catch (thrown) {
      this.#subscriptions.delete(stored.filter);
      void subscription.end('leave');
      throw thrown;
    }
  }

  async #rejoin(
    stored: SessionSubscription,
    ends: readonly ShardPosition[],
    window: readonly WindowEntry[],
  ): Promise<void> {
    const { client, context } = this.#ports;
    let membership: ShareMembership | undefined;
    while (!this.#owner.ended) {
      try {
        membership ??= this.#add(stored, ends, window).membership;
        await membership.join();
        break;
      } catch (thrown) {
        const error = toOperatingError(thrown);
        if (!error.retriable) {
          client.failed(error);
          return;
        }
        await delay(context.clock, retryMs);
      }
    }
    this.#resuming--;
    if (!this.#owner.ended) this.#owner.outbound.forgetHeard();
  }

  /** For what an earlier connection has left in the window. */
  readonly #untilResumed: SendOrigin = {
    stored: () => {},
    acknowledged: () => {},
    isHeard: () => this.#resuming === 0,
    left: () => {},
  };
}
