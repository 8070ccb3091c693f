import type { PrincipalAccess } from '@robustmq/auth';
import { OperatingError } from '@robustmq/core';

import { encodePingresp, encodeSuback, encodeUnsuback } from '../codec/control-encoder.ts';
import type {
  AckPacket,
  AuthPacket,
  ClientPacket,
  ConnectPacket,
  DisconnectPacket,
  ProtocolVersion,
  SubscribePacket,
  SubscriptionRequest,
  UnsubscribePacket,
} from '../codec/packet.ts';
import { fault } from '../codec/protocol-fault.ts';
import { ReasonCode } from '../codec/reason-code.ts';
import { matchedFilter, parseSharedFilter } from '../codec/topic.ts';
import type { DeliveryClient } from '../delivery/delivery-context.ts';
import { LiveSession } from '../delivery/live-session.ts';
import { LiveSubscription } from '../delivery/live-subscription.ts';
import type { TopicOwner } from '../rewrite/topic-owner.ts';
import { InboundPublishes, type PublishClient } from '../publish/inbound-publishes.ts';
import type {
  SessionGrant,
  SessionGranted,
  SessionSubscription,
} from '../session/session-gateway.ts';
import { SharedSubscriptions } from '../share/shared-subscriptions.ts';
import { type Replay, RetainedReplay } from '../subscribe/retained-replay.ts';
import { endsOf, positionsOf, subscribe, unsubscribe } from '../subscribe/subscriber.ts';
import type { BrokerContext } from './broker-context.ts';
import type { ConnectedClient } from './connected-client.ts';
import { logMuted } from './muted.ts';

/** What stays refused however often it is asked for. */
const refusedForGood: ReadonlySet<number> = new Set([
  ReasonCode.quotaExceeded,
  ReasonCode.notAuthorized,
  ReasonCode.topicFilterInvalid,
]);

function isFailure(reasonCode: number): boolean {
  return reasonCode >= ReasonCode.unspecifiedError;
}

/** The connection whose packets they are. */
export interface SessionClient extends DeliveryClient, PublishClient {
  /** For whom packets are encoded. */
  readonly receiver: { version: ProtocolVersion; packetBytesMax: number };
  /** Who it has proved to be, else by its certificate, else the user name of its CONNECT; empty when there is none. */
  readonly user: string;
  /** What is told of it while it is connected. */
  readonly client: ConnectedClient | undefined;
  /** The client wants to know why. [MQTT5-3.1.2-29] */
  readonly explains: boolean;
  /** Takes no further packet until `work` is done; a rejection ends the connection. */
  hold(work: () => Promise<void>): void;
  /** AUTH has come. */
  authenticateAgain(packet: AuthPacket): void;
  /** DISCONNECT has come. */
  disconnected(packet: DisconnectPacket): void;
}

/** What a client sends once it has its session, until the connection ends. */
export class SessionPackets {
  readonly session: LiveSession;
  readonly #client: SessionClient;
  readonly #context: BrokerContext;
  #publishes: InboundPublishes | undefined;
  #replay: RetainedReplay | undefined;

  constructor(
    client: SessionClient,
    context: BrokerContext,
    own: {
      grant: SessionGrant;
      durable: boolean;
      granted: SessionGranted;
      access: PrincipalAccess | undefined;
    },
  ) {
    const { grant, durable, granted, access } = own;
    this.#client = client;
    this.#context = context;
    this.session = new LiveSession(client, context.delivery, { grant, durable, granted, access });
    const { delivery, shareGroups: groups } = context;
    this.session.shared = new SharedSubscriptions(this.session, {
      client,
      context: delivery,
      groups,
    });
    if (granted.inboundPacketIds.length > 0) this.#newPublishes(granted.inboundPacketIds);
  }

  take(packet: Exclude<ClientPacket, ConnectPacket>): void {
    const { session } = this;
    switch (packet.kind) {
      case 'publish':
        (this.#publishes ?? this.#newPublishes([])).publish(packet);
        return;
      case 'puback':
        session.outbound.acknowledged(packet.packetId, isFailed(packet));
        return;
      case 'pubrec':
        this.#pubrec(packet);
        return;
      case 'pubrel':
        (this.#publishes ?? this.#newPublishes([])).release(packet.packetId);
        return;
      case 'pubcomp':
        session.outbound.completed(packet.packetId);
        return;
      case 'subscribe':
        this.#client.hold(() => this.#subscribe(packet));
        return;
      case 'unsubscribe':
        this.#client.hold(() => this.#unsubscribe(packet));
        return;
      case 'pingreq':
        encodePingresp(this.#context.output.writer);
        this.#client.output.written();
        return;
      case 'disconnect':
        this.#client.disconnected(packet);
        return;
      case 'auth':
        this.#client.authenticateAgain(packet);
        return;
      default:
    }
  }

  /** Takes up what an earlier connection has left. */
  async resume(granted: SessionGranted): Promise<void> {
    const { session } = this;
    const isShared = ({ filter }: SessionSubscription): boolean =>
      parseSharedFilter(filter) !== undefined;
    const shared = granted.subscriptions.filter(isShared);
    const subscriptions = granted.subscriptions
      .filter((stored) => !isShared(stored))
      .map((stored) => new LiveSubscription(stored, this.#context.shardsOf(stored.filter)));
    const ends = await endsOf(this.#context, [
      ...subscriptions.flatMap((subscription) => subscription.shardIds),
      ...shared.flatMap(({ filter }) => this.#context.shardsOf(matchedFilter(filter))),
    ]);
    if (session.ended) return;
    session.shared?.resume(shared, granted.window, positionsOf(ends));
    session.resume(granted, subscriptions, ends);
    logMuted(session, this.#context.logger);
    for (const subscription of subscriptions) {
      session.setShards(subscription, this.#context.shardsOf(subscription.stored.filter));
    }
    const replays = granted.replays.flatMap(({ filter, from }) => {
      const subscription = session.subscriptions.get(filter);
      if (subscription === undefined) return [];
      return [{ subscription, starts: subscription.stored.startOffsets, from }];
    });
    if (replays.length > 0) this.#replayRetained(replays);
  }

  /** The connection has ended: what is under way is finished without an answer. */
  end(): void {
    const { shared } = this.session;
    if (shared !== undefined && shared.size > 0) this.#context.ending(shared.end());
    this.session.end();
    this.#publishes?.end();
  }

  #newPublishes(storedPacketIds: readonly number[]): InboundPublishes {
    const { rewriter } = this.#context;
    const owner = this.#owner;
    const rewrite = rewriter && ((topic: string) => rewriter.name(topic, owner));
    const own = { session: this.session, storedPacketIds, rewrite };
    const publishes = new InboundPublishes(this.#client, this.#context, own);
    this.#publishes = publishes;
    return publishes;
  }

  #pubrec(packet: AckPacket): void {
    const { outbound } = this.session;
    const failed = isFailed(packet);
    if (outbound.received(packet.packetId, failed) || failed) return;
    this.#client.sendAck('pubrel', packet.packetId, ReasonCode.packetIdentifierNotFound);
  }

  get #owner(): TopicOwner {
    return { clientId: this.session.grant.clientId, user: this.#client.user };
  }

  /** The filter that the client gets; empty: none can be made for it, which is refused. */
  #filterOf(filter: string): string {
    const { rewriter } = this.#context;
    return rewriter === undefined ? filter : (rewriter.filter(filter, this.#owner) ?? '');
  }

  /** Subscribes the client to what all are subscribed to. Rejects when that cannot be stored now. */
  async subscribeByItself(): Promise<void> {
    const { autoSubscriptions, logger } = this.#context;
    if (autoSubscriptions.size === 0) return;
    const { clientId } = this.session.grant;
    const subscriptions = autoSubscriptions.of(this.#owner, (filter) =>
      logger.warn({ clientId, filter }, 'an automatic subscription cannot be made for this client'),
    );
    const packet = { subscriptions, subscriptionId: undefined };
    const { reasonCodes, reason, replays } = await subscribe(this.#context, this.session, packet);
    if (this.session.ended) return;
    if (reasonCodes.some((code) => isFailure(code) && !refusedForGood.has(code))) {
      throw new OperatingError('UNAVAILABLE', `automatic subscriptions: ${reason ?? ''}`);
    }
    if (reason !== undefined) logger.warn({ clientId }, `automatic subscriptions: ${reason}`);
    this.#tellSubscribed(packet, reasonCodes);
    if (replays.length > 0) this.#replayRetained(replays);
  }

  async #subscribe(received: SubscribePacket): Promise<void> {
    const subscriptions = received.subscriptions.map((one) => this.#rewritten(one));
    const packet = { ...received, subscriptions };
    const { reasonCodes, reason, replays } = await subscribe(this.#context, this.session, packet);
    if (this.session.ended) return;
    const explanation = { reasonString: this.#client.explains ? reason : undefined };
    const { writer } = this.#context.output;
    encodeSuback(writer, this.#client.receiver, packet.packetId, reasonCodes, explanation);
    this.#answered();
    this.#tellSubscribed(packet, reasonCodes);
    if (replays.length > 0) this.#replayRetained(replays);
  }

  #rewritten(request: SubscriptionRequest): SubscriptionRequest {
    return this.#context.rewriter === undefined
      ? request
      : { ...request, filter: this.#filterOf(request.filter) };
  }

  #tellSubscribed(
    packet: Pick<SubscribePacket, 'subscriptions'>,
    reasonCodes: readonly ReasonCode[],
  ): void {
    const { events } = this.#context;
    const client = events.tells('subscribed') ? this.#client.client : undefined;
    if (client === undefined) return;
    for (const [index, { filter }] of packet.subscriptions.entries()) {
      if (isFailure(reasonCodes[index] ?? 0)) continue;
      const { subscriptions, shared } = this.session;
      const stored = subscriptions.get(filter)?.stored ?? shared?.stored(filter);
      if (stored !== undefined) events.subscribed(client, stored);
    }
  }

  #replayRetained(replays: readonly Replay[]): void {
    if (this.#replay === undefined) {
      const replay = new RetainedReplay(this.#context, this.session);
      this.#replay = replay;
      void replay.run(replays, () => (this.#replay = undefined));
    } else {
      this.#replay.add(replays);
    }
  }

  async #unsubscribe(received: UnsubscribePacket): Promise<void> {
    const packet = { ...received, filters: received.filters.map((one) => this.#filterOf(one)) };
    const reasonCodes = await unsubscribe(this.#context, this.session, packet);
    if (this.session.ended) return;
    const { writer } = this.#context.output;
    encodeUnsuback(writer, this.#client.receiver, packet.packetId, reasonCodes);
    this.#answered();
    const { events } = this.#context;
    const client = events.tells('unsubscribed') ? this.#client.client : undefined;
    if (client === undefined) return;
    for (const [index, filter] of packet.filters.entries()) {
      if (reasonCodes[index] === ReasonCode.success) events.unsubscribed(client, filter);
    }
  }

  /** Sends what was just encoded. A client that cannot take the answer cannot go on. [MQTT5-3.1.2-24] */
  #answered(): void {
    const { writer } = this.#context.output;
    if (writer.length <= this.#client.packetBytesMax) {
      this.#client.output.written();
      return;
    }
    const message = `the answer has ${writer.length} bytes: more than the client takes`;
    writer.clear();
    this.#client.fail(fault(ReasonCode.packetTooLarge, 'MQTT5-3.1.2-24', message));
  }
}

function isFailed({ reasonCode }: AckPacket): boolean {
  return isFailure(reasonCode);
}
