import { type Offset, offset, type ShardId, toOperatingError } from '@robustmq/core';

import type { SubscribePacket, SubscriptionRequest, UnsubscribePacket } from '../codec/packet.ts';
import { ackReasonByError, ReasonCode } from '../codec/reason-code.ts';
import { matchedFilter, parseSharedFilter } from '../codec/topic.ts';
import type { BrokerContext } from '../connection/broker-context.ts';
import type { LiveSession } from '../delivery/live-session.ts';
import { LiveSubscription } from '../delivery/live-subscription.ts';
import type { SessionSubscription, ShardPosition } from '../session/session-gateway.ts';
import { isSystemFilter } from '../system/system-topic.ts';
import type { Replay } from './retained-replay.ts';

/** What a SUBSCRIBE has led to. */
export interface Subscribed {
  /** One per filter, in order. [MQTT5-3.8.4-6] */
  readonly reasonCodes: readonly ReasonCode[];
  /** Why the first of those that failed did. */
  readonly reason: string | undefined;
  /** Subscriptions that want the retained messages. */
  readonly replays: readonly Replay[];
}

/** Ends of partitions, all asked for in one turn. */
export async function endsOf(
  context: BrokerContext,
  shardIds: Iterable<ShardId>,
): Promise<Map<ShardId, Offset>> {
  const asked = Array.from(
    new Set(shardIds),
    async (shardId) => [shardId, await context.endOffset(shardId)] as const,
  );
  return new Map(await Promise.all(asked));
}

/**
 * Subscribes at now (packages/mqtt/DESIGN.md, "Subscribe"): nothing that was acknowledged before the
 * packet came is delivered as live, nothing published after the SUBACK is missed.
 */
export async function subscribe(
  context: BrokerContext,
  session: LiveSession,
  packet: Pick<SubscribePacket, 'subscriptions' | 'subscriptionId'>,
): Promise<Subscribed> {
  const { subscriptions, subscriptionId = 0 } = packet;
  const added = new Set<string>();
  const refusals = new Map<SubscriptionRequest, Refusal>();
  const accepted = subscriptions.filter((request) => {
    const refusal = refusalOf(context, session, request, added);
    if (refusal !== undefined) refusals.set(request, refusal);
    return refusal === undefined;
  });
  const replays: Replay[] = [];
  const fail = (requests: readonly SubscriptionRequest[], thrown: unknown): void => {
    const error = toOperatingError(thrown);
    if (error.code === 'FENCED') throw error;
    const { clientId } = session.grant;
    context.logger.warn({ clientId, code: error.code }, `SUBSCRIBE: ${error.message}`);
    const reason = `the subscription could not be made: ${error.code}`;
    const reasonCode = ackReasonByError[error.code];
    for (const request of requests) refusals.set(request, { reasonCode, reason });
  };
  try {
    replays.push(...(await add(context, session, { requests: accepted, subscriptionId, fail })));
  } catch (thrown) {
    fail(accepted, thrown);
  }
  const reasonCodes = subscriptions.map(
    (request) => refusals.get(request)?.reasonCode ?? (request.qos as ReasonCode),
  );
  const [refused] = refusals.values();
  return { reasonCodes, reason: refused?.reason, replays };
}

/** Why a subscription is refused, for the client. */
interface Refusal {
  readonly reasonCode: ReasonCode;
  readonly reason: string;
}

/** `added`: new filters that the packet has before this one. */
function refusalOf(
  context: BrokerContext,
  session: LiveSession,
  request: SubscriptionRequest,
  added: Set<string>,
): Refusal | undefined {
  const { counters, limits } = context;
  const { filter, qos } = request;
  if (filter === '') {
    const reasonCode = ReasonCode.topicFilterInvalid;
    return { reasonCode, reason: 'the rules make no legal filter of it for this client' };
  }
  if (session.access?.maySubscribe(matchedFilter(filter), qos) === false) {
    counters.subscriptionsUnauthorized++;
    return { reasonCode: ReasonCode.notAuthorized, reason: 'the rules do not allow it' };
  }
  const sharedFilter = parseSharedFilter(filter);
  if (sharedFilter !== undefined && isSystemFilter(sharedFilter.filter)) {
    // It stands in no log, from which a group could read.
    const reasonCode = ReasonCode.topicFilterInvalid;
    return { reasonCode, reason: 'what the broker tells of itself is not shared' };
  }
  if (sharedFilter !== undefined && !session.mayShare(filter, qos)) {
    counters.subscriptionsUnauthorized++;
    const reason = 'what is shared has to be allowed as a whole';
    return { reasonCode: ReasonCode.notAuthorized, reason };
  }
  const { subscriptionsMax } = limits;
  const { subscriptions, shared } = session;
  if (subscriptions.has(filter) || shared?.has(filter) === true || added.has(filter)) {
    return undefined;
  }
  if (subscriptions.size + (shared?.size ?? 0) + added.size >= subscriptionsMax) {
    const reason = `a session has ${subscriptionsMax} subscriptions at most`;
    return { reasonCode: ReasonCode.quotaExceeded, reason };
  }
  added.add(filter);
  return undefined;
}

/** What one SUBSCRIBE asks for. */
interface Wanted {
  readonly requests: readonly SubscriptionRequest[];
  readonly subscriptionId: number;
  /** Some of it cannot be had. */
  readonly fail: (requests: readonly SubscriptionRequest[], thrown: unknown) => void;
}

async function add(
  context: BrokerContext,
  session: LiveSession,
  { requests, subscriptionId, fail }: Wanted,
): Promise<Replay[]> {
  if (requests.length === 0) return [];
  const shards = requests.map(({ filter }) => context.shardsOf(matchedFilter(filter)));
  const ends = await endsOf(context, shards.flat());
  const stored = requests.map((request, index) => {
    const starts = isShared(request) ? [] : positionsAt(shards[index] ?? [], ends);
    return storedSubscription(session, request, subscriptionId, starts);
  });
  // A shared one stands in the session before the session is a member of the group.
  if (session.durable) await store(context, session, stored);
  const replays: Replay[] = [];
  for (const [index, request] of requests.entries()) {
    const subscription = stored[index];
    const shardIds = shards[index] ?? [];
    if (session.ended || subscription === undefined) return [];
    if (isShared(request)) {
      const starts = positionsAt(shardIds, ends);
      await share(context, session, { subscription, starts, fail: (e) => fail([request], e) });
    } else {
      replays.push(...addOwn(context, session, { subscription, shardIds, ends }));
    }
  }
  return replays;
}

function addOwn(
  context: BrokerContext,
  session: LiveSession,
  {
    subscription,
    shardIds,
    ends,
  }: {
    readonly subscription: SessionSubscription;
    readonly shardIds: readonly ShardId[];
    readonly ends: ReadonlyMap<ShardId, Offset>;
  },
): Replay[] {
  const { filter, retainHandling } = subscription;
  const isNew = !session.subscriptions.has(filter);
  const live = new LiveSubscription(subscription, shardIds);
  const starts = session.subscribe(live, ends);
  // Partitions that were made while the ends were read.
  session.setShards(live, context.shardsOf(filter));
  const wantsRetained = retainHandling === 0 || (retainHandling === 1 && isNew);
  return wantsRetained ? [{ subscription: live, starts, from: undefined }] : [];
}

/** Takes part in a share group. Retained messages are not sent for it. [MQTT5-4.8.2] */
async function share(
  context: BrokerContext,
  session: LiveSession,
  {
    subscription,
    starts,
    fail,
  }: {
    readonly subscription: SessionSubscription;
    readonly starts: readonly ShardPosition[];
    readonly fail: (thrown: unknown) => void;
  },
): Promise<void> {
  const { filter } = subscription;
  const isNew = session.shared?.has(filter) !== true;
  try {
    await session.shared?.subscribe(subscription, starts);
  } catch (thrown) {
    fail(thrown);
    if (isNew && session.durable) await context.sessions.unsubscribe(session.grant, [filter]);
  }
}

function isShared({ filter }: SubscriptionRequest): boolean {
  return parseSharedFilter(filter) !== undefined;
}

/** Offsets as they travel. */
export function positionsOf(ends: ReadonlyMap<ShardId, Offset>): ShardPosition[] {
  return Array.from(ends, ([shardId, at]) => ({ shardId, offset: at }));
}

/** Stores subscriptions, and that their retained messages are owed: the connection may end before all are sent. */
async function store(
  context: BrokerContext,
  session: LiveSession,
  stored: readonly SessionSubscription[],
): Promise<void> {
  const { replays } = session;
  const owed = stored
    .filter(({ filter }) => parseSharedFilter(filter) === undefined && !isSystemFilter(filter))
    .filter(({ filter, retainHandling: handling }) =>
      handling === 1 ? !session.subscriptions.has(filter) : handling === 0,
    )
    .map(({ filter }) => filter);
  const before = new Map(replays);
  // What is told of the progress from now on is carried out after this call.
  for (const filter of owed) replays.set(filter, { filter, from: undefined });
  try {
    await context.sessions.subscribe(session.grant, stored, owed);
  } catch (thrown) {
    for (const filter of owed) {
      const rest = before.get(filter);
      if (rest === undefined) replays.delete(filter);
      else replays.set(filter, rest);
    }
    throw thrown;
  }
}

function positionsAt(
  shardIds: readonly ShardId[],
  ends: ReadonlyMap<ShardId, Offset>,
): ShardPosition[] {
  return shardIds.map((shardId) => ({ shardId, offset: ends.get(shardId) ?? offset(0) }));
}

/** A subscription that replaces another goes on where that one was. [MQTT5-3.8.4-3] */
function storedSubscription(
  session: LiveSession,
  request: SubscriptionRequest,
  subscriptionId: number,
  starts: readonly ShardPosition[],
): SessionSubscription {
  const replaced = session.subscriptions.get(request.filter);
  return {
    filter: request.filter,
    qos: request.qos,
    noLocal: request.noLocal,
    retainAsPublished: request.retainAsPublished,
    retainHandling: request.retainHandling,
    subscriptionId,
    startOffsets: replaced?.stored.startOffsets ?? starts,
  };
}

/** Ends subscriptions; one reason code per filter, in order. [MQTT5-3.11.3-1] */
export async function unsubscribe(
  context: BrokerContext,
  session: LiveSession,
  packet: UnsubscribePacket,
): Promise<ReasonCode[]> {
  const { subscriptions, shared } = session;
  const known = packet.filters.filter(
    (filter) => subscriptions.has(filter) || shared?.has(filter) === true,
  );
  // A group is left before the session forgets it: nobody is a member without a subscription.
  const left = new Set<string>();
  for (const filter of known) {
    if ((await shared?.unsubscribe(filter)) === true) left.add(filter);
  }
  if (session.durable && known.length > 0) await context.sessions.unsubscribe(session.grant, known);
  return packet.filters.map((filter) =>
    left.delete(filter) || session.unsubscribe(filter)
      ? ReasonCode.success
      : ReasonCode.noSubscriptionExisted,
  );
}
