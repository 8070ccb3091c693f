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
import { AckQueue, type AckOwed, type AckSink } from './ack-queue.ts';
import { PublishQuota } from './publish-quota.ts';
import { PublishRouter, type Unroutable } from './publish-router.ts';
import { QosTwoInbox } from './qos-two-inbox.ts';
import type { PublishRoute } from './route-table.ts';

/** The client that publishes. */
export interface PublishClient {
  readonly mqtt5: boolean;
  sendAck(kind: AckKind, packetId: number, reasonCode: ReasonCode): void;
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
    own: { session: PublishSession; storedPacketIds: readonly number[] },
  ) {
    const { limits, routes } = context;
    const { session, storedPacketIds } = own;
    this.#client = client;
    this.#context = context;
    this.#session = session;
    this.#router = new PublishRouter(routes, limits.topicAliasMaximum, session.access);
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
    if (qos > 0) {
      if (qos === 2 && this.#inbox.repeated(packetId)) return;
      if (!this.#quota.take()) return;
    }
    const route = this.#router.route(packet);
    if (route === undefined) {
      this.#unroutable(packet, this.#router.unroutable);
    } else if (packet.userPropertyCount > 0 && hasReservedUserProperty(packet)) {
      // Its name is reserved for brokers.
      this.#refusePublish(packet, ReasonCode.implementationSpecificError);
    } else if (qos === 2 && this.#session.durable) {
      this.#inbox.store(packet, this.#router.topic);
    } else {
      this.#append(packet, route);
    }
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
      this.#refusePublish(packet, ackReasonByError[thrown.code]);
      return;
    }
    const { qos, packetId } = packet;
    if (qos === 0) {
      if (batch === undefined) this.#context.counters.droppedIn++;
    } else if (batch === undefined) {
      this.#appendLater(packet, route);
    } else {
      if (qos === 2) this.#inbox.appending(packetId);
      this.#acks.push(batch, qos === 2 ? 'pubrec' : 'puback', packetId);
    }
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
    const reasonCode = error === undefined ? ReasonCode.success : ackReasonByError[error.code];
    this.#answer(owed, packetId, reasonCode);
  }

  refuse(owed: AckOwed, packetId: number, reasonCode: ReasonCode): void {
    if (!this.#isEnded) this.#answer(owed, packetId, reasonCode);
  }

  #answer(owed: AckOwed, packetId: number, reasonCode: ReasonCode): void {
    const isReceived = owed === 'pubrec' && reasonCode < ReasonCode.unspecifiedError;
    if (isReceived) this.#inbox.appended(packetId);
    else if (owed === 'pubrec') this.#inbox.forget(packetId);
    this.#client.sendAck(owed, packetId, reasonCode);
    this.#quota.answered(0);
    if (!isReceived) this.#quota.finished();
  }

  // ---- refusals

  #unroutable(packet: PublishPacket, why: Unroutable): void {
    if (why === 'server-topic') {
      this.#refusePublish(packet, ReasonCode.topicNameInvalid);
    } else if (why === 'not-authorized') {
      this.#notAuthorized(packet);
    } else if (why !== 'unknown-topic') {
      this.#client.fail(why);
    } else if (packet.qos === 0) {
      this.#context.counters.droppedIn++;
    } else if (this.#client.mqtt5) {
      this.#refusePublish(packet, ReasonCode.unspecifiedError);
    } else {
      const message = 'the topic that takes the message is not in the catalog yet';
      this.#client.failed(new OperatingError('UNAVAILABLE', message));
    }
  }

  /** MQTT 3 cannot say no to one publish: it is acknowledged and dropped, as Mosquitto does, or the client goes. */
  #notAuthorized(packet: PublishPacket): void {
    const { counters, refusedPublish } = this.#context;
    counters.droppedUnauthorized++;
    const isTold = this.#client.mqtt5 || refusedPublish === 'acknowledge';
    if (!isTold) this.#refusePublish(packet, ReasonCode.notAuthorized);
    else if (packet.qos > 0) this.#owe(packet, ReasonCode.notAuthorized);
  }

  /** A publish that is not taken: its refusal keeps its place among the acknowledgements. */
  #refusePublish(packet: PublishPacket, reasonCode: ReasonCode): void {
    if (packet.qos > 0 && this.#client.mqtt5) {
      this.#owe(packet, reasonCode);
      return;
    }
    // Nobody can be told but by the end of the connection. [MQTT-3.3.5-2]
    const message = `a publish to ${JSON.stringify(topicOf(packet))} is refused`;
    this.#client.fail(fault(reasonCode, 'MQTT5-3.3.5', message));
  }

  #owe({ qos, packetId }: PublishPacket, reasonCode: ReasonCode): void {
    this.#acks.pushRefusal(reasonCode, qos === 2 ? 'pubrec' : 'puback', packetId);
  }
}

function topicOf({ buffer, topicStart, topicEnd }: PublishPacket): string {
  return buffer.toString('utf8', topicStart, topicEnd);
}
