import { type OperatingError, toOperatingError } from '@robustmq/core';
import type { PendingBatch, RecordToAppend } from '@robustmq/journal-client';
import { noHeaders } from '@robustmq/record-batch';

import type { AckKind, PublishPacket } from '../codec/packet.ts';
import { fault, protocolError, type ProtocolFault } from '../codec/protocol-fault.ts';
import { newPublishPacket } from '../codec/publish-decoder.ts';
import { ackReasonByError, ReasonCode } from '../codec/reason-code.ts';
import { sameBytes } from '../codec/utf8.ts';
import type { BrokerContext } from '../connection/broker-context.ts';
import {
  HeaderEncoder,
  hasReservedUserProperty,
  storedHeadersOfPublish,
} from '../message/header-encoder.ts';
import type { SessionGrant } from '../session/session-gateway.ts';
import { AckQueue, type AckOwed, type AckSink } from './ack-queue.ts';
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

/**
 * Where an inbound QoS 2 publish is: `appending` to its topic (transient sessions), `appended`,
 * `storing` in the session's shard (durable ones), `stored`, `releasing` from there.
 */
type InboundState = 'appending' | 'appended' | 'storing' | 'stored' | 'releasing';

const noTopic = Buffer.alloc(0);
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
  readonly #grant: SessionGrant;
  readonly #durable: boolean;
  readonly #publisher: Buffer;
  #headers: HeaderEncoder | undefined;
  #acks: AckQueue | undefined;
  #inbound: Map<number, InboundState> | undefined;
  #aliases: Map<number, Buffer> | undefined;
  /** QoS 1 and 2 publishes that the client still counts against our Receive Maximum. */
  #inFlight = 0;
  #paused = false;
  #ended = false;
  #lastTopic: Buffer = noTopic;
  #lastRoute: PublishRoute | undefined;
  #lastVersion = -1;

  constructor(
    client: PublishClient,
    context: BrokerContext,
    own: {
      grant: SessionGrant;
      durable: boolean;
      publisher: Buffer;
      storedPacketIds: readonly number[];
    },
  ) {
    this.#client = client;
    this.#context = context;
    this.#grant = own.grant;
    this.#durable = own.durable;
    this.#publisher = own.publisher;
    if (own.storedPacketIds.length > 0) {
      this.#inbound = new Map(own.storedPacketIds.map((id) => [id, 'stored']));
    }
  }

  /** The connection has ended: what is under way is finished without an answer. */
  end(): void {
    this.#ended = true;
  }

  /** Takes a PUBLISH. */
  publish(packet: PublishPacket): void {
    const { counters, limits } = this.#context;
    counters.publishesIn[packet.qos]++;
    if (packet.qos === 2 && this.#inbound?.has(packet.packetId) === true) {
      this.#repeated(packet.packetId);
      return;
    }
    const route = this.#routeOf(packet);
    if (route === undefined) return;
    if (packet.userPropertyCount > 0 && hasReservedUserProperty(packet)) {
      const message = 'a user property has a name that is reserved for the server';
      this.#refuse(packet, ReasonCode.implementationSpecificError, message);
      return;
    }
    if (packet.qos > 0 && this.#inFlight >= limits.receiveMaximum && this.#client.mqtt5) {
      const message = `more than ${limits.receiveMaximum} publishes are not acknowledged`;
      this.#client.fail(fault(ReasonCode.receiveMaximumExceeded, 'MQTT5-3.3.4-9', message));
      return;
    }
    if (packet.qos === 2 && this.#durable) this.#store(packet);
    else this.#append(packet, route);
    // MQTT 3 knows no Receive Maximum: its socket is not read for a while.
    if (this.#inFlight >= limits.receiveMaximum && !this.#client.mqtt5) this.#pause();
  }

  // ---- where it goes

  #routeOf(packet: PublishPacket): PublishRoute | undefined {
    const { routes } = this.#context;
    const { buffer, topicStart, topicEnd, topicAlias } = packet;
    if (topicAlias > 0) return this.#aliasRoute(packet);
    const known = this.#lastRoute;
    if (
      known !== undefined &&
      this.#lastVersion === routes.version &&
      sameBytes(buffer, topicStart, topicEnd, this.#lastTopic)
    ) {
      return known;
    }
    return this.#lookUp(packet, Buffer.from(buffer.subarray(topicStart, topicEnd)));
  }

  #aliasRoute(packet: PublishPacket): PublishRoute | undefined {
    const { topicAlias, topicStart, topicEnd, buffer } = packet;
    if (topicAlias > this.#context.limits.topicAliasMaximum) {
      const message = `topic alias ${topicAlias} is above ${this.#context.limits.topicAliasMaximum}`;
      this.#client.fail(fault(ReasonCode.topicAliasInvalid, 'MQTT5-3.3.2-9', message));
      return undefined;
    }
    this.#aliases ??= new Map();
    let topic = this.#aliases.get(topicAlias);
    if (topicEnd > topicStart) {
      topic = Buffer.from(buffer.subarray(topicStart, topicEnd));
      this.#aliases.set(topicAlias, topic);
    }
    if (topic === undefined) {
      this.#client.fail(
        protocolError('MQTT5-3.3.2-12', `topic alias ${topicAlias} stands for nothing`),
      );
      return undefined;
    }
    return this.#lookUp(packet, topic);
  }

  #lookUp(packet: PublishPacket, topic: Buffer): PublishRoute | undefined {
    // Topics that begin with `$` are the server's. [MQTT5-4.7.2]
    if (topic[0] === 0x24) {
      this.#refuse(packet, ReasonCode.topicNameInvalid, 'clients do not publish to $-topics');
      return undefined;
    }
    const { routes } = this.#context;
    const route = routes.route(topic.toString());
    if (route === undefined) {
      this.#refuse(packet, ReasonCode.unspecifiedError, 'the topic is not known here yet');
      return undefined;
    }
    this.#lastTopic = topic;
    this.#lastRoute = route;
    this.#lastVersion = routes.version;
    return route;
  }

  // ---- QoS 0, 1, and 2 of sessions that end with their connection

  #append(packet: PublishPacket, route: PublishRoute): void {
    const batch = this.#tryAppend(packet, route);
    if (batch === undefined) {
      if (packet.qos === 0) this.#context.counters.droppedIn++;
      else this.#appendLater(packet, route);
      return;
    }
    this.#appended(packet.qos, packet.packetId, batch);
  }

  #tryAppend(packet: PublishPacket, route: PublishRoute): PendingBatch | undefined {
    const empty = packet.payloadStart === packet.payloadEnd;
    record.timestampMs = this.#context.clock.wallMs();
    record.key = route.key;
    record.value =
      empty && packet.retain
        ? null
        : packet.buffer.subarray(packet.payloadStart, packet.payloadEnd);
    record.headers = (this.#headers ??= new HeaderEncoder(this.#publisher)).encode(packet);
    record.filterTokens = route.filterTokens;
    return route.appender.append(record, packet.qos === 0 ? 'none' : 'quorum');
  }

  #appended(qos: number, packetId: number, batch: PendingBatch): void {
    if (qos === 0) return;
    this.#inFlight++;
    this.#acks ??= new AckQueue(this);
    if (qos === 2) this.#setInbound(packetId, 'appending');
    this.#acks.push(batch, qos === 2 ? 'pubrec' : 'puback', packetId);
  }

  /** The partition's queue is full: nothing more is read until this one is in it. */
  #appendLater(packet: PublishPacket, route: PublishRoute): void {
    const copy = newPublishPacket();
    Object.assign(copy, packet, { buffer: Buffer.from(packet.buffer) });
    this.#client.pause();
    route.appender.onWritable(() => {
      if (!this.#ended) this.#append(copy, route);
      this.#client.proceed();
    });
  }

  /** Committed, or failed for good. */
  acknowledge(owed: AckOwed, packetId: number, error: OperatingError | undefined): void {
    if (this.#ended) return;
    if (error !== undefined && !this.#client.mqtt5) {
      // MQTT 3 cannot say no: the client sends it again when it is back. [MQTT-3.3.5-2]
      this.#client.failed(error);
      return;
    }
    const reason = error === undefined ? ReasonCode.success : this.#reasonOf(packetId, error);
    if (owed === 'pubrec' && reason < ReasonCode.unspecifiedError) {
      this.#setInbound(packetId, 'appended');
    } else {
      this.#inbound?.delete(packetId);
      this.#finished();
    }
    this.#client.sendAck(owed, packetId, reason);
  }

  #reasonOf(packetId: number, error: OperatingError): ReasonCode {
    const refusal = this.#refusals?.get(packetId);
    this.#refusals?.delete(packetId);
    return refusal ?? ackReasonByError[error.code];
  }

  // ---- QoS 2 of durable sessions

  #store(packet: PublishPacket): void {
    const { packetId, buffer, payloadStart, payloadEnd } = packet;
    this.#inFlight++;
    this.#setInbound(packetId, 'storing');
    const empty = payloadStart === payloadEnd;
    const message = {
      topic: this.#lastTopic.toString(),
      value: empty && packet.retain ? null : Buffer.from(buffer.subarray(payloadStart, payloadEnd)),
      headers: storedHeadersOfPublish(packet, this.#publisher),
    };
    this.#context.sessions.storeInbound(this.#grant, packetId, message).then(
      () => this.#stored(packetId, undefined),
      (thrown: unknown) => this.#stored(packetId, toOperatingError(thrown)),
    );
  }

  #stored(packetId: number, error: OperatingError | undefined): void {
    if (this.#ended) return;
    if (error === undefined) {
      this.#setInbound(packetId, 'stored');
      this.#client.sendAck('pubrec', packetId, ReasonCode.success);
      return;
    }
    this.#inbound?.delete(packetId);
    this.#finished();
    if (!this.#client.mqtt5 || error.code === 'FENCED') this.#client.failed(error);
    else this.#client.sendAck('pubrec', packetId, ackReasonByError[error.code]);
  }

  /** PUBREL. */
  release(packetId: number): void {
    const state = this.#inbound?.get(packetId);
    if (state === 'appended') {
      this.#inbound?.delete(packetId);
      this.#finished();
      this.#client.sendAck('pubcomp', packetId, ReasonCode.success);
      return;
    }
    if (state === 'releasing') return;
    if (!this.#durable && state !== 'stored') {
      this.#client.sendAck('pubcomp', packetId, ReasonCode.packetIdentifierNotFound);
      return;
    }
    this.#setInbound(packetId, 'releasing');
    this.#context.sessions.releaseInbound(this.#grant, packetId).then(
      (known) => this.#released(packetId, known),
      (thrown: unknown) => this.#client.failed(toOperatingError(thrown)),
    );
  }

  #released(packetId: number, known: boolean): void {
    if (this.#ended) return;
    this.#inbound?.delete(packetId);
    if (known) this.#finished();
    const reason = known ? ReasonCode.success : ReasonCode.packetIdentifierNotFound;
    this.#client.sendAck('pubcomp', packetId, reason);
  }

  /** A PUBLISH with a packet id that is in use: the same message again. [MQTT5-4.3.3-10] */
  #repeated(packetId: number): void {
    const state = this.#inbound?.get(packetId);
    if (state === 'appended' || state === 'stored') {
      this.#client.sendAck('pubrec', packetId, ReasonCode.success);
    }
  }

  #setInbound(packetId: number, state: InboundState): void {
    this.#inbound ??= new Map();
    this.#inbound.set(packetId, state);
  }

  // ---- flow control and refusals

  #finished(): void {
    if (this.#inFlight > 0) this.#inFlight--;
    if (!this.#paused || this.#inFlight > this.#context.limits.receiveMaximum / 2) return;
    this.#paused = false;
    this.#client.proceed();
  }

  #pause(): void {
    if (this.#paused) return;
    this.#paused = true;
    this.#client.pause();
  }

  #refusals: Map<number, ReasonCode> | undefined;

  /** A publish that is not taken: its refusal keeps its place among the acknowledgements. */
  #refuse(packet: PublishPacket, reasonCode: ReasonCode, message: string): void {
    if (packet.qos === 0 || !this.#client.mqtt5) {
      this.#client.fail(fault(reasonCode, 'MQTT5-3.3.5', message));
      return;
    }
    this.#inFlight++;
    this.#refusals ??= new Map();
    this.#refusals.set(packet.packetId, reasonCode);
    this.#acks ??= new AckQueue(this);
    this.#acks.refuse(packet.qos === 2 ? 'pubrec' : 'puback', packet.packetId, message);
  }
}
