import { type ErrorCode, type OperatingError, toOperatingError } from '@robustmq/core';

import type { PublishPacket } from '../codec/packet.ts';
import { ackReasonByError, ReasonCode } from '../codec/reason-code.ts';
import type { BrokerContext } from '../connection/broker-context.ts';
import { storedHeadersOfPublish } from '../message/header-encoder.ts';
import type { PublishClient, PublishSession } from './inbound-publishes.ts';
import type { PublishQuota } from './publish-quota.ts';

/**
 * Where a QoS 2 publish of a client is: `appending` to its topic (transient sessions), `appended`,
 * `storing` in the session's shard (durable ones), `stored`, `releasing` from there.
 */
type InboxState = 'appending' | 'appended' | 'storing' | 'stored' | 'releasing';

interface InboxEntry {
  state: InboxState;
  /** It counts against our Receive Maximum: not before an earlier connection's was sent again. */
  counts: boolean;
}

/** QoS 2 publishes of one client by packet id, from PUBLISH to PUBCOMP. [MQTT5-4.3.3-8..-13] */
export class QosTwoInbox {
  readonly #client: PublishClient;
  readonly #context: BrokerContext;
  readonly #session: PublishSession;
  readonly #quota: PublishQuota;
  #entries: Map<number, InboxEntry> | undefined;
  #isEnded = false;

  constructor(own: {
    client: PublishClient;
    context: BrokerContext;
    session: PublishSession;
    quota: PublishQuota;
  }) {
    this.#client = own.client;
    this.#context = own.context;
    this.#session = own.session;
    this.#quota = own.quota;
  }

  /** What an earlier connection left in the session's shard. */
  takeOver(packetIds: readonly number[]): void {
    for (const packetId of packetIds) this.#add(packetId, 'stored', false);
  }

  end(): void {
    this.#isEnded = true;
  }

  /** Whether a PUBLISH is one that is here already, and answers it then. [MQTT5-4.3.3-10] */
  repeated(packetId: number): boolean {
    const entry = this.#entries?.get(packetId);
    if (entry === undefined) return false;
    if (!entry.counts) this.#quota.takeRepeated();
    entry.counts = true;
    if (entry.state === 'appended' || entry.state === 'stored') {
      this.#client.sendAck('pubrec', packetId, ReasonCode.success);
    }
    return true;
  }

  // ---- sessions that end with their connection

  appending(packetId: number): void {
    this.#add(packetId, 'appending', true);
  }

  appended(packetId: number): void {
    const entry = this.#entries?.get(packetId);
    if (entry !== undefined) entry.state = 'appended';
  }

  forget(packetId: number): void {
    this.#entries?.delete(packetId);
  }

  // ---- durable sessions

  /** Stores a message in the session's shard; PUBREC follows when that is committed. */
  store(packet: PublishPacket, topic: string): void {
    const { packetId, buffer, payloadStart, payloadEnd } = packet;
    const clears = packet.retain && payloadStart === payloadEnd;
    const value = clears ? null : Buffer.from(buffer.subarray(payloadStart, payloadEnd));
    const headers = storedHeadersOfPublish(packet, this.#session.publisher);
    const bytes = payloadEnd - payloadStart;
    this.#add(packetId, 'storing', true);
    this.#quota.keep(bytes);
    const { grant } = this.#session;
    this.#context.sessions.storeInbound(grant, packetId, { topic, value, headers }).then(
      () => this.#stored(packetId, bytes),
      (thrown: unknown) => this.#notStored(packetId, bytes, toOperatingError(thrown)),
    );
  }

  #stored(packetId: number, bytes: number): void {
    if (this.#isEnded) return;
    const entry = this.#entries?.get(packetId);
    if (entry?.state === 'storing') entry.state = 'stored';
    this.#client.sendAck('pubrec', packetId, ReasonCode.success);
    this.#quota.answered(bytes);
  }

  #notStored(packetId: number, bytes: number, error: OperatingError): void {
    if (this.#isEnded) return;
    // What may be stored yet is no refusal: the id would be free, and the client's next message under it
    // be taken for this one. It comes back and sends this one again. [MQTT5-4.4.0-1]
    if (!this.#client.mqtt5 || !isRefusal(error)) {
      this.#client.failed(error);
      return;
    }
    this.forget(packetId);
    const reason = `the message was not stored: ${error.code}`;
    this.#client.sendAck('pubrec', packetId, ackReasonByError[error.code], reason);
    this.#quota.answered(bytes);
    this.#quota.finished();
  }

  // ---- PUBREL

  release(packetId: number): void {
    const entry = this.#entries?.get(packetId);
    if (entry?.state === 'releasing') return;
    if (entry?.state === 'appended') {
      this.#completed(packetId, true);
    } else if (this.#session.durable || entry?.state === 'stored') {
      this.#releaseStored(packetId, entry);
    } else {
      this.#client.sendAck('pubcomp', packetId, ReasonCode.packetIdentifierNotFound);
    }
  }

  /** The broker that an earlier connection was at may have stored what is not known here. */
  #releaseStored(packetId: number, entry: InboxEntry | undefined): void {
    if (entry === undefined) this.#add(packetId, 'releasing', false);
    else entry.state = 'releasing';
    this.#context.sessions.releaseInbound(this.#session.grant, packetId).then(
      (isKnown) => this.#completed(packetId, isKnown),
      (thrown: unknown) => {
        if (!this.#isEnded) this.#client.failed(toOperatingError(thrown));
      },
    );
  }

  #completed(packetId: number, isKnown: boolean): void {
    if (this.#isEnded) return;
    if (this.#entries?.get(packetId)?.counts === true) this.#quota.finished();
    this.forget(packetId);
    const reason = isKnown ? ReasonCode.success : ReasonCode.packetIdentifierNotFound;
    this.#client.sendAck('pubcomp', packetId, reason);
  }

  #add(packetId: number, state: InboxState, counts: boolean): void {
    this.#entries ??= new Map();
    this.#entries.set(packetId, { state, counts });
  }
}

/** Whether the session said no, so that nothing was stored and nothing will be. */
function isRefusal({ code }: OperatingError): boolean {
  return refusals.has(code);
}

const refusals: ReadonlySet<ErrorCode> = new Set([
  'INVALID_ARGUMENT',
  'RESOURCE_EXHAUSTED',
  'BATCH_TOO_LARGE',
  'NOT_AUTHORIZED',
  'UNSUPPORTED',
]);
