import type { Qos } from '../codec/packet.ts';
import { PacketWriter } from '../codec/packet-writer.ts';
import {
  encodePublish,
  type PublishProperties,
  type PublishSpec,
} from '../codec/publish-encoder.ts';

/** How a message goes to one client alone. */
export interface OwnPublish {
  readonly qos: Qos;
  readonly retain: boolean;
  readonly dup: boolean;
  readonly packetId: number;
  readonly subscriptionIds: readonly number[];
  /** 0: none. */
  readonly topicAlias: number;
  /** The client knows what the alias stands for: the topic is left out. */
  readonly isAliasKnown: boolean;
}

const noIds: readonly number[] = [];
const noTopic = Buffer.alloc(0);
const classes = 2 * 3 * 2;

/**
 * The PUBLISH packets of one message, each encoded once per class (MQTT 5 or 3, QoS, retain) however
 * many clients get it. Each class writes into slabs of its own, so that messages which a client gets
 * one after the other lie one after the other in memory.
 */
export class PacketClasses {
  readonly #writers: (PacketWriter | undefined)[] = [];
  readonly #packets: (Buffer | undefined)[] = Array.from({ length: classes });
  /** Where the packet id stands, counted from the packet's first byte. */
  readonly #packetIdAt: number[] = [];
  readonly #encodedFor: number[] = Array.from({ length: classes }, () => -1);
  #message = 0;
  #topic: Buffer = noTopic;
  #payload: Buffer = noTopic;
  readonly #spec: PublishSpec = {
    topic: noTopic,
    payload: noTopic,
    qos: 0,
    retain: false,
    dup: false,
    packetId: 0,
    topicAlias: 0,
    subscriptionIds: noIds,
    properties: undefined,
  };

  /** Starts on the next message. Its bytes are needed until the one after it. */
  start(topic: Buffer, payload: Buffer, properties: PublishProperties | undefined): void {
    this.#message++;
    this.#topic = topic;
    this.#spec.topic = topic;
    this.#payload = payload;
    this.#spec.payload = payload;
    this.#spec.properties = properties;
  }

  /** Name of the message's topic. */
  get topic(): Buffer {
    return this.#topic;
  }

  get payload(): Buffer {
    return this.#payload;
  }

  /** The message as a class of clients gets it, with packet id 0. Not to be written to. */
  packet(mqtt5: boolean, qos: Qos, retain: boolean): Buffer {
    const index = classOf(mqtt5, qos, retain);
    const known = this.#packets[index];
    if (known !== undefined && this.#encodedFor[index] === this.#message) return known;
    const writer = (this.#writers[index] ??= new PacketWriter());
    this.#packetIdAt[index] = this.#encode(writer, mqtt5, qos, retain);
    const packet = writer.take();
    this.#packets[index] = packet;
    this.#encodedFor[index] = this.#message;
    return packet;
  }

  /** Where the packet id stands in the packet of that class, which was asked for before. */
  packetIdAt(mqtt5: boolean, qos: Qos, retain: boolean): number {
    return this.#packetIdAt[classOf(mqtt5, qos, retain)] ?? 0;
  }

  /** Encodes the message for one client alone; returns where the packet id stands in the packet. */
  encodeFor(writer: PacketWriter, mqtt5: boolean, own: OwnPublish): number {
    const spec = this.#spec;
    spec.subscriptionIds = own.subscriptionIds;
    spec.packetId = own.packetId;
    spec.dup = own.dup;
    spec.topicAlias = own.topicAlias;
    if (own.isAliasKnown) spec.topic = noTopic;
    const packetIdAt = this.#encode(writer, mqtt5, own.qos, own.retain);
    spec.subscriptionIds = noIds;
    spec.packetId = 0;
    spec.dup = false;
    spec.topicAlias = 0;
    spec.topic = this.#topic;
    return packetIdAt;
  }

  #encode(writer: PacketWriter, mqtt5: boolean, qos: Qos, retain: boolean): number {
    this.#spec.qos = qos;
    this.#spec.retain = retain;
    return encodePublish(writer, mqtt5 ? 5 : 4, this.#spec);
  }
}

function classOf(mqtt5: boolean, qos: Qos, retain: boolean): number {
  return (mqtt5 ? 6 : 0) + qos * 2 + (retain ? 1 : 0);
}
