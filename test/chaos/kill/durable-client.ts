import type { IConnackPacket, Packet } from 'mqtt-packet';

import { type Address, PacketClient } from '../../integration/packet-client.ts';
import type { HistoryEvent } from '../history/history-checker.ts';
import type { SeededRandom } from './seeded-random.ts';

export interface DurableClientOptions {
  readonly clientId: string;
  /** The brokers that are asked in turn, from a random one on. */
  readonly brokers: () => readonly Address[];
  readonly random: SeededRandom;
  readonly record: (event: HistoryEvent) => void;
}

const reconnectMs = 30;
const connackMs = 15_000;

/** A client with a durable session that comes back to any broker until it is stopped. */
export abstract class DurableClient {
  protected readonly options: DurableClientOptions;
  #connection: PacketClient | undefined;
  #known = false;
  #stopped = false;
  #done: Promise<void> | undefined;
  /** How often it was connected. */
  connects = 0;

  constructor(options: DurableClientOptions) {
    this.options = options;
  }

  start(): void {
    this.#done = this.#run();
  }

  /** Leaves without a word; the next connection goes to any broker. */
  leave(): void {
    this.#connection?.[Symbol.dispose]();
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    this.leave();
    await this.#done;
  }

  protected get stopped(): boolean {
    return this.#stopped;
  }

  protected send(packet: Packet): void {
    this.#connection?.send(packet);
  }

  /** A connection is there; the session is the old one, or the client's first. */
  protected abstract connected(): void;
  protected abstract took(packet: Packet): void;

  async #run(): Promise<void> {
    while (!this.#stopped) {
      const connection = await this.#connect();
      if (connection === undefined) {
        await new Promise((resolve) => setTimeout(resolve, reconnectMs));
        continue;
      }
      this.#connection = connection;
      this.connects++;
      // Packets that came with the CONNACK are taken first.
      this.connected();
      await connection.closed;
    }
  }

  async #connect(): Promise<PacketClient | undefined> {
    const { clientId, brokers, random } = this.options;
    const all = brokers();
    const address = all[random.below(all.length)];
    if (address === undefined) return undefined;
    try {
      return await this.#handshake(address, clientId);
    } catch {
      return undefined; // A broker that is down or not ready: the next try asks any of them.
    }
  }

  async #handshake(address: Address, clientId: string): Promise<PacketClient | undefined> {
    const client = await PacketClient.open(address);
    const impatience = setTimeout(() => client[Symbol.dispose](), connackMs);
    const connack = new Promise<IConnackPacket | undefined>((resolve) => {
      client.onPacket = (packet) => {
        if (packet.cmd !== 'connack') this.took(packet);
        else resolve(packet);
      };
      void client.closed.then(() => resolve(undefined));
    });
    const properties = { sessionExpiryInterval: 3600 };
    const kept = { clean: false, keepalive: 30, properties };
    client.send({ cmd: 'connect', protocolId: 'MQTT', protocolVersion: 5, clientId, ...kept });
    const answer = await connack;
    clearTimeout(impatience);
    if (answer === undefined || answer.reasonCode !== 0) {
      client[Symbol.dispose]();
      return undefined;
    }
    if (this.#known && !answer.sessionPresent) {
      this.options.record({ kind: 'session-lost', client: clientId });
    }
    this.#known = true;
    return client;
  }
}
