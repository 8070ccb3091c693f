import type { Peer } from '@robustmq/auth';
import { type OperatingError, toOperatingError, type WheelTimer } from '@robustmq/core';

import {
  type ConnackSpec,
  encodeAck,
  encodeConnack,
  encodeDisconnect,
} from '../codec/control-encoder.ts';
import { type Frame, type FrameSink, PacketFramer } from '../codec/framer.ts';
import type {
  AckKind,
  AuthPacket,
  ClientPacket,
  ConnectPacket,
  DisconnectPacket,
  ProtocolVersion,
} from '../codec/packet.ts';
import { fault, protocolError, type ProtocolFault } from '../codec/protocol-fault.ts';
import { connackReasonByError, ReasonCode } from '../codec/reason-code.ts';
import type { LiveSession } from '../delivery/live-session.ts';
import type { ClientSocket } from '../listener/client-socket.ts';
import type { Admitted } from '../listener/mqtt-listener.ts';
import { countFault } from '../server/mqtt-counters.ts';
import type { ClientTap } from '../trace/client-tap.ts';
import type {
  AnnouncedSession,
  SessionGrant,
  SessionGranted,
  SessionProgress,
} from '../session/session-gateway.ts';
import {
  type AuthenticatedClient,
  type Authentication,
  authenticationOf,
  authWithoutMethod,
} from './authentication.ts';
import type { BrokerContext } from './broker-context.ts';
import type { ConnectedClient } from './connected-client.ts';
import {
  acceptance,
  keepAliveSecondsOf,
  refusalOf,
  sessionExpirySeconds,
  silenceMsMax,
  willToStore,
} from './handshake.ts';
import { Output, type OutputOwner } from './output.ts';
import { type SessionClient, SessionPackets } from './session-packets.ts';

type State = 'awaiting-connect' | 'connecting' | 'authenticating' | 'active' | 'closed';

/** What the end of a connection means for its session. */
interface SessionEnd {
  /** The session goes on elsewhere already: nobody is told. */
  readonly revoked: boolean;
  readonly publishWill: boolean;
  readonly expirySeconds: number | undefined;
}

const abnormal: SessionEnd = { revoked: false, publishWill: true, expirySeconds: undefined };
const revoked: SessionEnd = { revoked: true, publishWill: false, expirySeconds: undefined };
/** The client never had a CONNACK: neither has its will been accepted. [MQTT5-3.1.2-7] */
const unaccepted: SessionEnd = { revoked: false, publishWill: false, expirySeconds: undefined };

/**
 * One client: awaiting-connect → connecting (→ authenticating → connecting …) → active → closed. A fault
 * in its bytes or its behaviour ends it with the code that the specification gives, and nothing else.
 */
export class Connection implements FrameSink, SessionClient, OutputOwner, AuthenticatedClient {
  readonly output: Output;
  /** Whom it is with. */
  readonly admitted: Admitted;
  /** Grows with each connection of the broker. */
  readonly number: number;
  readonly #socket: ClientSocket;
  readonly #context: BrokerContext;
  readonly #framer: PacketFramer;
  readonly #timer: WheelTimer;
  #state: State = 'awaiting-connect';
  #version: ProtocolVersion | undefined;
  #clientId = '';
  #connectionId = '';
  #packetBytesMax = 0xffffffff;
  #receiveMaximum = 0xffff;
  #topicAliasMaximum = 0;
  /** 0: it may be silent as long as it likes. */
  #silenceMsMax = 0;
  #lastReadMs: number;
  #expirySeconds = 0;
  #userName: string | undefined;
  readonly #sinceMs: number;
  #explains = true;
  /** Undefined: nobody asks who it is. */
  #authentication: Authentication | undefined;
  /** There once the client has its session. */
  #packets: SessionPackets | undefined;
  /** Work that has to end before the next packet is taken. */
  #holds = 0;
  #stalledSinceMs: number | undefined;
  #tap: ClientTap | undefined;
  /** Reason code of the client's DISCONNECT. */
  #leftWith: ReasonCode | undefined;
  /** Highest epoch of its client id that was revoked while it was connecting. */
  #revokedEpoch = 0;

  constructor(
    socket: ClientSocket,
    context: BrokerContext,
    { admitted, number }: { admitted: Admitted; number: number },
  ) {
    this.#socket = socket;
    this.#context = context;
    this.admitted = admitted;
    this.number = number;
    this.#sinceMs = context.clock.wallMs();
    this.#lastReadMs = context.clock.monotonicMs();
    const { socketBytesMax, packetBytesBeforeAuthMax, connectTimeoutMs } = context.limits;
    this.output = new Output(socket, {
      turn: context.output,
      owner: this,
      bytesMax: socketBytesMax,
    });
    this.#framer = new PacketFramer(this, packetBytesBeforeAuthMax);
    this.#timer = context.wheel.timer(() => this.#timeUp());
    this.#timer.set(connectTimeoutMs);
    const gone = (): void => this.close(undefined);
    socket.on('data', (chunk: Buffer) => this.#read(chunk));
    socket.on('drain', () => this.output.drained());
    socket.on('end', gone);
    socket.on('error', gone);
    socket.on('close', () => {
      this.close(undefined);
      context.gone(socket);
    });
  }

  get clientId(): string {
    return this.#clientId;
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

  get topicAliasMaximum(): number {
    return this.#topicAliasMaximum;
  }

  get explains(): boolean {
    return this.#explains;
  }

  get peer(): Peer {
    return this.admitted.peer;
  }

  get session(): LiveSession | undefined {
    return this.#packets?.session;
  }

  get user(): string {
    return this.#authentication?.userName ?? this.admitted.user ?? this.#userName ?? '';
  }

  /** What operators are told of it, once it has its session. */
  get client(): ConnectedClient | undefined {
    const { session } = this;
    if (session === undefined || this.#isClosed || this.#version === undefined) return undefined;
    const { peer } = this.admitted;
    return {
      number: this.number,
      clientId: this.#clientId,
      user: this.user,
      peer,
      version: this.#version,
      keepAliveSeconds: keepAliveSecondsOf(this.#silenceMsMax),
      sessionExpirySeconds: this.#expirySeconds,
      connectedSinceMs: this.#sinceMs,
      receivedBytes: this.#socket.bytesRead,
      sentBytes: this.#socket.bytesWritten,
      session,
    };
  }

  /** Its session, if only brokers know of it. */
  get announced(): AnnouncedSession | undefined {
    const { session } = this;
    if (session === undefined || session.durable || this.#isClosed) return undefined;
    return { ...session.grant, connectionId: this.#connectionId };
  }

  get #isClosed(): boolean {
    return this.#state === 'closed';
  }

  // ---- reading

  #read(chunk: Buffer): void {
    // After the end nothing of the client is looked at. [MQTT5-3.14.4-1]
    if (this.#isClosed) return;
    this.#lastReadMs = this.#context.clock.monotonicMs();
    this.#context.counters.bytesIn += chunk.length;
    this.#handle(this.#framer.push(chunk));
  }

  #handle(wrong: ProtocolFault | undefined): void {
    this.#context.decoder.release();
    if (wrong !== undefined) this.fail(wrong);
  }

  onFrame(frame: Frame): boolean {
    this.#tap?.received(frame);
    const packet = this.#context.decoder.decode(frame, this.#version);
    this.#context.counters.packetsIn++;
    if (packet.kind === 'fault') this.fail(packet);
    else this.#take(packet, frame);
    return this.#holds === 0 && !this.#isClosed;
  }

  #take(packet: ClientPacket, frame: Frame): void {
    if (packet.kind === 'connect') this.hold(() => this.#connect(packet, frame));
    else if (this.#state === 'authenticating') this.#authentication?.take(packet);
    else this.#packets?.take(packet);
  }

  /** Lets those look at its packets who want to now. */
  retap(): void {
    if (this.#version === undefined || this.#isClosed) return;
    const tap = this.#context.traces.tap(this.#clientId, this.#version, this.#tap);
    this.#tap = tap;
    this.output.tap = tap && ((packet) => tap.sent(packet));
  }

  /** Takes no further packet until `work` is done; a rejection ends the connection. */
  hold(work: () => Promise<void>): void {
    this.pause();
    work().then(
      () => this.proceed(),
      (thrown: unknown) => this.failed(toOperatingError(thrown)),
    );
  }

  /** Stops reading until {@link proceed} was called as often. */
  pause(): void {
    if (this.#holds++ === 0) this.#socket.pause();
  }

  proceed(): void {
    if (--this.#holds > 0 || this.#isClosed) return;
    // While we did not read, the client could not show that it lives.
    this.#lastReadMs = this.#context.clock.monotonicMs();
    this.#handle(this.#framer.resume());
    if (this.#holds === 0 && !this.#isClosed) this.#socket.resume();
  }

  /** The output is not full any more. */
  roomMade(): void {
    this.session?.roomMade();
  }

  // ---- CONNECT

  async #connect(packet: ConnectPacket, frame: Frame): Promise<void> {
    this.#state = 'connecting';
    this.#version = packet.protocolVersion;
    this.#packetBytesMax = packet.packetBytesMax;
    this.#receiveMaximum = packet.receiveMaximum;
    this.#topicAliasMaximum = packet.topicAliasMaximum;
    this.#explains = packet.requestProblemInformation;
    this.#userName = packet.userName;
    const { limits, random } = this.#context;
    this.#expirySeconds = sessionExpirySeconds(packet.sessionExpirySeconds, limits);
    this.#clientId = packet.clientId || `auto-${random.bytes(8).toString('hex')}`;
    this.retap();
    this.#tap?.received(frame);
    const refusal = refusalOf(packet) ?? this.#connackFault(packet);
    if (refusal !== undefined) {
      this.refuse(refusal);
      return;
    }
    this.#authentication = authenticationOf(this, this.#context, packet);
    if (this.#authentication !== undefined) {
      await this.#authentication.begin();
      return;
    }
    const own = this.ownConnect(packet);
    if (own !== undefined) await this.admit(own, undefined);
  }

  awaitAuth(version: ProtocolVersion): void {
    this.#state = 'authenticating';
    this.#framer.configure(version, this.#context.limits.packetBytesBeforeAuthMax);
  }

  async admit(packet: ConnectPacket, authenticationData: Buffer | undefined): Promise<void> {
    if (this.#isClosed) return;
    this.#state = 'connecting';
    this.#framer.configure(packet.protocolVersion, this.#context.limits.packetBytesMax);
    this.#claimClientId();
    const granted = await this.#grant(packet);
    if (granted === undefined) return;
    const grant = { clientId: this.#clientId, epoch: granted.epoch };
    if (this.#isClosed) this.#endSession(grant, unaccepted);
    else if (granted.epoch <= this.#revokedEpoch) this.refuse(ReasonCode.serverUnavailable);
    else await this.#accept(packet, granted, authenticationData);
  }

  /** A will to no topic at all is refused like one to a topic of the server's. */
  ownConnect(packet: ConnectPacket): ConnectPacket | undefined {
    const { rewriter } = this.#context;
    const { will } = packet;
    if (will === undefined) return packet;
    const owner = { clientId: this.#clientId, user: this.user };
    const topic = rewriter === undefined ? will.topic : rewriter.name(will.topic, owner);
    if (topic === undefined || topic.startsWith('$')) {
      this.refuse(ReasonCode.topicNameInvalid);
      return undefined;
    }
    return topic === will.topic ? packet : { ...packet, will: { ...will, topic } };
  }

  /** The answer has to fit, or nobody is taken over for it. [MQTT5-3.1.2-24] */
  #connackFault(packet: ConnectPacket): ReasonCode | undefined {
    const { limits, output } = this.#context;
    const spec = acceptance(packet, {
      sessionPresent: false,
      clientId: this.#clientId,
      limits,
      authenticationData: undefined,
    });
    encodeConnack(output.writer, this.receiver, spec);
    const fits = output.writer.length <= this.#packetBytesMax;
    output.writer.clear();
    return fits ? undefined : ReasonCode.packetTooLarge;
  }

  /** Only who was let in may take a session over. */
  #claimClientId(): void {
    const { clients } = this.#context;
    clients.get(this.#clientId)?.takenOver();
    clients.set(this.#clientId, this);
  }

  /** Undefined: the client was refused. */
  async #grant(packet: ConnectPacket): Promise<SessionGranted | undefined> {
    this.#connectionId = this.#context.nextConnectionId();
    try {
      return await this.#context.sessions.connect({
        clientId: this.#clientId,
        connectionId: this.#connectionId,
        cleanStart: packet.cleanStart,
        expirySeconds: this.#expirySeconds,
        will: willToStore(packet, this.#clientId),
      });
    } catch (thrown) {
      const error = toOperatingError(thrown);
      this.#context.logger.warn({ clientId: this.#clientId, code: error.code }, error.message);
      this.refuse(connackReasonByError[error.code]);
      return undefined;
    }
  }

  async #accept(
    packet: ConnectPacket,
    granted: SessionGranted,
    authenticationData: Buffer | undefined,
  ): Promise<void> {
    const { limits } = this.#context;
    const { present: sessionPresent, epoch } = granted;
    const clientId = this.#clientId;
    const packets = new SessionPackets(this, this.#context, {
      grant: { clientId, epoch },
      durable: this.#expirySeconds > 0,
      granted,
      access: this.#authentication?.access,
    });
    this.#packets = packets;
    this.#state = 'active';
    this.#silenceMsMax = silenceMsMax(packet, limits);
    if (this.#silenceMsMax > 0) this.#timer.set(this.#silenceMsMax);
    else this.#timer.cancel();
    this.#context.counters.connects++;
    this.#connack(acceptance(packet, { sessionPresent, clientId, limits, authenticationData }));
    this.#tellConnected(packet.cleanStart, sessionPresent);
    if (sessionPresent) await packets.resume(granted);
    if (!this.#isClosed) await packets.subscribeByItself();
  }

  #tellConnected(cleanStart: boolean, sessionPresent: boolean): void {
    const { events } = this.#context;
    const client = events.tells('connected') ? this.client : undefined;
    if (client !== undefined) events.connected(client, { cleanStart, sessionPresent });
  }

  /** A refusal that is larger than the client takes is left out. */
  #connack(spec: ConnackSpec): void {
    const { writer } = this.#context.output;
    encodeConnack(writer, this.receiver, spec);
    if (writer.length <= this.#packetBytesMax) this.output.written();
    else writer.clear();
  }

  /** Nothing that follows a refused CONNECT is looked at. [MQTT5-3.1.4-6] */
  refuse(reasonCode: ReasonCode): void {
    if (this.#isClosed) return;
    countFault(this.#context.counters, reasonCode);
    this.#connack({ sessionPresent: false, reasonCode });
    this.close(undefined);
  }

  // ---- who it is

  authenticateAgain(packet: AuthPacket): void {
    if (this.#authentication !== undefined) this.#authentication.again(packet);
    else this.fail(authWithoutMethod());
  }

  /** Rules, bans or users have changed. Never rejects. */
  reviewAccess(): Promise<void> {
    return this.#authentication?.review() ?? Promise.resolve();
  }

  revokeAccess(reasonCode: ReasonCode, reason: string): void {
    if (this.#state === 'active') this.close(reasonCode, abnormal, reason);
    else this.refuse(ReasonCode.notAuthorized);
  }

  // ---- what its session asks for

  disconnected(packet: DisconnectPacket): void {
    const { sessionExpirySeconds: asked } = packet;
    if (asked !== undefined && asked > 0 && this.#expirySeconds === 0) {
      this.fail(protocolError('MQTT5-3.14.2.2.2', 'a session that ends at once cannot be kept'));
      return;
    }
    const expirySeconds = asked && sessionExpirySeconds(asked, this.#context.limits);
    // Only a normal disconnection discards the will. [MQTT5-3.14.4-3]
    const publishWill = packet.reasonCode !== ReasonCode.success;
    this.#leftWith = packet.reasonCode;
    this.close(undefined, { revoked: false, publishWill, expirySeconds });
  }

  /** `reasonString` is for clients that ask for it. [MQTT5-3.1.2-29] */
  sendAck(kind: AckKind, packetId: number, reasonCode: ReasonCode, reasonString?: string): void {
    const { writer } = this.#context.output;
    const explanation = this.#explains && reasonString !== undefined ? { reasonString } : undefined;
    encodeAck(writer, this.receiver, kind, packetId, reasonCode, explanation);
    this.output.written();
  }

  sendPubrel(packetId: number): void {
    this.sendAck('pubrel', packetId, ReasonCode.success);
  }

  get receiver(): { version: ProtocolVersion; packetBytesMax: number } {
    return { version: this.#version ?? 4, packetBytesMax: this.#packetBytesMax };
  }

  // ---- the end

  #timeUp(): void {
    if (this.#state === 'connecting') {
      this.refuse(ReasonCode.serverUnavailable);
      return;
    }
    if (this.#state !== 'active') {
      this.close(undefined);
      return;
    }
    const leftMs = this.#lastReadMs + this.#silenceMsMax - this.#context.clock.monotonicMs();
    // While we do not read, the client cannot show that it lives.
    if (this.#holds > 0) this.#timer.set(this.#silenceMsMax);
    else if (leftMs > 0) this.#timer.set(leftMs);
    else this.fail(fault(ReasonCode.keepAliveTimeout, 'MQTT5-3.1.2-22', 'keep alive ran out'));
  }

  /** Ends a client that has taken nothing for too long. Called now and then. */
  checkStalled(nowMs: number): void {
    if (!this.output.full) {
      this.#stalledSinceMs = undefined;
      return;
    }
    this.#stalledSinceMs ??= nowMs;
    if (nowMs - this.#stalledSinceMs < this.#context.limits.stalledTimeoutMs) return;
    this.#context.counters.stalled++;
    this.close(ReasonCode.quotaExceeded);
    this.#socket.destroy();
  }

  /** The same client id has connected to this broker again. [MQTT5-3.1.4-3] */
  takenOver(): void {
    this.#context.counters.takeovers++;
    this.close(ReasonCode.sessionTakenOver);
  }

  /** The session of that epoch has ended, or goes on at another broker. */
  revoke(epoch: number, reasonCode: ReasonCode): void {
    const { session } = this;
    if (session === undefined) {
      this.#revokedEpoch = Math.max(this.#revokedEpoch, epoch);
    } else if (session.grant.epoch <= epoch) {
      this.#context.counters.takeovers++;
      this.close(reasonCode, revoked);
    }
  }

  /** Something that the client asked for, or that it needs, cannot be had: it has to come back. */
  failed(error: OperatingError): void {
    if (this.#isClosed) return;
    this.#context.logger.warn({ clientId: this.#clientId, code: error.code }, error.message);
    const epoch = this.session?.grant.epoch;
    if (error.code === 'FENCED' && epoch !== undefined) {
      this.revoke(epoch, ReasonCode.sessionTakenOver);
    } else {
      this.close(ReasonCode.implementationSpecificError);
    }
  }

  /** The client broke the protocol. */
  fail(wrong: ProtocolFault): void {
    if (this.#isClosed) return;
    const { logger, counters } = this.#context;
    countFault(counters, wrong.reasonCode);
    logger.debug({ clientId: this.#clientId, clause: wrong.clause }, wrong.message);
    const { answerVersion, connackCode } = wrong;
    const isAnswered =
      answerVersion === 5 || (answerVersion !== undefined && connackCode !== undefined);
    if (this.#state === 'awaiting-connect' && isAnswered) {
      this.#version = answerVersion;
      this.#connack({ sessionPresent: false, reasonCode: wrong.reasonCode });
    } else if (this.#state === 'authenticating') {
      this.#connack({ sessionPresent: false, reasonCode: wrong.reasonCode });
    }
    this.close(wrong.reasonCode, abnormal, wrong.message);
  }

  /**
   * Ends the connection: MQTT 5 clients that got a CONNACK are told why. The session is told, unless
   * it goes on elsewhere.
   */
  close(reasonCode: ReasonCode | undefined, end: SessionEnd = abnormal, reason?: string): void {
    if (this.#isClosed) return;
    this.#tellGone(reasonCode);
    const isTold = this.#state === 'active' && reasonCode !== undefined && this.mqtt5;
    this.#state = 'closed';
    this.#timer.cancel();
    if (isTold) {
      const reasonString = this.#explains ? reason : undefined;
      const spec = { reasonCode, reasonString };
      encodeDisconnect(this.#context.output.writer, this.receiver, spec);
      this.output.written();
    }
    this.output.flush();
    this.#tap?.ended(reason);
    this.#socket.end();
    this.#context.closing(this.#socket);
    const { clients } = this.#context;
    if (clients.get(this.#clientId) === this) clients.delete(this.#clientId);
    this.#closeSession(end);
    this.#authentication?.end();
    this.#context.closed(this);
  }

  #tellGone(reasonCode: ReasonCode | undefined): void {
    const { events } = this.#context;
    const isBroker = reasonCode !== undefined;
    const by = isBroker ? 'broker' : this.#leftWith === undefined ? 'network' : 'client';
    const client = events.tells('disconnected') ? this.client : undefined;
    if (client !== undefined) {
      events.disconnected(client, { by, reasonCode: reasonCode ?? this.#leftWith });
    }
  }

  #closeSession(end: SessionEnd): void {
    const packets = this.#packets;
    if (packets === undefined) return;
    const { session } = packets;
    const progress = session.durable ? session.progress() : undefined;
    packets.end();
    if (!end.revoked) this.#endSession(session.grant, end, progress);
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
