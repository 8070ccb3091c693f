import type { IPubackPacket, IPubcompPacket, IPubrecPacket, Packet } from 'mqtt-packet';

import type { MessageName } from '../history/history-checker.ts';
import { DurableClient, type DurableClientOptions } from './durable-client.ts';

export interface DurablePublisherOptions extends DurableClientOptions {
  readonly qos: 1 | 2;
  readonly topics: readonly string[];
  /** Messages without PUBACK or PUBCOMP, at most. */
  readonly window: number;
  /** Pause between new messages, ms; none by default. */
  readonly everyMs?: number;
}

type Answer = IPubackPacket | IPubrecPacket | IPubcompPacket;

interface Outstanding extends MessageName {
  /** At QoS 2: PUBREC has come, so that only PUBREL is sent from now on. */
  received: boolean;
}

/**
 * Publishes as fast as its window allows, and after each reconnect sends what is outstanding again, in
 * order and with DUP, as the specification wants. [MQTT5-4.4.0-1]
 */
export class DurablePublisher extends DurableClient {
  readonly #options: DurablePublisherOptions;
  readonly #outstanding = new Map<number, Outstanding>();
  readonly #sequences: number[];
  #turn = 0;
  #packetId = 0;
  #finishing: (() => void) | undefined;
  #pause: NodeJS.Timeout | undefined;

  constructor(options: DurablePublisherOptions) {
    super(options);
    this.#options = options;
    this.#sequences = options.topics.map(() => 0);
  }

  get outstanding(): number {
    return this.#outstanding.size;
  }

  /** Sends nothing new; resolves when everything is acknowledged. */
  finish(): Promise<void> {
    return new Promise((resolve) => {
      this.#finishing = resolve;
      this.#fill();
    });
  }

  protected override connected(): void {
    for (const [messageId, message] of this.#outstanding) {
      if (message.received) this.send({ cmd: 'pubrel', messageId, reasonCode: 0 });
      else this.#publish(messageId, message, true);
    }
    this.#fill();
  }

  protected override took(packet: Packet): void {
    if (packet.cmd === 'puback' || packet.cmd === 'pubcomp') this.#acknowledged(packet);
    else if (packet.cmd === 'pubrec') this.#received(packet);
  }

  #received(packet: Answer): void {
    const { messageId = 0, reasonCode = 0 } = packet;
    const message = this.#outstanding.get(messageId);
    if (reasonCode >= 0x80) {
      if (message !== undefined) this.#refused(message, packet);
      return;
    }
    if (message !== undefined) message.received = true;
    this.send({ cmd: 'pubrel', messageId, reasonCode: message === undefined ? 0x92 : 0 });
  }

  #acknowledged(packet: Answer): void {
    const { messageId = 0, reasonCode = 0 } = packet;
    const message = this.#outstanding.get(messageId);
    if (message === undefined) return;
    // 0x92: the PUBCOMP of an earlier connection was lost, and the session has forgotten the id.
    if (reasonCode >= 0x80 && !(message.received && reasonCode === 0x92)) {
      this.#refused(message, packet);
      return;
    }
    this.#outstanding.delete(messageId);
    const { publisher, topic, sequence } = message;
    this.#options.record({ kind: 'acknowledged', publisher, topic, sequence });
    this.#fill();
  }

  #refused({ publisher, topic, sequence }: MessageName, packet: Answer): void {
    const { messageId = 0, reasonCode = 0, properties } = packet;
    this.#outstanding.delete(messageId);
    const reason = `reason code ${reasonCode} in ${packet.cmd}, "${properties?.reasonString ?? ''}"`;
    this.#options.record({ kind: 'refused', publisher, topic, sequence, reason });
    this.#fill();
  }

  #fill(): void {
    if (this.#finishing !== undefined) {
      if (this.#outstanding.size === 0) this.#finishing();
      return;
    }
    const { window, everyMs } = this.#options;
    while (this.#outstanding.size < window && !this.stopped && this.#pause === undefined) {
      this.#sendNew();
      if (everyMs !== undefined) this.#pauseFor(everyMs);
    }
  }

  #pauseFor(ms: number): void {
    this.#pause = setTimeout(() => {
      this.#pause = undefined;
      this.#fill();
    }, ms);
  }

  #sendNew(): void {
    const { topics, clientId: publisher, qos, record } = this.#options;
    const which = this.#turn++ % topics.length;
    const topic = topics[which] ?? '';
    const sequence = this.#sequences[which] ?? 0;
    this.#sequences[which] = sequence + 1;
    const message = { publisher, topic, sequence, received: false };
    do this.#packetId = (this.#packetId % 65_535) + 1;
    while (this.#outstanding.has(this.#packetId));
    this.#outstanding.set(this.#packetId, message);
    record({ kind: 'sent', qos, publisher, topic, sequence });
    this.#publish(this.#packetId, message, false);
  }

  #publish(messageId: number, { publisher, topic, sequence }: MessageName, dup: boolean): void {
    const payload = `${publisher} ${sequence}`;
    const { qos } = this.#options;
    this.send({ cmd: 'publish', topic, payload, qos, messageId, dup, retain: false });
  }
}
