import type { Socket } from 'node:net';

import { type OperatingError, toOperatingError, type WheelTimer } from '@robustmq/core';

import {
  type ConnackSpec,
  encodeAck,
  encodeConnack,
  encodeDisconnect,
  encodePingresp,
  encodeSuback,
  encodeUnsuback,
} from '../codec/control-encoder.ts';
import { type Frame, type FrameSink, PacketFramer } from '../codec/framer.ts';
import type {
  AckKind,
  AckPacket,
  ClientPacket,
  ConnectPacket,
  DisconnectPacket,
  ProtocolVersion,
  SubscribePacket,
  UnsubscribePacket,
} from '../codec/packet.ts';
import { fault, protocolError, type ProtocolFault } from '../codec/protocol-fault.ts';
import { connackReasonByError, ReasonCode } from '../codec/reason-code.ts';
import { type DeliveryClient, LiveSession } from '../delivery/live-session.ts';
import { LiveSubscription } from '../delivery/live-subscription.ts';
import { storedHeadersOfWill } from '../message/header-encoder.ts';
import { publisherHash } from '../message/publisher-hash.ts';
import { InboundPublishes, type PublishClient } from '../publish/inbound-publishes.ts';
import { countFault } from '../server/mqtt-counters.ts';
import type {
  SessionGrant,
  SessionGranted,
  SessionProgress,
  WillToStore,
} from '../session/session-gateway.ts';
import { endsOf, replayRetained, subscribe, unsubscribe } from '../subscribe/subscriber.ts';
import type { BrokerContext } from './broker-context.ts';
import { Output } from './output.ts';

type State = 'awaiting-connect' | 'connecting' | 'active' | 'closed';

/** What the end of a connection means for its session. */
interface SessionEnd {
  /** The session goes on elsewhere already: nobody is told. */
  readonly revoked: boolean;
  readonly publishWill: boolean;
  readonly expirySeconds: number | undefined;
}

const abnormal: SessionEnd = { revoked: false, publishWill: true, expirySeconds: undefined };
const keepAliveFactor = 1.5;

/**
 * One client: awaiting-connect → connecting → active → closed. A fault in its bytes or its behaviour
 * ends it with the code that the specification gives, and nothing else.
 */
export class Connection implements FrameSink, DeliveryClient, PublishClient {
  readonly output: Output;
  readonly #socket: Socket;
  readonly #context: BrokerContext;
  readonly #framer: PacketFramer;
  #timer: WheelTimer | undefined;
  #state: State = 'awaiting-connect';
  #version: ProtocolVersion | undefined;
  #clientId = '';
  #packetBytesMax = 0xffffffff;
  #receiveMaximum = 0xffff;
  #keepAliveMs = 0;
  #lastReadMs: number;
  #expirySeconds = 0;
  #explains = true;
  #session: LiveSession | undefined;
  #publishes: InboundPublishes | undefined;
  /** Work that has to end before the next packet is taken. */
  #holds = 0;
  #stalledSinceMs: number | undefined;

  constructor(socket: Socket, context: BrokerContext) {
    this.#socket = socket;
    this.#context = context;
    this.#lastReadMs = context.clock.monotonicMs();
    this.output = new Output(socket, context.output, context.limits.socketBytesMax);
    this.#framer = new PacketFramer(this, context.limits.packetBytesBeforeAuthMax);
    this.#timer = context.wheel.timer(() => this.#timeUp());
    this.#timer.set(context.limits.connectTimeoutMs);
    socket.on('data', (chunk: Buffer) => this.#read(chunk));
    socket.on('drain', () => this.#drained());
    socket.on('error', () => this.close(undefined));
    socket.on('close', () => this.close(undefined));
  }

  get mqtt5(): boolean {
    return this.#version === 5;
  }

  get packetBytesMax(): number {
    return this.#packetBytesMax;
  }

  get receiveMaximum(): number {
    return this.#receiveMaximum;
  }

  get clientId(): string {
    return this.#clientId;
  }

  get session(): LiveSession | undefined {
    return this.#session;
  }

  // ---- reading

  #read(chunk: Buffer): void {
    this.#lastReadMs = this.#context.clock.monotonicMs();
    this.#context.counters.bytesIn += chunk.length;
    const wrong = this.#framer.push(chunk);
    this.#context.decoder.release();
    if (wrong !== undefined) this.fail(wrong);
  }

  onFrame(frame: Frame): boolean {
    const packet = this.#context.decoder.decode(frame, this.#version);
    if (packet.kind === 'fault') {
      this.fail(packet);
      return false;
    }
    this.#take(packet);
    return this.#holds === 0 && this.#state !== 'closed';
  }

  #take(packet: ClientPacket): void {
    if (packet.kind === 'connect') {
      this.#hold(this.#connect(packet));
      return;
    }
    const session = this.#session;
    const publishes = this.#publishes;
    if (session === undefined || publishes === undefined) return;
    switch (packet.kind) {
      case 'publish':
        publishes.publish(packet);
        return;
      case 'puback':
        session.acknowledged(packet.packetId);
        return;
      case 'pubrec':
        this.#pubrec(session, packet);
        return;
      case 'pubrel':
        publishes.release(packet.packetId);
        return;
      case 'pubcomp':
        session.completed(packet.packetId);
        return;
      case 'subscribe':
        this.#hold(this.#subscribe(session, packet));
        return;
      case 'unsubscribe':
        this.#hold(this.#unsubscribe(session, packet));
        return;
      case 'pingreq':
        encodePingresp(this.#context.output.writer);
        this.output.written();
        return;
      case 'disconnect':
        this.#disconnected(packet);
        return;
      case 'auth':
        this.fail(protocolError('MQTT5-4.12.0-1', 'AUTH without an authentication method'));
        return;
      default:
    }
  }

  /** Takes no further packet until `work` is done; a rejection ends the connection. */
  #hold(work: Promise<void>): void {
    this.pause();
    work.then(
      () => this.proceed(),
      (thrown: unknown) => this.failed(toOperatingError(thrown)),
    );
  }

  /** Stops reading until {@link proceed} was called as often. */
  pause(): void {
    if (this.#holds++ === 0) this.#socket.pause();
  }

  proceed(): void {
    if (--this.#holds > 0 || this.#state === 'closed') return;
    const wrong = this.#framer.resume();
    if (wrong !== undefined) this.fail(wrong);
    else if (this.#holds === 0) this.#socket.resume();
  }

  #drained(): void {
    this.output.drained();
    this.#stalledSinceMs = undefined;
    this.#session?.roomMade();
  }

  // ---- CONNECT

  async #connect(packet: ConnectPacket): Promise<void> {
    this.#state = 'connecting';
    this.#version = packet.protocolVersion;
    this.#packetBytesMax = packet.packetBytesMax;
    this.#receiveMaximum = packet.receiveMaximum;
    this.#explains = packet.requestProblemInformation;
    this.#expirySeconds = packet.sessionExpirySeconds;
    const refusal = this.#refusalOf(packet);
    if (refusal !== undefined) {
      this.#refuse(refusal);
      return;
    }
    this.#clientId = packet.clientId || `auto-${this.#context.random.bytes(8).toString('hex')}`;
    this.#framer.configure(packet.protocolVersion, this.#context.limits.packetBytesMax);
    this.#context.clients.get(this.#clientId)?.takenOver();
    this.#context.clients.set(this.#clientId, this);
    try {
      const granted = await this.#grant(packet);
      const grant = { clientId: this.#clientId, epoch: granted.epoch };
      if (this.#isClosed()) this.#endSession(grant, abnormal);
      else await this.#accept(packet, granted, grant);
    } catch (thrown) {
      const error = toOperatingError(thrown);
      this.#context.logger.warn({ clientId: this.#clientId, code: error.code }, error.message);
      this.#refuse(connackReasonByError[error.code]);
    }
  }

  #isClosed(): boolean {
    return this.#state === 'closed';
  }

  #refusalOf(packet: ConnectPacket): ReasonCode | undefined {
    if (packet.authenticationMethod !== undefined) return ReasonCode.badAuthenticationMethod;
    // 3.1 wants an id always, 3.1.1 when the session is to be kept. [MQTT-3.1.3-8]
    if (packet.clientId !== '' || packet.protocolVersion === 5) return undefined;
    const allowed = packet.protocolVersion === 4 && packet.cleanStart;
    return allowed ? undefined : ReasonCode.clientIdentifierNotValid;
  }

  #grant(packet: ConnectPacket): Promise<SessionGranted> {
    return this.#context.sessions.connect({
      clientId: this.#clientId,
      connectionId: this.#context.nextConnectionId(),
      cleanStart: packet.cleanStart,
      expirySeconds: packet.sessionExpirySeconds,
      will: this.#willOf(packet),
    });
  }

  #willOf({ will }: ConnectPacket): WillToStore | undefined {
    if (will === undefined) return undefined;
    const clears = will.retain && will.payload.length === 0;
    return {
      topic: will.topic,
      value: clears ? null : will.payload,
      headers: storedHeadersOfWill(will, publisherHash(this.#clientId)),
      delaySeconds: will.delaySeconds,
    };
  }

  async #accept(
    packet: ConnectPacket,
    granted: SessionGranted,
    grant: SessionGrant,
  ): Promise<void> {
    const context = this.#context;
    const publisher = publisherHash(this.#clientId);
    const durable = packet.sessionExpirySeconds > 0;
    const session = new LiveSession(this, context.delivery, { grant, durable, publisher });
    this.#session = session;
    this.#publishes = new InboundPublishes(this, context, {
      grant,
      durable,
      publisher,
      storedPacketIds: granted.inboundPacketIds,
    });
    this.#state = 'active';
    this.#keepAliveMs = packet.keepAliveSeconds * 1000 * keepAliveFactor;
    if (this.#keepAliveMs > 0) this.#timer?.set(this.#keepAliveMs);
    else {
      this.#timer?.cancel();
      this.#timer = undefined;
    }
    this.#connack({
      sessionPresent: granted.present,
      reasonCode: ReasonCode.success,
      receiveMaximum: context.limits.receiveMaximum,
      packetBytesMax: context.limits.packetBytesMax,
      topicAliasMaximum: context.limits.topicAliasMaximum,
      sharedSubscriptionAvailable: false,
      assignedClientId: packet.clientId === '' ? this.#clientId : undefined,
    });
    if (granted.present) await this.#resume(session, granted);
  }

  async #resume(session: LiveSession, granted: SessionGranted): Promise<void> {
    const subscriptions = granted.subscriptions.map(
      (stored) => new LiveSubscription(stored, this.#context.shardsOf(stored.filter)),
    );
    const ends = await endsOf(
      this.#context,
      subscriptions.flatMap((subscription) => subscription.shardIds),
    );
    if (!session.ended) await session.resume(granted, subscriptions, ends);
  }

  #connack(spec: ConnackSpec): void {
    encodeConnack(this.#context.output.writer, this.#receiver(), spec);
    this.output.written();
  }

  /** Nothing that follows a refused CONNECT is looked at. [MQTT5-3.1.4-6] */
  #refuse(reasonCode: ReasonCode): void {
    if (this.#isClosed()) return;
    countFault(this.#context.counters, reasonCode);
    this.#connack({ sessionPresent: false, reasonCode });
    this.close(undefined);
  }

  // ---- the other packets

  #pubrec(session: LiveSession, packet: AckPacket): void {
    const failed = packet.reasonCode >= ReasonCode.unspecifiedError;
    if (session.received(packet.packetId, failed) || failed) return;
    this.sendAck('pubrel', packet.packetId, ReasonCode.packetIdentifierNotFound);
  }

  async #subscribe(session: LiveSession, packet: SubscribePacket): Promise<void> {
    const { reasonCodes, replays } = await subscribe(this.#context, session, packet);
    if (session.ended) return;
    encodeSuback(this.#context.output.writer, this.#receiver(), packet.packetId, reasonCodes);
    this.output.written();
    void replayRetained(this.#context, session, replays);
  }

  async #unsubscribe(session: LiveSession, packet: UnsubscribePacket): Promise<void> {
    const reasonCodes = await unsubscribe(this.#context, session, packet);
    if (session.ended) return;
    encodeUnsuback(this.#context.output.writer, this.#receiver(), packet.packetId, reasonCodes);
    this.output.written();
  }

  #disconnected(packet: DisconnectPacket): void {
    const { sessionExpirySeconds: expirySeconds } = packet;
    if (expirySeconds !== undefined && expirySeconds > 0 && this.#expirySeconds === 0) {
      this.fail(protocolError('MQTT5-3.14.2-2', 'a session that expires at once cannot be kept'));
      return;
    }
    // Only a normal disconnection discards the will. [MQTT5-3.14.4-3]
    const publishWill = packet.reasonCode !== ReasonCode.success;
    this.close(undefined, { revoked: false, publishWill, expirySeconds });
  }

  sendAck(kind: AckKind, packetId: number, reasonCode: ReasonCode): void {
    encodeAck(this.#context.output.writer, this.#receiver(), kind, packetId, reasonCode);
    this.output.written();
  }

  sendPubrel(packetId: number): void {
    this.sendAck('pubrel', packetId, ReasonCode.success);
  }

  #receiver(): { version: ProtocolVersion; packetBytesMax: number } {
    return { version: this.#version ?? 4, packetBytesMax: this.#packetBytesMax };
  }

  // ---- the end

  #timeUp(): void {
    if (this.#state !== 'active') {
      this.close(undefined);
      return;
    }
    const idleMs = this.#context.clock.monotonicMs() - this.#lastReadMs;
    // While we do not read, the client cannot show that it lives.
    if (idleMs < this.#keepAliveMs || this.#holds > 0) {
      this.#timer?.set(Math.max(1, this.#keepAliveMs - idleMs));
      return;
    }
    this.fail(fault(ReasonCode.keepAliveTimeout, 'MQTT5-3.1.2-22', 'keep alive ran out'));
  }

  /** Ends a client that has taken nothing for too long. Called now and then. */
  checkStalled(nowMs: number): void {
    if (!this.output.full) return;
    this.#stalledSinceMs ??= nowMs;
    if (nowMs - this.#stalledSinceMs < this.#context.limits.stalledTimeoutMs) return;
    this.close(ReasonCode.quotaExceeded);
    this.#socket.destroy();
  }

  /** The same client id has connected to this broker again. [MQTT5-3.1.4-3] */
  takenOver(): void {
    this.#context.counters.takeovers++;
    this.close(ReasonCode.sessionTakenOver);
  }

  /** The session went to another broker. */
  revoked(reasonCode: ReasonCode): void {
    this.#context.counters.takeovers++;
    this.close(reasonCode, { revoked: true, publishWill: false, expirySeconds: undefined });
  }

  /** Something that the client asked for, or that it needs, cannot be had: it has to come back. */
  failed(error: OperatingError): void {
    if (this.#isClosed()) return;
    const { clientId } = this;
    this.#context.logger.warn({ clientId, code: error.code }, error.message);
    if (error.code === 'FENCED') this.revoked(ReasonCode.sessionTakenOver);
    else this.close(ReasonCode.implementationSpecificError);
  }

  /** The client broke the protocol. */
  fail(wrong: ProtocolFault): void {
    if (this.#isClosed()) return;
    const { logger, counters } = this.#context;
    countFault(counters, wrong.reasonCode);
    logger.debug({ clientId: this.#clientId, clause: wrong.clause }, wrong.message);
    const { answerVersion, connackCode } = wrong;
    const answered =
      answerVersion === 5 || (answerVersion !== undefined && connackCode !== undefined);
    if (this.#state === 'awaiting-connect' && answered) {
      this.#version = answerVersion;
      this.#connack({ sessionPresent: false, reasonCode: wrong.reasonCode });
    }
    this.close(wrong.reasonCode, abnormal, wrong.message);
  }

  /**
   * Ends the connection: MQTT 5 clients that got a CONNACK are told why. The session is told, unless
   * it goes on elsewhere.
   */
  close(reasonCode: ReasonCode | undefined, end: SessionEnd = abnormal, reason?: string): void {
    if (this.#isClosed()) return;
    const told = this.#state === 'active' && reasonCode !== undefined && this.mqtt5;
    this.#state = 'closed';
    this.#timer?.cancel();
    this.#timer = undefined;
    if (told) {
      const reasonString = this.#explains ? reason : undefined;
      const spec = { reasonCode, reasonString };
      encodeDisconnect(this.#context.output.writer, this.#receiver(), spec);
      this.output.written();
    }
    this.output.flush();
    this.#socket.end();
    this.#context.closing(this.#socket);
    if (this.#context.clients.get(this.#clientId) === this)
      this.#context.clients.delete(this.#clientId);
    const session = this.#session;
    if (session !== undefined) {
      const progress = session.durable ? session.progress() : undefined;
      session.end();
      this.#publishes?.end();
      if (!end.revoked) this.#endSession(session.grant, end, progress);
    }
    this.#context.closed(this);
  }

  #endSession(grant: SessionGrant, end: SessionEnd, progress?: SessionProgress): void {
    const { publishWill, expirySeconds } = end;
    const ended = this.#context.sessions.disconnect(grant, {
      publishWill,
      expirySeconds,
      progress,
    });
    this.#context.ending(
      ended.catch((thrown: unknown) => {
        const error = toOperatingError(thrown);
        if (error.code === 'FENCED') return;
        this.#context.logger.warn({ clientId: grant.clientId, code: error.code }, error.message);
      }),
    );
  }
}
