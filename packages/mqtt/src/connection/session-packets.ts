import { encodePingresp, encodeSuback, encodeUnsuback } from '../codec/control-encoder.ts';
import type {
  AckPacket,
  ClientPacket,
  ConnectPacket,
  DisconnectPacket,
  ProtocolVersion,
  SubscribePacket,
  UnsubscribePacket,
} from '../codec/packet.ts';
import { fault, protocolError } from '../codec/protocol-fault.ts';
import { ReasonCode } from '../codec/reason-code.ts';
import type { DeliveryClient } from '../delivery/delivery-context.ts';
import { LiveSession } from '../delivery/live-session.ts';
import { LiveSubscription } from '../delivery/live-subscription.ts';
import { InboundPublishes, type PublishClient } from '../publish/inbound-publishes.ts';
import type { SessionGrant, SessionGranted } from '../session/session-gateway.ts';
import { type Replay, RetainedReplay } from '../subscribe/retained-replay.ts';
import { endsOf, subscribe, unsubscribe } from '../subscribe/subscriber.ts';
import type { BrokerContext } from './broker-context.ts';

/** The connection whose packets they are. */
export interface SessionClient extends DeliveryClient, PublishClient {
  /** For whom packets are encoded. */
  readonly receiver: { version: ProtocolVersion; packetBytesMax: number };
  /** The client wants to know why. [MQTT5-3.1.2-29] */
  readonly explains: boolean;
  /** Takes no further packet until `work` is done; a rejection ends the connection. */
  hold(work: () => Promise<void>): void;
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
    own: { grant: SessionGrant; durable: boolean; granted: SessionGranted },
  ) {
    const { grant, durable, granted } = own;
    this.#client = client;
    this.#context = context;
    this.session = new LiveSession(client, context.delivery, { grant, durable, granted });
    if (granted.inboundPacketIds.length > 0) this.#newPublishes(granted.inboundPacketIds);
  }

  take(packet: Exclude<ClientPacket, ConnectPacket>): void {
    const { session } = this;
    switch (packet.kind) {
      case 'publish':
        (this.#publishes ?? this.#newPublishes([])).publish(packet);
        return;
      case 'puback':
        session.outbound.acknowledged(packet.packetId);
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
        this.#client.fail(protocolError('MQTT5-4.12.0-1', 'AUTH without an authentication method'));
        return;
      default:
    }
  }

  /** Takes up what an earlier connection has left. */
  async resume(granted: SessionGranted): Promise<void> {
    const { session } = this;
    const subscriptions = granted.subscriptions.map(
      (stored) => new LiveSubscription(stored, this.#context.shardsOf(stored.filter)),
    );
    const ends = await endsOf(
      this.#context,
      subscriptions.flatMap((subscription) => subscription.shardIds),
    );
    if (session.ended) return;
    session.resume(granted, subscriptions, ends);
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
    this.session.end();
    this.#publishes?.end();
  }

  #newPublishes(storedPacketIds: readonly number[]): InboundPublishes {
    const own = { session: this.session, storedPacketIds };
    const publishes = new InboundPublishes(this.#client, this.#context, own);
    this.#publishes = publishes;
    return publishes;
  }

  #pubrec(packet: AckPacket): void {
    const { outbound } = this.session;
    const isFailed = packet.reasonCode >= ReasonCode.unspecifiedError;
    if (outbound.received(packet.packetId, isFailed) || isFailed) return;
    this.#client.sendAck('pubrel', packet.packetId, ReasonCode.packetIdentifierNotFound);
  }

  async #subscribe(packet: SubscribePacket): Promise<void> {
    const { reasonCodes, reason, replays } = await subscribe(this.#context, this.session, packet);
    if (this.session.ended) return;
    const explanation = { reasonString: this.#client.explains ? reason : undefined };
    const { writer } = this.#context.output;
    encodeSuback(writer, this.#client.receiver, packet.packetId, reasonCodes, explanation);
    this.#answered();
    if (replays.length > 0) this.#replayRetained(replays);
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

  async #unsubscribe(packet: UnsubscribePacket): Promise<void> {
    const reasonCodes = await unsubscribe(this.#context, this.session, packet);
    if (this.session.ended) return;
    const { writer } = this.#context.output;
    encodeUnsuback(writer, this.#client.receiver, packet.packetId, reasonCodes);
    this.#answered();
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
