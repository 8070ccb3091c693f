import { once } from 'node:events';

import { VirtualClock } from '@robustmq/testkit';
import { connectAsync, type IClientOptions, type MqttClient } from 'mqtt';
import { generate, type Packet, parser } from 'mqtt-packet';
import { describe, expect, it } from 'vitest';
import { WebSocket } from 'ws';

import { MqttRig, plainListener } from '../server/mqtt-rig.fixture.ts';
import { until } from '../server/until.fixture.ts';
import { ReplaceableTls, TestAuthority } from './certificates.fixture.ts';
import type { MqttListenerOptions } from './listener-options.ts';

const web: MqttListenerOptions = { ...plainListener, kind: 'ws' };

function connect(url: string, options: IClientOptions): Promise<MqttClient> {
  return connectAsync(url, { reconnectPeriod: 0, ...options });
}

/** A WebSocket in the test's hands, with the frames and packets that have come. */
class RawWebSocket {
  readonly frames: Buffer[] = [];
  readonly packets: Packet[] = [];
  readonly closed: Promise<number>;
  readonly #webSocket: WebSocket;

  private constructor(webSocket: WebSocket) {
    this.#webSocket = webSocket;
    const packets = parser({ protocolVersion: 5 });
    packets.on('packet', (packet: Packet) => this.packets.push(packet));
    webSocket.on('message', (data: Buffer) => {
      this.frames.push(data);
      packets.parse(data);
    });
    webSocket.on('error', () => {});
    this.closed = new Promise((resolve) => webSocket.once('close', resolve));
  }

  static async open(rig: MqttRig): Promise<RawWebSocket> {
    const webSocket = new WebSocket(`ws://${rig.server.address}/mqtt`, 'mqtt');
    const raw = new RawWebSocket(webSocket);
    await once(webSocket, 'open');
    return raw;
  }

  get socket(): WebSocket {
    return this.#webSocket;
  }

  async received(count: number): Promise<Packet[]> {
    await until(() => this.packets.length >= count);
    return this.packets;
  }
}

function connectBytes(clientId: string): Buffer {
  return generate(
    { cmd: 'connect', protocolId: 'MQTT', protocolVersion: 5, clean: true, clientId, keepalive: 0 },
    { protocolVersion: 5 },
  );
}

function publishBytes(payload: string | Buffer): Buffer {
  return generate(
    { cmd: 'publish', topic: 't', payload, qos: 0, dup: false, retain: false },
    { protocolVersion: 5 },
  );
}

function subscribeBytes(messageId: number): Buffer {
  const subscriptions = [{ topic: 't', qos: 0 as const, nl: false, rap: false, rh: 0 }];
  return generate({ cmd: 'subscribe', messageId, subscriptions }, { protocolVersion: 5 });
}

function refusals(rig: MqttRig): Record<string, number> {
  return Object.fromEntries(rig.server.listeners[0]?.refusals.counts ?? []);
}

/** The status with which an upgrade is refused. */
async function refusedWith(
  url: string,
  protocols: string[] = ['mqtt'],
  origin?: string,
): Promise<number> {
  const webSocket = new WebSocket(url, protocols, { ...(origin !== undefined && { origin }) });
  webSocket.on('error', () => {});
  return new Promise((resolve, reject) => {
    webSocket.once('open', () => reject(new Error('it was accepted')));
    webSocket.once('unexpected-response', (request, response) => {
      request.destroy();
      resolve(response.statusCode ?? 0);
    });
  });
}

describe('MQTT over WebSocket', () => {
  it('serves MQTT.js of every version, also with large messages', async () => {
    await using rig = await MqttRig.start({ listeners: [web] });
    for (const protocolVersion of [4, 5] as const) {
      const client = await connect(`ws://${rig.server.address}/mqtt`, { protocolVersion });
      await client.subscribeAsync('t', { qos: 2 });
      const received: string[] = [];
      client.on('message', (_topic, payload) => received.push(String(payload)));
      const large = 'x'.repeat(300_000);
      for (const qos of [0, 1, 2] as const) await client.publishAsync('t', `${qos}`, { qos });
      await client.publishAsync('t', large, { qos: 1 });
      await until(() => received.length === 4);
      expect(received).toEqual(['0', '1', '2', large]);
      await client.endAsync();
    }
    await until(() => rig.server.listeners[0]?.connections === 0);
    expect(refusals(rig)).toEqual({});
  });

  it('serves MQTT.js over TLS, with a client certificate', async () => {
    const authority = await TestAuthority.create();
    const tls = new ReplaceableTls(await authority.server(), 'required');
    await using rig = await MqttRig.start({ listeners: [{ ...web, kind: 'wss', tls }] });
    const issued = await authority.issue('CN=device-7');
    const client = await connect(`wss://${rig.server.address}/mqtt`, {
      ca: authority.ca,
      ...issued,
    });
    await client.publishAsync('t', 'x', { qos: 1 });
    expect([...rig.server.clients()].map(({ user }) => user)).toEqual(['device-7']);
    await client.endAsync();
  });

  it('[MQTT5-6.0.0-4, MQTT-6.0.0-4] answers with the subprotocol mqtt, also when others are offered first', async () => {
    await using rig = await MqttRig.start({ listeners: [web] });
    const webSocket = new WebSocket(`ws://${rig.server.address}/mqtt`, ['mqttv3.1', 'mqtt']);
    await once(webSocket, 'open');
    expect([webSocket.protocol, webSocket.extensions]).toEqual(['mqtt', '']);
    webSocket.terminate();
  });

  it('[MQTT5-6.0.0-3, MQTT-6.0.0-3] refuses an upgrade without the subprotocol mqtt', async () => {
    await using rig = await MqttRig.start({ listeners: [web] });
    const url = `ws://${rig.server.address}/mqtt`;
    expect(await refusedWith(url, [])).toBe(400);
    expect(await refusedWith(url, ['mqttv3.1'])).toBe(400);
    expect(refusals(rig)).toEqual({ web_socket: 2 });
  });

  it('[MQTT5-6.0.0-1, MQTT-6.0.0-1] ends the connection at a text frame', async () => {
    await using rig = await MqttRig.start({ listeners: [web] });
    const raw = await RawWebSocket.open(rig);
    raw.socket.send(connectBytes('c'));
    await raw.received(1);
    raw.socket.send('text');
    expect(await raw.closed).toBe(1003);
    await until(() => rig.server.counters.connections === 0);
    expect(refusals(rig)).toEqual({ web_socket: 1 });
  });

  it('[MQTT5-6.0.0-2, MQTT-6.0.0-2] packets may begin and end anywhere in frames', async () => {
    await using rig = await MqttRig.start({ listeners: [web] });
    const raw = await RawWebSocket.open(rig);
    const bytes = Buffer.concat([
      connectBytes('c'),
      subscribeBytes(1),
      subscribeBytes(2),
      publishBytes('a'),
      publishBytes('b'),
    ]);
    // Byte by byte, then all at once in one frame of a second client.
    for (const byte of bytes) raw.socket.send(Buffer.of(byte));
    const order = ['connack', 'suback', 'suback', 'publish', 'publish'];
    expect((await raw.received(5)).map(({ cmd }) => cmd)).toEqual(order);
    raw.socket.terminate();
    const second = await RawWebSocket.open(rig);
    second.socket.send(bytes);
    expect((await second.received(5)).map(({ cmd }) => cmd)).toEqual(order);
    // Fragments of one message are one frame to us.
    const half = connectBytes('third').length / 2;
    const third = await RawWebSocket.open(rig);
    third.socket.send(connectBytes('third').subarray(0, half), { fin: false });
    third.socket.send(connectBytes('third').subarray(half), { fin: true });
    expect(await third.received(1)).toMatchObject([{ cmd: 'connack', reasonCode: 0 }]);
    second.socket.terminate();
    third.socket.terminate();
  });

  it('what the broker sends in a turn is one frame', async () => {
    await using rig = await MqttRig.start({ listeners: [web] });
    const raw = await RawWebSocket.open(rig);
    raw.socket.send(connectBytes('c'));
    raw.socket.send(subscribeBytes(1));
    await raw.received(2);
    const before = raw.frames.length;
    const payload = Buffer.alloc(10_000);
    raw.socket.send(Buffer.concat(Array.from({ length: 12 }, () => publishBytes(payload))));
    await raw.received(14);
    // All twelve were appended in one turn, and are delivered in one: 120 kB, more than are joined for TCP.
    expect(raw.frames.length - before).toBe(1);
    raw.socket.terminate();
  });

  it('a client that does not read is not written to without end, and is written to again', async () => {
    await using rig = await MqttRig.start({
      listeners: [web],
      limits: { socketBytesMax: 500_000 },
    });
    const raw = await RawWebSocket.open(rig);
    raw.socket.send(connectBytes('slow'));
    raw.socket.send(subscribeBytes(1));
    await raw.received(2);
    raw.socket.pause();
    const publisher = await connect(`ws://${rig.server.address}/mqtt`, { clientId: 'p' });
    const payload = Buffer.alloc(50_000);
    const { counters } = rig.server;
    // The system's buffers take some megabytes.
    for (let at = 0; at < 1_000 && counters.droppedOut === 0; at++) {
      await publisher.publishAsync('t', payload, { qos: 1 });
    }
    expect(counters.droppedOut).toBeGreaterThan(0);
    raw.socket.resume();
    const isThere = (): boolean =>
      raw.packets.some((one) => one.cmd === 'publish' && String(one.payload) === 'end');
    while (!isThere()) await publisher.publishAsync('t', 'end', { qos: 1 });
    raw.socket.terminate();
    await publisher.endAsync();
  });

  it('a client whose packets have to wait is not read meanwhile, and loses nothing', async () => {
    await using rig = await MqttRig.start({ listeners: [web] });
    let go = (): void => {};
    rig.beforeEnd = () => new Promise<void>((resolve) => (go = resolve));
    const raw = await RawWebSocket.open(rig);
    raw.socket.send(connectBytes('c'));
    raw.socket.send(subscribeBytes(1));
    for (let at = 0; at < 500; at++) raw.socket.send(publishBytes(`${at}`));
    await raw.received(1);
    await until(() => rig.server.counters.bytesIn > 0);
    rig.beforeEnd = () => {};
    go();
    const packets = await raw.received(502);
    const payloads = packets.flatMap((one) => (one.cmd === 'publish' ? [String(one.payload)] : []));
    expect(payloads).toEqual(Array.from({ length: 500 }, (_, at) => `${at}`));
    raw.socket.terminate();
  });
});

describe('a WebSocket listener', () => {
  it('upgrades at its path only', async () => {
    await using rig = await MqttRig.start({ listeners: [{ ...web, path: '/here' }] });
    expect(await refusedWith(`ws://${rig.server.address}/mqtt`)).toBe(404);
    const client = await connect(`ws://${rig.server.address}/here?x=1`, {});
    await client.endAsync();
  });

  it('upgrades for pages of the allowed origins only, and for what is no page', async () => {
    const origins = ['https://console.example'];
    await using rig = await MqttRig.start({ listeners: [{ ...web, origins }] });
    const url = `ws://${rig.server.address}/mqtt`;
    expect(await refusedWith(url, ['mqtt'], 'https://evil.example')).toBe(403);
    const page = new WebSocket(url, 'mqtt', { origin: 'https://console.example' });
    await once(page, 'open');
    page.terminate();
    const client = await connect(url, {});
    await client.endAsync();
  });

  it('says what it is to a browser that asks for a page', async () => {
    await using rig = await MqttRig.start({ listeners: [web] });
    const response = await fetch(`http://${rig.server.address}/mqtt`);
    expect(response.status).toBe(426);
    expect(await response.text()).toContain('MQTT over WebSocket');
    await until(() => rig.server.listeners[0]?.connections === 0);
    expect(refusals(rig)).toEqual({ web_socket: 1 });
  });

  it('takes no message that is larger than a packet may be', async () => {
    await using rig = await MqttRig.start({
      listeners: [{ ...web, limits: { packetBytesMax: 1_000 } }],
    });
    const raw = await RawWebSocket.open(rig);
    raw.socket.send(connectBytes('c'));
    await raw.received(1);
    raw.socket.send(Buffer.alloc(70_000));
    expect(await raw.closed).toBe(1009);
    await until(() => rig.server.counters.connections === 0);
  });

  it('holds no more than a CONNECT of somebody who has sent none', async () => {
    await using rig = await MqttRig.start({ listeners: [web] });
    const raw = await RawWebSocket.open(rig);
    for (let at = 0; at < 10; at++) raw.socket.send(Buffer.alloc(20_000), { fin: false });
    expect(await raw.closed).toBe(1009);
    await until(() => rig.server.counters.connections === 0);
    expect(refusals(rig)).toEqual({ web_socket: 1 });
  });

  it('tells who is refused for a limit', async () => {
    await using rig = await MqttRig.start({ listeners: [web], limits: { connectionsMax: 0 } });
    const raw = await RawWebSocket.open(rig);
    raw.socket.send(connectBytes('c'));
    expect(await raw.received(1)).toMatchObject([{ cmd: 'connack', reasonCode: 0x97 }]);
    expect(await raw.closed).toBe(1000);
  });

  it('waits for an upgrade as long as for a CONNECT', async () => {
    const clock = new VirtualClock();
    await using rig = await MqttRig.start({ clock, listeners: [web] });
    const silent = await rig.open();
    silent.write(Buffer.from('GET /mqtt HTTP/1.1\r\n'));
    await until(() => rig.server.listeners[0]?.connections === 1);
    await clock.advance(10_100);
    await silent.closed;
    expect(refusals(rig)).toEqual({ timeout: 1 });
  });

  it('closes WebSockets in order when the broker ends', async () => {
    await using rig = await MqttRig.start({ listeners: [web] });
    const raw = await RawWebSocket.open(rig);
    raw.socket.send(connectBytes('c'));
    await raw.received(1);
    await rig.server[Symbol.asyncDispose]();
    expect(await raw.closed).toBe(1000);
    expect(raw.packets.at(-1)).toMatchObject({ cmd: 'disconnect', reasonCode: 0x8b });
  });
});
