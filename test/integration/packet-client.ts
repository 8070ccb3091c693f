import { connect, type Socket } from 'node:net';
import { setTimeout as timer } from 'node:timers/promises';

import { generate, type IConnectPacket, type Packet, parser as newParser } from 'mqtt-packet';

export interface Address {
  readonly host: string;
  readonly port: number;
}

type Command = Packet['cmd'];
type PacketOf<Cmd extends Command> = Extract<Packet, { cmd: Cmd }>;

/** How long a test waits for a packet before it says which one did not come. */
const patienceMs = 20_000;

/** One MQTT connection without any manners of its own: it sends what it is told and keeps what comes. */
export class PacketClient implements Disposable {
  readonly #socket: Socket;
  readonly #version: 3 | 4 | 5;
  readonly #received: Packet[] = [];
  #wake: (() => void) | undefined;
  #isClosed = false;
  /** Resolves when the connection has ended, whoever ended it and however. */
  readonly closed: Promise<void>;
  /** Takes the packets instead of {@link PacketClient.next} when it is set. */
  onPacket: ((packet: Packet) => void) | undefined;

  private constructor(socket: Socket, version: 3 | 4 | 5) {
    this.#socket = socket;
    this.#version = version;
    socket.setNoDelay(true);
    const parser = newParser({ protocolVersion: version });
    parser.on('packet', (packet) => this.#take(packet));
    parser.on('error', (error) => socket.destroy(error));
    socket.on('data', (chunk) => parser.parse(chunk));
    socket.on('error', () => {}); // 'close' follows.
    this.closed = new Promise((resolve) => {
      socket.once('close', () => {
        this.#isClosed = true;
        this.#wake?.();
        resolve();
      });
    });
  }

  /** Connects to the port; nothing is sent. Rejects when nobody listens there. */
  static open(address: Address, version: 3 | 4 | 5 = 5): Promise<PacketClient> {
    return new Promise((resolve, reject) => {
      const socket = connect({ ...address });
      socket.once('error', reject);
      socket.once('connect', () => {
        socket.off('error', reject);
        resolve(new PacketClient(socket, version));
      });
    });
  }

  /** Opens, sends a CONNECT and waits for the CONNACK. Rejects when the connection ends before. */
  static async connect(
    address: Address,
    spec: Partial<IConnectPacket> & { readonly clientId: string },
  ): Promise<{ client: PacketClient; connack: PacketOf<'connack'> }> {
    const version = spec.protocolVersion ?? 5;
    const client = await PacketClient.open(address, version);
    const protocolId = version === 3 ? 'MQIsdp' : 'MQTT';
    client.send({
      clean: true,
      keepalive: 60,
      protocolId,
      protocolVersion: version,
      ...spec,
      cmd: 'connect',
    });
    try {
      return { client, connack: await client.expect('connack') };
    } catch (error) {
      client[Symbol.dispose]();
      throw error;
    }
  }

  get isClosed(): boolean {
    return this.#isClosed;
  }

  /** False while the socket's buffer is full; see {@link PacketClient.drained}. */
  send(packet: Packet): boolean {
    return this.sendBytes(generate(packet, { protocolVersion: this.#version }));
  }

  sendBytes(bytes: Buffer): boolean {
    return this.#isClosed || this.#socket.write(bytes);
  }

  /** Resolves when the socket takes bytes again, or has closed. */
  drained(): Promise<void> {
    if (this.#isClosed || !this.#socket.writableNeedDrain) return Promise.resolve();
    return new Promise((resolve) => {
      const done = (): void => {
        this.#socket.off('drain', done).off('close', done);
        resolve();
      };
      this.#socket.once('drain', done).once('close', done);
    });
  }

  /** Reads nothing more from the socket, so that the server's side fills up. */
  stopReading(): void {
    this.#socket.pause();
  }

  goOnReading(): void {
    this.#socket.resume();
  }

  /** The next packet. Rejects when the connection ends, or nothing comes for a long while. */
  async next(): Promise<Packet> {
    const giveUp = new AbortController();
    const patience = timer(patienceMs, 'late', { signal: giveUp.signal }).catch(() => 'late');
    try {
      for (;;) {
        const packet = this.#received.shift();
        if (packet !== undefined) return packet;
        if (this.#isClosed) throw new Error('the server closed the connection');
        const woken = new Promise<string>((resolve) => (this.#wake = () => resolve('woken')));
        if ((await Promise.race([woken, patience])) === 'late') {
          throw new Error(`no packet came within ${patienceMs} ms`);
        }
      }
    } finally {
      giveUp.abort();
    }
  }

  /** The next packet, which has to be of that kind. */
  async expect<Cmd extends Command>(command: Cmd): Promise<PacketOf<Cmd>> {
    const packet = await this.next();
    if (packet.cmd === command) return packet as PacketOf<Cmd>;
    throw new Error(`expected ${command}, got ${JSON.stringify(packet)}`);
  }

  /** SUBSCRIBE and its SUBACK; the packet id is 1. */
  async subscribe(topic: string, qos: 0 | 1 | 2): Promise<PacketOf<'suback'>> {
    this.send({ cmd: 'subscribe', messageId: 1, subscriptions: [{ topic, qos }] });
    return this.expect('suback');
  }

  /** The connection goes without a DISCONNECT. */
  [Symbol.dispose](): void {
    this.#socket.destroy();
  }

  #take(packet: Packet): void {
    if (this.onPacket !== undefined) {
      this.onPacket(packet);
      return;
    }
    this.#received.push(packet);
    this.#wake?.();
  }
}
