import type { PrincipalAccess } from '@robustmq/auth';
import { type Offset, offset, type ShardId } from '@robustmq/core';
import type { DecodedBatch } from '@robustmq/kernel';

import type { Qos } from '../codec/packet.ts';
import { matchedFilter } from '../codec/topic.ts';
import { publisherHash } from '../message/publisher-hash.ts';
import { RecordMessage } from '../message/record-message.ts';
import type { SharedSubscriptions } from '../share/shared-subscriptions.ts';
import type {
  OwedReplay,
  RetainedMessage,
  RetainedPlace,
  SessionGrant,
  SessionGranted,
  SessionProgress,
  ShardPosition,
  TrimmedRecords,
} from '../session/session-gateway.ts';
import type { DeliveryClient, DeliveryContext } from './delivery-context.ts';
import type { Lag } from './lag.ts';
import { LaggingShards } from './lagging-shards.ts';
import { type Granted, grantedByAll, type LiveSubscription } from './live-subscription.ts';
import { type MatchTarget, type NameMatch, subscriptionsOf, targetOf } from './match-table.ts';
import { OutboundPublishes } from './outbound-publishes.ts';
import { Resending } from './resending.ts';
import { SessionTrims } from './session-trims.ts';

/**
 * A connected session: what it is subscribed to, what is under way to its client, and how far it is
 * on each partition. On a partition it is either live (its position is the live reader's frontier)
 * or lagging (packages/mqtt/DESIGN.md, "Positions").
 */
export class LiveSession {
  readonly grant: SessionGrant;
  /** Its state outlives the connection. */
  readonly durable: boolean;
  readonly subscriptions = new Map<string, LiveSubscription>();
  /** Retained messages that subscriptions still get, by filter. Kept for durable sessions. */
  readonly replays = new Map<string, OwedReplay>();
  readonly outbound: OutboundPublishes;
  /** Undefined: its client may do everything. */
  readonly access: PrincipalAccess | undefined;
  /** Its shared subscriptions; set before anything is sent. */
  shared: SharedSubscriptions | undefined;
  /** When its client has connected, in ms since 1970. */
  readonly sinceMs: number;
  readonly #client: DeliveryClient;
  readonly #context: DeliveryContext;
  #lags: LaggingShards | undefined;
  /** Partitions of its subscriptions, with the number of subscriptions that need each. */
  readonly #shards = new Map<ShardId, number>();
  /** Partitions that the catalog does not show yet, with how far the session is there. */
  readonly #unshown = new Map<ShardId, Offset>();
  readonly #resending: Resending;
  #isEnded = false;
  #publisher: Buffer | undefined;
  /** It has all partitions that the session has: nothing of an earlier connection is to be taken up. */
  #isWhole: boolean;
  readonly #trims: SessionTrims;
  /** Sum of the offsets that were stored last: positions never go back, so it tells whether one has moved. */
  #storedSum = 0;

  /**
   * What an earlier connection has left unfinished, in the granted window, is the session's from the beginning: the
   * connection may end before {@link resume}, and tells its progress then, too.
   */
  constructor(
    client: DeliveryClient,
    context: DeliveryContext,
    own: {
      grant: SessionGrant;
      durable: boolean;
      granted: SessionGranted;
      access: PrincipalAccess | undefined;
    },
  ) {
    this.#client = client;
    this.#context = context;
    this.grant = own.grant;
    this.durable = own.durable;
    this.access = own.access;
    this.sinceMs = context.clock.wallMs();
    this.outbound = new OutboundPublishes(client, context, this);
    this.#resending = new Resending(this, client, context);
    this.outbound.takeOver(own.granted.window);
    this.#isWhole = !own.granted.present;
    const { clientId } = own.grant;
    this.#trims = new SessionTrims(clientId, context.readers, own.granted.trimmed);
  }

  /** Whether it was taken over or its client has gone. */
  get ended(): boolean {
    return this.#isEnded;
  }

  /** What stands in the records that its client publishes. */
  get publisher(): Buffer {
    this.#publisher ??= publisherHash(this.grant.clientId);
    return this.#publisher;
  }

  get lagging(): boolean {
    return this.#lags !== undefined && this.#lags.size > 0;
  }

  /** Records that it has to read on from the log. */
  get lagRecords(): number {
    return this.#lags?.records ?? 0;
  }

  /** The session takes nothing any more; its readers are given back. */
  end(): void {
    if (this.#isEnded) return;
    this.#isEnded = true;
    for (const [filter] of this.subscriptions) {
      this.#context.readers.trieOf(filter).remove(filter, this);
    }
    for (const [shardId, count] of this.#shards) {
      for (let i = 0; i < count; i++) this.#context.readers.release(shardId);
    }
    this.#lags?.close();
    this.#context.progress.forget(this);
    this.outbound.wakeWaiters();
  }

  // ---- subscriptions

  /**
   * Adds or replaces a subscription. `ends` are the end offsets of its partitions as they were read
   * after the request came. Returns where it begins on each partition: what is published from there
   * on comes as live.
   */
  subscribe(subscription: LiveSubscription, ends: ReadonlyMap<ShardId, Offset>): ShardPosition[] {
    const { filter } = subscription.stored;
    const replaced = this.subscriptions.get(filter);
    subscription.lookAtRules(this.access);
    this.subscriptions.set(filter, subscription);
    if (replaced !== undefined) subscription.startLiveLike(replaced);
    const starts = subscription.shardIds.map((shardId) => {
      const end = ends.get(shardId) ?? offset(0);
      const position = this.#join(shardId, end);
      // A replaced subscription goes on where it was: nothing may be missed. [MQTT5-3.8.4-3]
      if (replaced === undefined && end > position) subscription.startLiveAt(shardId, end);
      return { shardId, offset: end > position ? end : position };
    });
    this.#context.readers.trieOf(filter).insert(filter, this, subscription);
    if (replaced !== undefined) this.#leave(replaced.shardIds);
    return starts;
  }

  /** Whether there was such a subscription. [MQTT5-3.10.4-1] */
  unsubscribe(filter: string): boolean {
    const subscription = this.subscriptions.get(filter);
    if (subscription === undefined) return false;
    this.subscriptions.delete(filter);
    this.replays.delete(filter);
    this.#context.readers.trieOf(filter).remove(filter, this);
    this.#leave(subscription.shardIds);
    return true;
  }

  // ---- what may be shown

  /** The rules, or who its client is, have changed. */
  accessChanged(): void {
    for (const subscription of this.subscriptions.values()) subscription.lookAtRules(this.access);
    this.shared?.accessChanged();
    this.#context.readers.trie.touch();
  }

  /** Whether a shared subscription is allowed: members cannot be told apart by name when one is chosen. */
  mayShare(filter: string, qos: Qos): boolean {
    return (this.access?.coverage(matchedFilter(filter), qos) ?? 'whole') === 'whole';
  }

  /** Subscriptions that were allowed once and would be refused now. */
  get mutedSubscriptions(): number {
    if (this.access === undefined) return 0;
    let count = 0;
    for (const { muted } of this.subscriptions.values()) if (muted) count++;
    return count;
  }

  /** Whether a message that was sent before may be sent again. */
  maySendAgain(name: string | undefined, qos: Qos): boolean {
    return this.access === undefined || this.access.mayReceive(name ?? '', name ?? '', qos);
  }

  /**
   * Partitions that were made after the subscription are the session's from their first record on. One that
   * this broker's catalog shows later than that of an earlier broker goes on where the session was.
   */
  setShards(subscription: LiveSubscription, shardIds: readonly ShardId[]): void {
    const before = subscription.shardIds;
    subscription.shardIds = shardIds;
    for (const shardId of shardIds) {
      if (before.includes(shardId)) continue;
      const isFirst = !this.#shards.has(shardId);
      const start = this.#unshown.get(shardId) ?? offset(subscription.startOf(shardId));
      this.#unshown.delete(shardId);
      if (this.#join(shardId, start) !== start && isFirst) this.#lagFrom(shardId, start);
    }
    this.#resending.sendPostponed();
    this.#leave(before.filter((shardId) => !shardIds.includes(shardId)));
    this.#pump();
  }

  /** Needs the partition once more; returns how far the session is there. */
  #join(shardId: ShardId, end: Offset): Offset {
    const { readers } = this.#context;
    readers.acquire(shardId, end);
    this.#shards.set(shardId, (this.#shards.get(shardId) ?? 0) + 1);
    return this.#lags?.position(shardId) ?? readers.frontier(shardId) ?? end;
  }

  #leave(shardIds: readonly ShardId[]): void {
    for (const shardId of shardIds) {
      const users = (this.#shards.get(shardId) ?? 1) - 1;
      this.#context.readers.release(shardId);
      if (users > 0) {
        this.#shards.set(shardId, users);
        continue;
      }
      this.#shards.delete(shardId);
      this.#lags?.drop(shardId);
    }
  }

  // ---- taking up an earlier connection

  /**
   * Takes up what the coordinator keeps: unfinished messages are sent again with their packet ids,
   * in order, then what was missed. [MQTT5-4.4.0-1] `ends` are the partitions' ends now.
   */
  resume(
    granted: SessionGranted,
    subscriptions: readonly LiveSubscription[],
    ends: ReadonlyMap<ShardId, Offset>,
  ): void {
    for (const subscription of subscriptions) {
      const { filter } = subscription.stored;
      subscription.lookAtRules(this.access);
      this.subscriptions.set(filter, subscription);
      for (const shardId of subscription.shardIds)
        this.#join(shardId, ends.get(shardId) ?? offset(0));
      this.#context.readers.trieOf(filter).insert(filter, this, subscription);
    }
    const positions = new Map(granted.positions.map(({ shardId, offset: at }) => [shardId, at]));
    for (const shardId of this.#shards.keys()) {
      const position = positions.get(shardId) ?? firstStart(shardId, subscriptions);
      this.#lagFrom(shardId, position, ends.get(shardId));
    }
    for (const [shardId, position] of positions) {
      // What is shown and not needed belongs to subscriptions that have ended: it must hold nothing back.
      if (this.#shards.has(shardId) || this.#context.readers.topicOf(shardId) !== undefined)
        continue;
      this.#unshown.set(shardId, position);
    }
    for (const replay of granted.replays) this.replays.set(replay.filter, replay);
    this.#isWhole = true;
    this.#resending.send(granted.window);
  }

  // ---- delivery

  /** A record of the live path that one of the session's subscriptions matches. */
  deliverLive(target: MatchTarget, message: RecordMessage, shardId: ShardId, at: number): void {
    if (this.#lags !== undefined && !this.#lags.passesLive(shardId, at)) return;
    const { first, more } = target;
    if (more === undefined) {
      if (!first.takesLive(shardId, at) || this.#isOwn(first, message)) return;
      if (!this.#deliver(message, first, shardId, at)) this.#lagFrom(shardId, offset(at));
      return;
    }
    const taking = [first, ...more].filter(
      (one) => one.takesLive(shardId, at) && !this.#isOwn(one, message),
    );
    if (taking.length === 0) return;
    if (!this.#deliver(message, grantedByAll(taking), shardId, at)) {
      this.#lagFrom(shardId, offset(at));
    }
  }

  #isOwn(subscription: LiveSubscription, message: RecordMessage): boolean {
    return subscription.stored.noLocal && message.isFrom(this.publisher);
  }

  /** False: it is not for QoS 0 and there is no room. */
  #deliver(message: RecordMessage, granted: Granted, shardId: ShardId, at: number): boolean {
    const qos = qosOf(message, granted);
    const retain = granted.retainAsPublished && message.retain;
    if (qos === 0) {
      this.outbound.sendOnce(granted, retain);
      return true;
    }
    if (!this.takesReliable) return false;
    this.outbound.send(qos, granted, retain, shardId, at);
    return true;
  }

  /** Whether a message at QoS 1 or 2 may be sent now; if not, it hears of room later. */
  get takesReliable(): boolean {
    return !this.#resending.isUnderWay && this.outbound.hasRoom;
  }

  /** There is room in the window or in the socket: those who wait and lagging partitions go on. */
  roomMade(): void {
    if (!this.lagging && !this.outbound.isAwaited && this.shared?.waits !== true) return;
    if (!this.outbound.isRoomy) return;
    this.outbound.wakeWaiters();
    this.shared?.roomMade();
    this.#pump();
  }

  /** Sends the message that stands in the shared classes and in no log. */
  deliverSystem(target: MatchTarget, retain: boolean): void {
    const granted = grantedByAll(subscriptionsOf(target));
    this.outbound.sendOnce(granted, granted.retainAsPublished && retain);
  }

  /** As {@link deliverSystem}, for a subscription that has just been made. */
  deliverSystemValue(subscription: LiveSubscription): void {
    this.outbound.sendOnce(subscription, true);
  }

  // ---- retained messages

  /**
   * Sends a retained message for a new subscription; waits until there is room for it. The replay goes on at
   * `next`, which is told together with the message: none is left out or repeated when it goes on elsewhere.
   */
  async deliverRetained(
    subscription: LiveSubscription,
    retained: RetainedMessage,
    next: RetainedPlace | undefined,
  ): Promise<void> {
    while (!this.#isEnded && !this.takesReliable) await this.outbound.waitForRoom();
    const current = this.subscriptions.get(subscription.stored.filter);
    // One that replaces it owes the rest: nothing is lost by replacing. [MQTT5-3.8.4-4]
    if (this.#isEnded || current === undefined || !current.goesOnFrom(subscription)) return;
    this.#sendRetained(current, retained);
    const { filter } = subscription.stored;
    if (next === undefined) this.replays.delete(filter);
    else if (this.replays.has(filter)) this.replays.set(filter, { filter, from: next });
  }

  #sendRetained(current: LiveSubscription, retained: RetainedMessage): void {
    if (!current.mayShow(retained.topic)) return;
    const { readers } = this.#context;
    const message = scratch;
    message.readStored(retained.value, retained.headers);
    if (this.#isOwn(current, message)) return;
    const left = readers.secondsLeft(message, retained);
    if (left <= 0) {
      readers.counters.droppedExpired++;
      this.#context.drops.count(this.grant.clientId, 'expired');
      return;
    }
    const { topic } = retained;
    readers.startMessage(
      { nameBytes: Buffer.from(topic), meters: readers.metersOf(topic) },
      message,
      left,
    );
    const qos = qosOf(message, current);
    // As the answer to a subscription it always says so. [MQTT5 section 3.3.1.3, MQTT-3.3.1-8]
    if (qos === 0) this.outbound.sendOnce(current, true);
    else this.outbound.send(qos, current, true, retained.shardId, retained.offset);
  }

  /** The replay of that filter is over, or was not begun. */
  replayed(filter: string): void {
    if (this.replays.delete(filter) && !this.#isEnded) this.#context.progress.later(this);
  }

  // ---- lagging

  /** Whether reading on from the log pays now. */
  get canCatchUp(): boolean {
    return !this.#resending.isUnderWay && this.outbound.isRoomy;
  }

  #lagFrom(shardId: ShardId, from: Offset, qos0From: Offset = offset(0)): void {
    this.#lags ??= new LaggingShards(this, this.#client, this.#context);
    this.#lags.add(shardId, from, qos0From);
  }

  #pump(): void {
    if (!this.#resending.isUnderWay && !this.#isEnded) this.#lags?.pump();
  }

  /** Takes the record on which the batch's cursor stands. False: there is no room. */
  takeLagging(lag: Lag, batch: DecodedBatch, match: NameMatch, at: number): boolean {
    const own = targetOf(match, this);
    if (own === undefined) return true;
    const { readers } = this.#context;
    const message = scratch;
    message.read(batch.cursor);
    if (match.dollar && message.publisherStart < 0) return true;
    const left = readers.secondsLeft(message, batch);
    if (left <= 0) {
      readers.counters.droppedExpired++;
      this.#context.drops.count(this.grant.clientId, 'expired');
      return true;
    }
    const taking = subscriptionsOf(own).filter(
      (one) =>
        one.takes(batch.shardId, at) &&
        (at >= lag.qos0From || qosOf(message, one) > 0) &&
        !this.#isOwn(one, message),
    );
    if (taking.length === 0) return true;
    readers.startMessage(match, message, left, lag.lateMs);
    return this.#deliver(message, grantedByAll(taking), batch.shardId, at);
  }

  // ---- what retention took

  /** Undefined: nothing. */
  get trimmedRecords(): TrimmedRecords | undefined {
    return this.#trims.sum;
  }

  trimmed(shardId: ShardId, lag: Lag, earliest: Offset): void {
    // What is older than the connection concerns only those who take it at QoS > 0.
    const isKept = [...this.subscriptions.values()].some(
      (one) => one.qos > 0 && one.shardIds.includes(shardId),
    );
    const from = isKept ? lag.position : Math.max(lag.position, lag.qos0From);
    if (earliest > from) this.missed(shardId, earliest - from);
  }

  /** The live path has missed records. Those who lag there find out for themselves. */
  liveTrimmed(shardId: ShardId, records: number): void {
    if (!this.#shards.has(shardId) || this.#lags?.has(shardId) === true) return;
    this.#trims.shared(shardId, records);
    if (this.durable) this.#context.progress.later(this);
  }

  /** It alone has missed records that were trimmed. */
  missed(shardId: ShardId, records: number): void {
    this.#trims.own(shardId, records);
    if (this.durable && !this.#isEnded) this.#context.progress.later(this);
  }

  // ---- progress

  /** Whether what is stored of it is older than what it knows, for all that it has sent or settled nothing. */
  get isBehind(): boolean {
    return this.durable && !this.#isEnded && sumOf(this.#positions()) !== this.#storedSum;
  }

  /** What the coordinator should know of it. Everything below a position is settled or in the window. */
  progress(): SessionProgress {
    const positions = this.#positions();
    this.#storedSum = sumOf(positions);
    const window = this.outbound.stored();
    const replays = [...this.replays.values()];
    return { positions, window, complete: this.#isWhole, trimmed: this.#trims.sum, replays };
  }

  #positions(): ShardPosition[] {
    const positions: ShardPosition[] = [];
    for (const shardId of this.#shards.keys()) {
      const at = this.#lags?.position(shardId) ?? this.#context.readers.frontier(shardId);
      if (at !== undefined) positions.push({ shardId, offset: at });
    }
    for (const [shardId, at] of this.#unshown) positions.push({ shardId, offset: at });
    return positions;
  }

  progressStored(): void {
    this.outbound.storedDone();
  }
}

const scratch = new RecordMessage();

function sumOf(positions: readonly ShardPosition[]): number {
  let sum = 0;
  for (const { offset: at } of positions) sum += at;
  return sum;
}

/** A record that does not say is delivered at the subscription's QoS. */
function qosOf(message: RecordMessage, granted: { readonly qos: Qos }): Qos {
  return message.qos === -1 ? granted.qos : (Math.min(message.qos, granted.qos) as Qos);
}

/** Where a session that has told nothing of a partition begins: at the first of its subscriptions. */
function firstStart(shardId: ShardId, subscriptions: readonly LiveSubscription[]): Offset {
  const needing = subscriptions.filter((one) => one.shardIds.includes(shardId));
  return offset(Math.min(...needing.map((one) => one.startOf(shardId))));
}
