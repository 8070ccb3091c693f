import { once } from 'node:events';
import { connect, type Socket } from 'node:net';

import {
  generate,
  type IConnackPacket,
  type IConnectPacket,
  type IPublishPacket,
  type Packet,
  type Parser,
  parser,
} from 'mqtt-packet';

export type MqttVersion = 3 | 4 | 5;

/** A CONNECT; what is left out has an ordinary value. */
export type ConnectFields = Partial<Omit<IConnectPacket, 'cmd' | 'protocolVersion'>> & {
  readonly version?: MqttVersion;
};

interface Waiting {
  readonly isWanted: (packet: Packet) => boolean;
  readonly resolve: (packet: Packet) => void;
  readonly reject: (error: Error) => void;
}

/** How a client of {@link RawMqttClient} answers by itself. */
export type Answers = 'all' | 'none';

/**
 * One MQTT connection over TCP in the test's hands: it sends the packets or bytes it is told to, and
 * keeps what it receives in order until the test takes it. With `answers: 'all'` it acknowledges
 * what it receives as a client has to.
 */
export class RawMqttClient implements AsyncDisposable {
  readonly version: MqttVersion;
  /** Resolves when the connection has ended. */
  readonly closed: Promise<void>;
  answers: Answers = 'all';
  /** Called for each PUBLISH instead of keeping it, once it is set. */
  onPublish: ((packet: IPublishPacket) => void) | undefined;
  /** Everything that was received. */
  readonly chunks: Buffer[] = [];
  readonly #socket: Socket;
  readonly #parser: Parser;
  readonly #received: Packet[] = [];
  readonly #waiting: Waiting[] = [];
  #isClosed = false;
  #lastId = 0;

  private constructor(socket: Socket, version: MqttVersion) {
    this.#socket = socket;
    this.version = version;
    this.#parser = parser({ protocolVersion: version });
    this.#parser.on('packet', (packet: Packet) => this.#take(packet));
    this.closed = new Promise((resolve) => socket.once('close', () => resolve()));
    void this.closed.then(() => this.#ended());
    socket.on('error', () => {});
    socket.on('data', (chunk: Buffer) => {
      if (this.onPublish === undefined) this.chunks.push(chunk);
      this.#parser.parse(chunk);
    });
  }

  /** Opens a connection to HOST:PORT and sends nothing. */
  static async open(address: string, version: MqttVersion = 5): Promise<RawMqttClient> {
    const at = address.lastIndexOf(':');
    const port = Number(address.slice(at + 1));
    const socket = connect({ host: address.slice(0, at), port, noDelay: true });
    await once(socket, 'connect');
    return new RawMqttClient(socket, version);
  }

  /** Connects and returns the client with the CONNACK, whatever it says. */
  static async connect(
    address: string,
    fields: ConnectFields = {},
  ): Promise<{ client: RawMqttClient; connack: IConnackPacket }> {
    const client = await RawMqttClient.open(address, fields.version ?? 5);
    client.sendConnect(fields);
    return { client, connack: await client.expect('connack') };
  }

  sendConnect(fields: ConnectFields = {}): void {
    const { version } = this;
    this.send({
      cmd: 'connect',
      protocolId: version === 3 ? 'MQIsdp' : 'MQTT',
      protocolVersion: version,
      clean: true,
      clientId: '',
      keepalive: 0,
      ...fields,
    });
  }

  send(packet: Packet): void {
    this.write(generate(packet, { protocolVersion: this.version }));
  }

  write(bytes: Uint8Array): void {
    this.#socket.write(bytes);
  }

  /** A packet id that this client has not used. */
  nextId(): number {
    return ++this.#lastId;
  }

  /** Sends a PUBLISH; returns its packet id. */
  publish(
    topic: string,
    payload: string | Buffer,
    fields: Partial<IPublishPacket> = {},
  ): number | undefined {
    const qos = fields.qos ?? 0;
    const messageId = qos > 0 ? (fields.messageId ?? this.nextId()) : undefined;
    const packet: IPublishPacket = {
      cmd: 'publish',
      topic,
      payload,
      dup: false,
      retain: false,
      ...fields,
      qos,
      ...(messageId !== undefined && { messageId }),
    };
    this.send(packet);
    return messageId;
  }

  /** Publishes at QoS 1 and waits for the PUBACK; returns its reason code. */
  async publishAcked(topic: string, payload: string, fields: Partial<IPublishPacket> = {}) {
    const id = this.publish(topic, payload, { ...fields, qos: 1 });
    const { reasonCode } = await this.pick('puback', id);
    return reasonCode ?? 0;
  }

  /** Subscribes to one filter and waits for the SUBACK; returns its code. */
  async subscribe(
    topic: string,
    fields: { qos?: 0 | 1 | 2; nl?: boolean; rap?: boolean; rh?: number; id?: number } = {},
  ): Promise<number> {
    const { qos = 0, nl = false, rap = false, rh = 0, id } = fields;
    const messageId = this.nextId();
    this.send({
      cmd: 'subscribe',
      messageId,
      subscriptions: [{ topic, qos, nl, rap, rh }],
      ...(id !== undefined && { properties: { subscriptionIdentifier: id } }),
    });
    const { granted } = await this.pick('suback', messageId);
    return Number(granted[0]);
  }

  /** The next packet; rejects when the connection ends without one. */
  receive(isWanted: (packet: Packet) => boolean = () => true): Promise<Packet> {
    const at = this.#received.findIndex(isWanted);
    const [next] = at < 0 ? [] : this.#received.splice(at, 1);
    if (next !== undefined) return Promise.resolve(next);
    if (this.#isClosed) return Promise.reject(new Error('the connection has ended'));
    return new Promise((resolve, reject) => this.#waiting.push({ isWanted, resolve, reject }));
  }

  /** The next packet of that kind (and id), whatever came before it, which stays. */
  async pick<Kind extends Packet['cmd']>(
    cmd: Kind,
    messageId?: number,
  ): Promise<Extract<Packet, { cmd: Kind }>> {
    const packet = await this.receive(
      (one) => one.cmd === cmd && (messageId === undefined || one.messageId === messageId),
    );
    return packet as Extract<Packet, { cmd: Kind }>;
  }

  /** The next packet, which must be of that kind. */
  async expect<Kind extends Packet['cmd']>(cmd: Kind): Promise<Extract<Packet, { cmd: Kind }>> {
    const packet = await this.receive();
    if (packet.cmd !== cmd) throw new Error(`${cmd} is expected, not ${JSON.stringify(packet)}`);
    return packet as Extract<Packet, { cmd: Kind }>;
  }

  /** The payloads of the next so many packets, which must be PUBLISH. */
  async payloads(count: number): Promise<string[]> {
    const payloads: string[] = [];
    while (payloads.length < count) payloads.push(String((await this.expect('publish')).payload));
    return payloads;
  }

  /** What has come up to the answer of a PINGREQ that is sent now. */
  async untilPong(): Promise<Packet[]> {
    this.send({ cmd: 'pingreq' });
    const packets: Packet[] = [];
    for (let packet = await this.receive(); packet.cmd !== 'pingresp';) {
      packets.push(packet);
      packet = await this.receive();
    }
    return packets;
  }

  /** Does not read the socket. */
  pause(): void {
    this.#socket.pause();
  }

  resume(): void {
    this.#socket.resume();
  }

  /** Sends nothing more; what comes is still read. */
  end(): void {
    this.#socket.end();
  }

  /** Ends as a client does that has crashed. */
  destroy(): Promise<void> {
    this.#socket.destroy();
    return this.closed;
  }

  /** Sends DISCONNECT and waits for the end. */
  async disconnect(reasonCode = 0, sessionExpiryInterval?: number): Promise<void> {
    const properties = sessionExpiryInterval === undefined ? {} : { sessionExpiryInterval };
    this.send({ cmd: 'disconnect', reasonCode, properties });
    this.#socket.end();
    await this.closed;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.destroy();
  }

  #take(packet: Packet): void {
    if (this.answers === 'all') this.#answer(packet);
    if (packet.cmd === 'publish' && this.onPublish !== undefined) {
      this.onPublish(packet);
      return;
    }
    if (this.answers === 'all' && packet.cmd === 'pubrel') return;
    const at = this.#waiting.findIndex(({ isWanted }) => isWanted(packet));
    const [waiting] = at < 0 ? [] : this.#waiting.splice(at, 1);
    if (waiting !== undefined) waiting.resolve(packet);
    else this.#received.push(packet);
  }

  #answer(packet: Packet): void {
    const { messageId } = packet;
    if (messageId === undefined || this.#socket.destroyed) return;
    if (packet.cmd === 'publish' && packet.qos === 1) this.send({ cmd: 'puback', messageId });
    if (packet.cmd === 'publish' && packet.qos === 2) this.send({ cmd: 'pubrec', messageId });
    if (packet.cmd === 'pubrel') this.send({ cmd: 'pubcomp', messageId });
  }

  #ended(): void {
    this.#isClosed = true;
    for (const { reject } of this.#waiting.splice(0)) reject(new Error('the connection has ended'));
  }
}
