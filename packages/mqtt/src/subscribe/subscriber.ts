import { type Offset, offset, type ShardId, toOperatingError } from '@robustmq/core';

import type { SubscribePacket, SubscriptionRequest, UnsubscribePacket } from '../codec/packet.ts';
import { ackReasonByError, ReasonCode } from '../codec/reason-code.ts';
import { parseSharedFilter } from '../codec/topic.ts';
import type { BrokerContext } from '../connection/broker-context.ts';
import type { LiveSession } from '../delivery/live-session.ts';
import { LiveSubscription } from '../delivery/live-subscription.ts';
import type { SessionSubscription, ShardPosition } from '../session/session-gateway.ts';
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
  packet: SubscribePacket,
): Promise<Subscribed> {
  const added = new Set<string>();
  const refusals = packet.subscriptions.map((one) => refusalOf(context, session, one, added));
  const accepted = packet.subscriptions.filter((_, index) => refusals[index] === undefined);
  try {
    const replays = await add(context, session, accepted, packet.subscriptionId ?? 0);
    const reasonCodes = packet.subscriptions.map(
      (request, index) => refusals[index]?.reasonCode ?? (request.qos as ReasonCode),
    );
    const refused = refusals.find((refusal) => refusal !== undefined);
    return { reasonCodes, reason: refused?.reason, replays };
  } catch (thrown) {
    const error = toOperatingError(thrown);
    if (error.code === 'FENCED') throw error;
    const { clientId } = session.grant;
    context.logger.warn({ clientId, code: error.code }, `SUBSCRIBE: ${error.message}`);
    const failed = ackReasonByError[error.code];
    return {
      reasonCodes: refusals.map((refusal) => refusal?.reasonCode ?? failed),
      reason: `the subscription could not be made: ${error.code}`,
      replays: [],
    };
  }
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
  if (parseSharedFilter(request.filter) !== undefined) {
    const reasonCode = ReasonCode.sharedSubscriptionsNotSupported;
    return { reasonCode, reason: 'shared subscriptions are not served' };
  }
  const { subscriptionsMax } = context.limits;
  if (session.subscriptions.has(request.filter) || added.has(request.filter)) return undefined;
  if (session.subscriptions.size + added.size >= subscriptionsMax) {
    const reason = `a session has ${subscriptionsMax} subscriptions at most`;
    return { reasonCode: ReasonCode.quotaExceeded, reason };
  }
  added.add(request.filter);
  return undefined;
}

async function add(
  context: BrokerContext,
  session: LiveSession,
  requests: readonly SubscriptionRequest[],
  subscriptionId: number,
): Promise<Replay[]> {
  if (requests.length === 0) return [];
  const shards = requests.map((request) => context.shardsOf(request.filter));
  const ends = await endsOf(context, shards.flat());
  const stored = requests.map((request, index) =>
    storedSubscription(session, request, subscriptionId, positionsAt(shards[index] ?? [], ends)),
  );
  if (session.durable) await store(context, session, stored);
  if (session.ended) return [];
  return stored.flatMap((subscription, index) => {
    const { filter, retainHandling } = subscription;
    const isNew = !session.subscriptions.has(filter);
    const live = new LiveSubscription(subscription, shards[index] ?? []);
    const starts = session.subscribe(live, ends);
    // Partitions that were made while the ends were read.
    session.setShards(live, context.shardsOf(filter));
    const wantsRetained = retainHandling === 0 || (retainHandling === 1 && isNew);
    return wantsRetained ? [{ subscription: live, starts, from: undefined }] : [];
  });
}

/** Stores subscriptions, and that their retained messages are owed: the connection may end before all are sent. */
async function store(
  context: BrokerContext,
  session: LiveSession,
  stored: readonly SessionSubscription[],
): Promise<void> {
  const { replays } = session;
  const owed = stored
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
  const known = packet.filters.filter((filter) => session.subscriptions.has(filter));
  if (session.durable && known.length > 0) await context.sessions.unsubscribe(session.grant, known);
  return packet.filters.map((filter) =>
    session.unsubscribe(filter) ? ReasonCode.success : ReasonCode.noSubscriptionExisted,
  );
}
