import type { PrincipalAccess } from '@robustmq/auth';
import type { Offset, ShardId } from '@robustmq/core';

import type { Qos } from '../codec/packet.ts';
import { matchedFilter } from '../codec/topic.ts';
import type { SessionSubscription } from '../session/session-gateway.ts';

/** How a message goes out, as the matching subscriptions say. */
export interface Granted {
  /** The most. */
  readonly qos: Qos;
  /** The message's own retain flag is kept. [MQTT5-3.3.1-12] */
  readonly retainAsPublished: boolean;
  /** Subscription identifiers. [MQTT5-3.3.4-3] */
  readonly ids: readonly number[];
}

const noIds: readonly number[] = [];

/** A subscription of a connected session. */
export class LiveSubscription implements Granted {
  readonly stored: SessionSubscription;
  readonly ids: readonly number[];
  /** Undefined: whatever it matches may be shown to its client; else each name is asked about. */
  #access: PrincipalAccess | undefined;
  /** Partitions that can hold its records. */
  shardIds: readonly ShardId[];
  /** Where it begins on the live path of partitions whose reader has not got there yet. */
  #liveStarts: Map<ShardId, Offset> | undefined;
  /** The first of those that have replaced each other. */
  #first: LiveSubscription = this;

  constructor(stored: SessionSubscription, shardIds: readonly ShardId[]) {
    this.stored = stored;
    this.shardIds = shardIds;
    this.ids = stored.subscriptionId === 0 ? noIds : [stored.subscriptionId];
  }

  get qos(): Qos {
    return this.stored.qos;
  }

  get retainAsPublished(): boolean {
    return this.stored.retainAsPublished;
  }

  /** Looks at it by the rules as they are now. */
  lookAtRules(access: PrincipalAccess | undefined): void {
    const { filter, qos } = this.stored;
    const isWhole = access?.coverage(matchedFilter(filter), qos) !== 'by-name';
    this.#access = isWhole ? undefined : access;
  }

  /** Whether the rules let its client see a name that it matches. */
  mayShow(name: string): boolean {
    const { filter, qos } = this.stored;
    return this.#access?.mayReceive(name, matchedFilter(filter), qos) ?? true;
  }

  /** It was allowed once and would be refused now. */
  get muted(): boolean {
    const { filter, qos } = this.stored;
    return this.#access?.maySubscribe(matchedFilter(filter), qos) === false;
  }

  /** Live records below `start` are not for it. */
  startLiveAt(shardId: ShardId, start: Offset): void {
    this.#liveStarts ??= new Map();
    this.#liveStarts.set(shardId, start);
  }

  /** It replaces `other` and begins where that one does. [MQTT5-3.8.4-3] */
  startLiveLike(other: LiveSubscription): void {
    this.#liveStarts = other.#liveStarts;
    this.#first = other.#first;
  }

  /** Whether it is `other` or has replaced it, without an end in between. */
  goesOnFrom(other: LiveSubscription): boolean {
    return this.#first === other.#first;
  }

  /** Whether a live record is for it. */
  takesLive(shardId: ShardId, offset: number): boolean {
    const start = this.#liveStarts?.get(shardId);
    if (start === undefined) return true;
    if (offset < start) return false;
    this.#liveStarts?.delete(shardId);
    if (this.#liveStarts?.size === 0) this.#liveStarts = undefined;
    return true;
  }

  /** Whether a record that is read again from the log is for it. */
  takes(shardId: ShardId, offset: number): boolean {
    return offset >= this.startOf(shardId);
  }

  /** First offset of a partition that is for it: 0 in one that was made after the subscription. */
  startOf(shardId: ShardId): number {
    for (const start of this.stored.startOffsets) {
      if (start.shardId === shardId) return start.offset;
    }
    return 0;
  }
}

/** Overlapping subscriptions: one copy, the highest QoS, all identifiers. [MQTT5-3.3.4-2, -3.3.4-3] */
export function grantedByAll(subscriptions: readonly LiveSubscription[]): Granted {
  const [first] = subscriptions;
  if (first !== undefined && subscriptions.length === 1) return first;
  return {
    qos: Math.max(...subscriptions.map((one) => one.qos)) as Qos,
    retainAsPublished: subscriptions.some((one) => one.retainAsPublished),
    ids: subscriptions.flatMap((one) => one.ids),
  };
}
