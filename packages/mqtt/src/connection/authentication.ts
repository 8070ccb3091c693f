import type {
  EnhancedExchange,
  ExchangeStep,
  LoginResult,
  Peer,
  Principal,
  PrincipalAccess,
  Refusal,
} from '@robustmq/auth';
import { toOperatingError, type WheelTimer } from '@robustmq/core';

import { encodeAuth } from '../codec/control-encoder.ts';
import type { AuthPacket, ClientPacket, ConnectPacket, ProtocolVersion } from '../codec/packet.ts';
import { fault, protocolError, type ProtocolFault } from '../codec/protocol-fault.ts';
import { ReasonCode } from '../codec/reason-code.ts';
import type { LiveSession } from '../delivery/live-session.ts';
import type { BrokerContext } from './broker-context.ts';
import { logMuted } from './muted.ts';
import type { Output } from './output.ts';

/** The connection whose client it is. */
export interface AuthenticatedClient {
  readonly clientId: string;
  readonly peer: Peer;
  readonly session: LiveSession | undefined;
  readonly packetBytesMax: number;
  readonly output: Output;
  hold(work: () => Promise<void>): void;
  /** The CONNECT with its will as rules for topics change it; undefined: it may have no such will, and is refused. */
  ownConnect(packet: ConnectPacket): ConnectPacket | undefined;
  /** The client is who it says it is, or nobody asks. `data` stands in the CONNACK. */
  admit(packet: ConnectPacket, data: Buffer | undefined): Promise<void>;
  refuse(reasonCode: ReasonCode): void;
  /** Until {@link admit} every packet goes to the authentication. */
  awaitAuth(version: ProtocolVersion): void;
  /** Ends the connection: who was let in may not stay. */
  revokeAccess(reasonCode: ReasonCode, reason: string): void;
  fail(wrong: ProtocolFault): void;
  close(reasonCode: ReasonCode | undefined): void;
}

/** How often the wall clock is looked at, which may jump. */
const expiryLookMs = 60_000;

/** Undefined: nobody asks who it is. */
export function authenticationOf(
  client: AuthenticatedClient,
  context: BrokerContext,
  packet: ConnectPacket,
): Authentication | undefined {
  const isAsked = context.access !== undefined || packet.authenticationMethod !== undefined;
  return isAsked ? new Authentication(client, context, packet) : undefined;
}

/** [MQTT5-4.12.0-7] */
export function authWithoutMethod(): ProtocolFault {
  return protocolError('MQTT5-4.12.0-7', 'AUTH without an authentication method in CONNECT');
}

function otherMethod(reasonCode: ReasonCode): ProtocolFault {
  return fault(reasonCode, 'MQTT5-4.12.0-5', 'another authentication method than in CONNECT');
}

function notOffered(): ProtocolFault {
  const message = 'the authentication method is not offered any more';
  return fault(ReasonCode.notAuthorized, 'MQTT5-4.12.1-2', message);
}

/** Who the client of a connection is, from its CONNECT to its end. */
export class Authentication {
  /** Has a password and a will in it: kept no longer than until the client is let in. */
  #packet: ConnectPacket | undefined;
  readonly #version: ProtocolVersion;
  readonly #method: string | undefined;
  readonly #client: AuthenticatedClient;
  readonly #context: BrokerContext;
  #exchange: EnhancedExchange | undefined;
  #access: PrincipalAccess | undefined;
  #userName: string | undefined;
  #expiry: WheelTimer | undefined;
  #isEnded = false;

  constructor(client: AuthenticatedClient, context: BrokerContext, packet: ConnectPacket) {
    this.#client = client;
    this.#context = context;
    this.#packet = packet;
    this.#version = packet.protocolVersion;
    this.#method = packet.authenticationMethod;
  }

  /** What the client may do; undefined: it is not let in yet, or may do everything. */
  get access(): PrincipalAccess | undefined {
    return this.#access;
  }

  /** Who the client has proved to be; undefined: nobody yet, or nobody asks. */
  get userName(): string | undefined {
    return this.#userName;
  }

  // ---- CONNECT

  /** Takes the credentials of the CONNECT. */
  async begin(): Promise<void> {
    const { authenticationData, userName, password } = this.#packet ?? {};
    const { access } = this.#context;
    if (this.#method !== undefined) {
      this.#exchange = this.#newExchange();
      if (this.#exchange === undefined) this.#client.refuse(ReasonCode.badAuthenticationMethod);
      else await this.#advance(this.#exchange, authenticationData);
    } else if (access !== undefined) {
      const { clientId, peer } = this.#client;
      await this.#judge(await access.login({ peer, clientId, userName, password }), undefined);
    }
  }

  /**
   * What comes before CONNACK of a client that gave a method: nothing but AUTH and DISCONNECT.
   * [MQTT5-3.1.2-30, -4.12.0-3, -4.12.0-4]
   */
  take(packet: Exclude<ClientPacket, ConnectPacket>): void {
    const exchange = this.#exchange;
    if (packet.kind === 'disconnect') {
      this.#client.close(undefined);
    } else if (packet.kind !== 'auth' || exchange === undefined) {
      this.#client.fail(protocolError('MQTT5-3.1.2-30', `${packet.kind} before CONNACK`));
    } else if (packet.reasonCode !== ReasonCode.continueAuthentication) {
      this.#client.fail(protocolError('MQTT5-4.12.0-3', 'Re-authenticate before CONNACK'));
    } else if (packet.authenticationMethod !== exchange.method) {
      this.#client.fail(otherMethod(ReasonCode.badAuthenticationMethod));
    } else {
      this.#client.hold(() => this.#advance(exchange, packet.authenticationData));
    }
  }

  async #advance(exchange: EnhancedExchange, data: Buffer | undefined): Promise<void> {
    const step = await exchange.step(data);
    if (this.#isEnded) return;
    if (step.kind === 'continue') {
      this.#sendAuth(ReasonCode.continueAuthentication, exchange.method, step.data);
      this.#client.awaitAuth(this.#version);
      return;
    }
    this.#exchange = undefined;
    await this.#judge(step, step.kind === 'admitted' ? step.data : undefined);
  }

  async #judge(result: LoginResult, data: Buffer | undefined): Promise<void> {
    const received = this.#packet;
    if (this.#isEnded || received === undefined) return;
    if (result.kind !== 'admitted') {
      this.#client.refuse(connackReasonOf(result));
      return;
    }
    const access = this.#context.access?.accessOf(result.principal);
    this.#userName = result.principal.identity?.userName;
    // The rules are asked about the topic to which the will goes.
    const packet = this.#client.ownConnect(received);
    if (packet === undefined) return;
    const { will } = packet;
    if (will !== undefined && access?.mayPublish(will.topic, will.qos, will.retain) === false) {
      const fields = { clientId: this.#client.clientId, topic: will.topic };
      this.#context.logger.info(fields, 'a CONNECT is refused: its will may not be published');
      this.#client.refuse(ReasonCode.notAuthorized);
      return;
    }
    this.#access = access;
    this.#watchExpiry(result.principal);
    this.#packet = undefined;
    await this.#client.admit(packet, data);
  }

  #sendAuth(reasonCode: ReasonCode, authenticationMethod: string, data: Buffer): void {
    const { packetBytesMax, output } = this.#client;
    const spec = { reasonCode, authenticationMethod, authenticationData: data };
    encodeAuth(this.#context.output.writer, packetBytesMax, spec);
    output.written();
  }

  #newExchange(): EnhancedExchange | undefined {
    const { clientId, peer } = this.#client;
    return this.#context.access?.exchange(this.#method ?? '', { clientId, peer });
  }

  // ---- once it is connected

  /** AUTH after CONNACK. [MQTT5-4.12.1-1] */
  again(packet: AuthPacket): void {
    const wrong = this.#faultOf(packet);
    const exchange = this.#exchange ?? this.#newExchange();
    if (wrong !== undefined) this.#client.fail(wrong);
    else if (exchange === undefined) this.#client.fail(notOffered());
    else this.#client.hold(() => this.#goOn(exchange, packet.authenticationData));
  }

  async #goOn(exchange: EnhancedExchange, data: Buffer | undefined): Promise<void> {
    const wrong = this.#proceed(exchange, await exchange.step(data));
    if (wrong !== undefined) this.#client.fail(wrong);
  }

  #faultOf(packet: AuthPacket): ProtocolFault | undefined {
    if (this.#method === undefined) return authWithoutMethod();
    // Libraries know 0x8C in CONNACK only, although a DISCONNECT might carry it. [MQTT5 section 2.4, MQTT5 section 3.14.2.1]
    if (packet.authenticationMethod !== this.#method) return otherMethod(ReasonCode.protocolError);
    const begins = packet.reasonCode === ReasonCode.reAuthenticate;
    if (begins !== (this.#exchange !== undefined)) return undefined;
    const what = begins ? 'Re-authenticate within an exchange' : 'AUTH outside an exchange';
    return protocolError('MQTT5-4.12.1', what);
  }

  #proceed(exchange: EnhancedExchange, step: ExchangeStep): ProtocolFault | undefined {
    this.#exchange = undefined;
    if (this.#isEnded) return undefined;
    if (step.kind === 'continue') {
      this.#exchange = exchange;
      this.#sendAuth(ReasonCode.continueAuthentication, exchange.method, step.data);
      return undefined;
    }
    // [MQTT5-4.12.1-2]
    if (step.kind !== 'admitted') {
      const message = 're-authentication has failed';
      return fault(disconnectReasonOf(step), 'MQTT5-4.12.1-2', message);
    }
    const { principal } = step;
    if (principal.identity?.userName !== this.#access?.principal.identity?.userName) {
      // What was granted was granted to somebody else.
      const message = 're-authentication as another user';
      return fault(ReasonCode.notAuthorized, 'MQTT5-4.12.1-2', message);
    }
    this.#take(principal);
    this.#watchExpiry(principal);
    this.#sendAuth(ReasonCode.success, exchange.method, step.data);
    return undefined;
  }

  /** Something has changed that may concern it: rules, bans, users. Never rejects. */
  async review(): Promise<void> {
    const access = this.#access;
    const control = this.#context.access;
    if (access === undefined || control === undefined) return;
    try {
      const review = await control.review(access.principal);
      if (this.#isEnded) return;
      if (review.kind === 'keep') this.#take(review.principal);
      else this.#revoke(review.because === 'ban', review.reason);
    } catch (thrown) {
      const { code, message } = toOperatingError(thrown);
      this.#context.logger.warn({ clientId: this.#client.clientId, code }, `review: ${message}`);
    }
  }

  #take(principal: Principal): void {
    const access = this.#access;
    if (access === undefined) return;
    if (access.principal !== principal) access.replacePrincipal(principal);
    const { session } = this.#client;
    if (session === undefined) return;
    session.accessChanged();
    logMuted(session, this.#context.logger);
  }

  #revoke(isBan: boolean, reason: string): void {
    this.#context.counters.revoked++;
    const { clientId } = this.#client;
    this.#context.logger.info({ clientId, reason }, 'a client may not stay');
    const reasonCode = isBan ? ReasonCode.administrativeAction : ReasonCode.notAuthorized;
    this.#client.revokeAccess(reasonCode, reason);
  }

  #watchExpiry({ identity }: Principal): void {
    this.#expiry?.cancel();
    const untilMs = identity?.expiresAtMs;
    if (untilMs === undefined) return;
    const leftMs = (): number => untilMs - this.#context.clock.wallMs();
    const timer = this.#context.wheel.timer(() => {
      if (leftMs() <= 0) this.#revoke(false, 'the credentials have expired');
      else timer.set(Math.min(leftMs(), expiryLookMs));
    });
    this.#expiry = timer;
    timer.set(Math.min(leftMs(), expiryLookMs));
  }

  /** The connection has ended. */
  end(): void {
    if (this.#isEnded) return;
    this.#isEnded = true;
    this.#expiry?.cancel();
    if (this.#access !== undefined) {
      this.#context.access?.connectionEnded(this.#client.clientId);
    }
  }
}

function connackReasonOf(refusal: Refusal): ReasonCode {
  switch (refusal.kind) {
    case 'denied':
      return refusal.credentials ? ReasonCode.badUserNameOrPassword : ReasonCode.notAuthorized;
    case 'banned':
      return ReasonCode.banned;
    default:
      return refusal.busy ? ReasonCode.serverBusy : ReasonCode.serverUnavailable;
  }
}

/** DISCONNECT has neither Banned nor Server unavailable. [MQTT5 section 3.14.2.1] */
function disconnectReasonOf(refusal: Refusal): ReasonCode {
  return refusal.kind === 'unavailable' ? ReasonCode.serverBusy : ReasonCode.notAuthorized;
}
