import { setTimeout as delay } from 'node:timers/promises';

import {
  ackBytes,
  encodePublish,
  encodeSubscribe,
  packetHeader,
  writeAck,
} from '../load/control-packets.ts';
import { type ConnectionHandler, LoadConnection } from '../load/load-connection.ts';

export interface BrokerAddress {
  readonly host: string;
  readonly port: number;
}

/** How long a client waits after a refused CONNECT. */
const retryMs = 20;

/** A persistent MQTT 5 session with one subscription at QoS 1, whose client can change brokers. */
export class FailoverSession implements ConnectionHandler {
  readonly topic: string;
  readonly #clientId: string;
  #connection: LoadConnection | undefined;
  #subscribed = Promise.withResolvers<void>();
  #delivered = Promise.withResolvers<void>();

  constructor(index: number) {
    this.#clientId = `bench-failover-${index}`;
    this.topic = `bench/failover/${index}`;
  }

  /** Makes the session. */
  async establish(broker: BrokerAddress): Promise<void> {
    const connection = this.#connect(broker);
    await connection.accepted;
    connection.write(encodeSubscribe(this.topic, 1, 5));
    await this.#subscribed.promise;
  }

  /** Connects to another broker as often as it takes, and waits for a message. Throws when the session was lost. */
  async resume(broker: BrokerAddress, signal: AbortSignal): Promise<void> {
    for (;;) {
      signal.throwIfAborted();
      try {
        const present = await this.#connect(broker).accepted;
        if (!present) throw new SessionLost(this.#clientId);
        break;
      } catch (error) {
        if (error instanceof SessionLost) throw error;
        await delay(retryMs);
      }
    }
    await this.#delivered.promise;
  }

  close(): void {
    this.#connection?.close();
  }

  packet(header: number, bytes: Buffer, start: number, end: number): void {
    if (header === packetHeader.suback && bytes[end - 1] === 1) this.#subscribed.resolve();
    if ((header & 0xf0) !== packetHeader.publish) return;
    const packetId = bytes.readUInt16BE(start + 2 + bytes.readUInt16BE(start));
    const ack = Buffer.alloc(ackBytes);
    writeAck(ack, 0, packetHeader.puback, packetId);
    this.#connection?.write(ack);
    this.#delivered.resolve();
  }

  lost(): void {
    // The broker was killed: that is what the scenario is about.
  }

  #connect({ host, port }: BrokerAddress): LoadConnection {
    const target = { host, port, packetBytesMax: 1024, readBuffer: Buffer.alloc(1024) };
    const options = { version: 5, clientId: this.#clientId, keepAliveSeconds: 60 } as const;
    this.#connection = new LoadConnection(target, { ...options, persistent: true }, this);
    return this.#connection;
  }
}

class SessionLost extends Error {
  constructor(clientId: string) {
    super(`the session of ${clientId} was lost`);
  }
}

/** Publishes one message at QoS 1 to each topic. */
export class FailoverPublisher implements ConnectionHandler {
  readonly #connection: LoadConnection;
  readonly #acknowledged = Promise.withResolvers<void>();
  #missing = 0;

  constructor({ host, port }: BrokerAddress) {
    const target = { host, port, packetBytesMax: 1024, readBuffer: Buffer.alloc(4096) };
    const options = { version: 4, clientId: 'bench-failover', keepAliveSeconds: 60 } as const;
    this.#connection = new LoadConnection(target, options, this);
  }

  async ready(): Promise<void> {
    await this.#connection.accepted;
  }

  /** Resolves when all are acknowledged. */
  publish(topics: readonly string[]): Promise<void> {
    this.#missing = topics.length;
    const packets = topics.map((topic, index) =>
      encodePublish(topic, 1, index + 1, Buffer.from('still there?')),
    );
    this.#connection.write(Buffer.concat(packets));
    return this.#acknowledged.promise;
  }

  packet(header: number): void {
    if (header === packetHeader.puback && --this.#missing === 0) this.#acknowledged.resolve();
  }

  lost(reason: string): void {
    this.#acknowledged.reject(new Error(`publisher at the surviving broker: ${reason}`));
  }

  close(): void {
    this.#connection.close();
  }
}
