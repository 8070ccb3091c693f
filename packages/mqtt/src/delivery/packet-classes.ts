import type { Qos } from '../codec/packet.ts';
import { PacketWriter } from '../codec/packet-writer.ts';
import {
  encodePublish,
  type PublishProperties,
  type PublishSpec,
} from '../codec/publish-encoder.ts';

const noIds: readonly number[] = [];
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
  readonly #spec: PublishSpec = {
    topic: Buffer.alloc(0),
    payload: Buffer.alloc(0),
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
    this.#spec.topic = topic;
    this.#spec.payload = payload;
    this.#spec.properties = properties;
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
  encodeFor(
    writer: PacketWriter,
    mqtt5: boolean,
    own: {
      qos: Qos;
      retain: boolean;
      dup: boolean;
      packetId: number;
      subscriptionIds: readonly number[];
    },
  ): number {
    this.#spec.subscriptionIds = own.subscriptionIds;
    this.#spec.packetId = own.packetId;
    this.#spec.dup = own.dup;
    const packetIdAt = this.#encode(writer, mqtt5, own.qos, own.retain);
    this.#spec.subscriptionIds = noIds;
    this.#spec.packetId = 0;
    this.#spec.dup = false;
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
