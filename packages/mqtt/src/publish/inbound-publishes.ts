import type { PrincipalAccess } from '@robustmq/auth';
import { OperatingError } from '@robustmq/core';
import type { PendingBatch, RecordToAppend } from '@robustmq/journal-client';
import { noHeaders } from '@robustmq/record-batch';

import type { AckKind, PublishPacket } from '../codec/packet.ts';
import { fault, type ProtocolFault } from '../codec/protocol-fault.ts';
import { newPublishPacket } from '../codec/publish-decoder.ts';
import { ackReasonByError, ReasonCode } from '../codec/reason-code.ts';
import type { BrokerContext } from '../connection/broker-context.ts';
import { HeaderEncoder, hasReservedUserProperty } from '../message/header-encoder.ts';
import type { SessionGrant } from '../session/session-gateway.ts';
import { meterDropped, meterIn } from '../slow/topic-meters.ts';
import { AckQueue, type AckOwed, type AckSink, type Refusal } from './ack-queue.ts';
import { PublishQuota } from './publish-quota.ts';
import { PublishRouter, type Rewrite, type Unroutable } from './publish-router.ts';
import { QosTwoInbox } from './qos-two-inbox.ts';
import type { PublishRoute } from './route-table.ts';

/** The client that publishes. */
export interface PublishClient {
  readonly mqtt5: boolean;
  sendAck(kind: AckKind, packetId: number, reasonCode: ReasonCode, reasonString?: string): void;
  /** Stops reading until `proceed` was called as often. */
  pause(): void;
  proceed(): void;
  fail(wrong: ProtocolFault): void;
  failed(error: OperatingError): void;
}

/** The session of the client that publishes. */
export interface PublishSession {
  readonly grant: SessionGrant;
  readonly durable: boolean;
  readonly publisher: Buffer;
  readonly access: PrincipalAccess | undefined;
}

const noTokens = new Uint32Array(0);
/** Filled anew for each record: the appender keeps nothing of it. */
const record: RecordToAppend = {
  timestampMs: 0,
  key: null,
  value: null,
  headers: noHeaders,
  filterTokens: noTokens,
};

/** What one client publishes, from its packet to the acknowledgement. */
export class InboundPublishes implements AckSink {
  readonly #client: PublishClient;
  readonly #context: BrokerContext;
  readonly #session: PublishSession;
  readonly #router: PublishRouter;
  readonly #headers: HeaderEncoder;
  readonly #acks = new AckQueue(this);
  readonly #quota: PublishQuota;
  readonly #inbox: QosTwoInbox;
  #isEnded = false;

  /** `storedPacketIds`: QoS 2 publishes that an earlier connection left in the session's shard. */
  constructor(
    client: PublishClient,
    context: BrokerContext,
    own: {
      session: PublishSession;
      storedPacketIds: readonly number[];
      rewrite?: Rewrite | undefined;
    },
  ) {
    const { limits, routes } = context;
    const { session, storedPacketIds, rewrite } = own;
    this.#client = client;
    this.#context = context;
    this.#session = session;
    const { access } = session;
    this.#router = new PublishRouter(routes, limits.topicAliasMaximum, access, rewrite);
    this.#headers = new HeaderEncoder(session.publisher);
    this.#quota = new PublishQuota(client, limits);
    this.#inbox = new QosTwoInbox({ client, context, session, quota: this.#quota });
    this.#inbox.takeOver(storedPacketIds);
  }

  /** The connection has ended: what is under way is finished without an answer. */
  end(): void {
    this.#isEnded = true;
    this.#inbox.end();
  }

  /** Takes a PUBLISH. */
  publish(packet: PublishPacket): void {
    const { qos, packetId } = packet;
    this.#context.counters.publishesIn[qos]++;
    // Also of a message that is here already: those behind it may use its alias. [MQTT5-3.3.2-12]
    const route = this.#router.route(packet);
    if (qos > 0) {
      if (qos === 2 && this.#inbox.repeated(packetId)) return;
      if (!this.#quota.take()) return;
    }
    if (route === undefined) {
      this.#unroutable(packet, this.#router.unroutable);
    } else if (packet.userPropertyCount > 0 && hasReservedUserProperty(packet)) {
      // Its name is reserved for brokers.
      const reasonCode = ReasonCode.implementationSpecificError;
      this.#refusePublish(packet, { reasonCode, reason: 'a user property has a reserved name' });
    } else if (this.#setsRetained(packet) && !this.#hasRoom(route)) {
      this.#refuseRetained(packet, route);
    } else {
      this.#take(packet, route);
    }
  }

  #take(packet: PublishPacket, route: PublishRoute): void {
    if (route.meters !== undefined) meterIn(route.meters, packet.payloadEnd - packet.payloadStart);
    if (packet.qos === 2 && this.#session.durable) this.#inbox.store(packet, this.#router.topic);
    else this.#append(packet, route);
  }

  /** PUBREL. */
  release(packetId: number): void {
    this.#inbox.release(packetId);
  }

  // ---- into the log

  #append(packet: PublishPacket, route: PublishRoute): void {
    let batch: PendingBatch | undefined;
    try {
      batch = this.#tryAppend(packet, route);
    } catch (thrown) {
      if (!(thrown instanceof OperatingError)) throw thrown;
      this.#refusePublish(packet, refusalOf(thrown));
      return;
    }
    const { qos, packetId } = packet;
    if (qos === 0) {
      if (batch === undefined) this.#droppedFull(packet, route);
    } else if (batch === undefined) {
      this.#appendLater(packet, route);
    } else {
      if (qos === 2) this.#inbox.appending(packetId);
      this.#acks.push(batch, qos === 2 ? 'pubrec' : 'puback', packetId);
    }
  }

  #droppedFull({ payloadStart, payloadEnd }: PublishPacket, { meters }: PublishRoute): void {
    this.#context.counters.droppedIn++;
    if (meters !== undefined) meterDropped(meters, payloadEnd - payloadStart);
  }

  #tryAppend(packet: PublishPacket, route: PublishRoute): PendingBatch | undefined {
    const { buffer, payloadStart, payloadEnd } = packet;
    const clears = packet.retain && payloadStart === payloadEnd;
    record.timestampMs = this.#context.turnTime.wallMs;
    record.key = route.key;
    record.value = clears ? null : buffer.subarray(payloadStart, payloadEnd);
    record.headers = this.#headers.encode(packet);
    record.filterTokens = route.filterTokens;
    return route.appender.append(record, packet.qos === 0 ? 'none' : 'quorum');
  }

  /** The partition's queue is full: nothing more is read until this one is in it. */
  #appendLater(packet: PublishPacket, route: PublishRoute): void {
    const copy = newPublishPacket();
    Object.assign(copy, packet, { buffer: Buffer.from(packet.buffer) });
    this.#client.pause();
    route.appender.onWritable(() => {
      if (!this.#isEnded) this.#append(copy, route);
      this.#client.proceed();
    });
  }

  acknowledge(owed: AckOwed, packetId: number, error: OperatingError | undefined): void {
    if (this.#isEnded) return;
    if (error !== undefined && !this.#client.mqtt5) {
      // MQTT 3 cannot say no: the client sends it again when it is back. [MQTT-3.3.5-2]
      this.#client.failed(new OperatingError('UNAVAILABLE', error.message));
      return;
    }
    this.#answer(owed, packetId, error && refusalOf(error));
  }

  refuse(owed: AckOwed, packetId: number, refusal: Refusal): void {
    if (!this.#isEnded) this.#answer(owed, packetId, refusal);
  }

  #answer(owed: AckOwed, packetId: number, refusal: Refusal | undefined): void {
    const reasonCode = refusal?.reasonCode ?? ReasonCode.success;
    const isReceived = owed === 'pubrec' && reasonCode < ReasonCode.unspecifiedError;
    if (isReceived) this.#inbox.appended(packetId);
    else if (owed === 'pubrec') this.#inbox.forget(packetId);
    this.#client.sendAck(owed, packetId, reasonCode, refusal?.reason);
    this.#quota.answered(0);
    if (!isReceived) this.#quota.finished();
  }

  // ---- refusals

  #unroutable(packet: PublishPacket, why: Unroutable): void {
    if (why === 'server-topic') {
      this.#refuseServerTopic(packet);
    } else if (why === 'not-authorized') {
      this.#notAuthorized(packet);
    } else if (why !== 'unknown-topic') {
      this.#client.fail(why);
    } else if (packet.qos === 0) {
      this.#context.counters.droppedIn++;
    } else if (this.#client.mqtt5) {
      this.#refusePublish(packet, { reasonCode: ReasonCode.unspecifiedError, reason: noTopicYet });
    } else {
      const message = noTopicYet;
      this.#client.failed(new OperatingError('UNAVAILABLE', message));
    }
  }

  /** MQTT 3 clients that publish there expect to go on: they are answered as if it had been taken. [MQTT-3.3.5-2] */
  #refuseServerTopic(packet: PublishPacket): void {
    const refusal = { reasonCode: ReasonCode.topicNameInvalid, reason: undefined };
    if (this.#client.mqtt5) {
      this.#refusePublish(packet, refusal);
      return;
    }
    this.#context.counters.droppedIn++;
    if (packet.qos > 0) this.#pushRefusal(packet, refusal);
  }

  /** MQTT 3 cannot say no to one publish: it is acknowledged and dropped, as Mosquitto does, or the client goes. */
  #notAuthorized(packet: PublishPacket): void {
    const { counters, refusedPublish } = this.#context;
    counters.droppedUnauthorized++;
    const isTold = this.#client.mqtt5 || refusedPublish === 'acknowledge';
    const refusal = { reasonCode: ReasonCode.notAuthorized, reason: undefined };
    if (!isTold) this.#refusePublish(packet, refusal);
    else if (packet.qos > 0) this.#pushRefusal(packet, refusal);
  }

  #setsRetained({ retain, payloadStart, payloadEnd }: PublishPacket): boolean {
    return retain && payloadEnd > payloadStart;
  }

  #hasRoom({ appender }: PublishRoute): boolean {
    return this.#context.retained.hasRoom(appender.shardId);
  }

  /**
   * There is no room for one more retained message. Who can be told is. For the others the message is one
   * like any other: the server may let go of a retained one at any time. [MQTT5 section 3.3.1.3]
   */
  #refuseRetained(packet: PublishPacket, route: PublishRoute): void {
    const { counters, seldomLog } = this.#context;
    const { clientId } = this.#session.grant;
    const topic = topicOf(packet) || this.#router.topic;
    const isTold = this.#client.mqtt5 && packet.qos > 0;
    const text = isTold
      ? 'retained publishes are refused: their coordinator has no room'
      : 'messages are delivered and not retained: their coordinator has no room';
    seldomLog.warn(`retained ${isTold}`, 1, { fields: { clientId, topic }, text });
    if (isTold) {
      counters.retainedRefused.told++;
      const reason = 'there is no room for more retained messages';
      this.#refusePublish(packet, { reasonCode: ReasonCode.quotaExceeded, reason });
    } else {
      counters.retainedRefused.deliveredOnly++;
      this.#take({ ...packet, retain: false }, route);
    }
  }

  /** A publish that is not taken. */
  #refusePublish(packet: PublishPacket, refusal: Refusal): void {
    if (packet.qos > 0 && this.#client.mqtt5) {
      this.#pushRefusal(packet, refusal);
      return;
    }
    // Nobody can be told but by the end of the connection. [MQTT-3.3.5-2]
    const { reasonCode, reason } = refusal;
    const what = `a publish to ${JSON.stringify(topicOf(packet))} is refused`;
    const message = reason === undefined ? what : `${what}: ${reason}`;
    this.#client.fail(fault(reasonCode, 'MQTT5-3.3.5', message));
  }

  /** The refusal keeps its place among the acknowledgements; to MQTT 3 it is one of them. */
  #pushRefusal({ qos, packetId }: PublishPacket, refusal: Refusal): void {
    this.#acks.pushRefusal(refusal, qos === 2 ? 'pubrec' : 'puback', packetId);
  }
}

const noTopicYet = 'the topic that takes the message is not in the catalog yet';

/** The code says it to the client; the message names what is inside. */
function refusalOf({ code }: OperatingError): Refusal {
  return { reasonCode: ackReasonByError[code], reason: `the message was not stored: ${code}` };
}

function topicOf({ buffer, topicStart, topicEnd }: PublishPacket): string {
  return buffer.toString('utf8', topicStart, topicEnd);
}
