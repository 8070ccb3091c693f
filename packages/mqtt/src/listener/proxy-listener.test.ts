import { once } from 'node:events';
import { connect as connectTcp, type Socket } from 'node:net';
import { connect as connectTls } from 'node:tls';

import { portOf } from '@robustmq/core';
import { VirtualClock } from '@robustmq/testkit';
import { generate, parser } from 'mqtt-packet';
import { describe, expect, it } from 'vitest';
import { WebSocket } from 'ws';

import { MqttRig, plainListener } from '../server/mqtt-rig.fixture.ts';
import { until } from '../server/until.fixture.ts';
import { ReplaceableTls, TestAuthority } from './certificates.fixture.ts';
import type { MqttListenerOptions } from './listener-options.ts';

const behindProxy: MqttListenerOptions = { ...plainListener, proxyNetworks: ['127.0.0.0/8'] };
const line = Buffer.from('PROXY TCP4 192.0.2.7 198.51.100.1 56324 1883\r\n');

/** With the common name of a certificate that the proxy has verified. */
const binary = Buffer.concat([
  Buffer.from('0d0a0d0a000d0a515549540a2111', 'hex'),
  Buffer.from([0, 12 + 3 + 5 + 3 + 8]),
  Buffer.from([192, 0, 2, 7, 198, 51, 100, 1, 0xdc, 0x04, 0x07, 0x5b]),
  Buffer.from([0x20, 0, 16, 0x03, 0, 0, 0, 0, 0x22, 0, 8]),
  Buffer.from('device-7'),
]);

function connectBytes(clientId: string): Buffer {
  return generate({
    cmd: 'connect',
    protocolId: 'MQTT',
    protocolVersion: 4,
    clean: true,
    clientId,
    keepalive: 0,
  });
}

function open(rig: MqttRig): Socket {
  const socket = connectTcp(portOf(rig.server.address), '127.0.0.1');
  socket.on('error', () => {});
  return socket;
}

/** The next packet of the broker; rejects when there is none. */
function answer(socket: Pick<Socket, 'on' | 'once'>): Promise<unknown> {
  const packets = parser({ protocolVersion: 4 });
  return new Promise((resolve, reject) => {
    packets.on('packet', resolve);
    socket.on('data', (chunk: Buffer) => packets.parse(chunk));
    socket.once('close', () => reject(new Error('closed without an answer')));
  });
}

async function closed(socket: Socket): Promise<void> {
  socket.resume();
  await new Promise((resolve) => socket.once('close', resolve));
}

function refusals(rig: MqttRig): Record<string, number> {
  return Object.fromEntries(rig.server.listeners[0]?.refusals.counts ?? []);
}

describe('behind a proxy', () => {
  it.each([
    ['a line', line, undefined],
    ['a binary header', binary, 'device-7'],
  ])('the client is whom %s names', async (_name, header, commonName) => {
    await using rig = await MqttRig.start({ listeners: [behindProxy] });
    const socket = open(rig);
    socket.write(Buffer.concat([header, connectBytes('c')]));
    expect(await answer(socket)).toMatchObject({ cmd: 'connack', returnCode: 0 });
    const [client] = rig.server.clients();
    expect(client?.peer).toMatchObject({ address: '192.0.2.7', port: 56324, listener: 'mqtt' });
    expect(client?.peer.certificate?.commonName).toBe(commonName);
    expect(client?.user).toBe(commonName ?? '');
    socket.destroy();
  });

  it('header and CONNECT may come byte by byte', async () => {
    await using rig = await MqttRig.start({ listeners: [behindProxy] });
    const socket = open(rig);
    socket.setNoDelay(true);
    for (const byte of Buffer.concat([binary, connectBytes('c')])) {
      await new Promise((resolve) => socket.write(Buffer.of(byte), resolve));
      await new Promise((resolve) => setImmediate(resolve));
    }
    expect(await answer(socket)).toMatchObject({ cmd: 'connack', returnCode: 0 });
    socket.destroy();
  });

  it('a health check is the proxy itself', async () => {
    await using rig = await MqttRig.start({ listeners: [behindProxy] });
    const socket = open(rig);
    socket.write('PROXY UNKNOWN\r\n');
    socket.write(connectBytes('c'));
    await answer(socket);
    expect([...rig.server.clients()].map(({ peer }) => peer.address)).toEqual(['127.0.0.1']);
    socket.destroy();
  });

  it('TLS follows the header', async () => {
    const authority = await TestAuthority.create();
    const tls = new ReplaceableTls(await authority.server());
    await using rig = await MqttRig.start({ listeners: [{ ...behindProxy, kind: 'mqtts', tls }] });
    const socket = open(rig);
    await once(socket, 'connect');
    socket.write(line);
    const secure = connectTls({ socket, ca: authority.ca, servername: 'localhost' });
    secure.write(connectBytes('c'));
    expect(await answer(secure)).toMatchObject({ cmd: 'connack', returnCode: 0 });
    expect([...rig.server.clients()].map(({ peer }) => peer.address)).toEqual(['192.0.2.7']);
    secure.destroy();
  });

  it('WebSocket follows the header', async () => {
    await using rig = await MqttRig.start({ listeners: [{ ...behindProxy, kind: 'ws' }] });
    const webSocket = new WebSocket(`ws://${rig.server.address}/mqtt`, 'mqtt', {
      createConnection: (() => {
        const socket = open(rig);
        socket.write(line);
        return socket;
      }) as never,
    });
    await once(webSocket, 'open');
    webSocket.send(connectBytes('c'));
    await once(webSocket, 'message');
    expect([...rig.server.clients()].map(({ peer }) => peer.address)).toEqual(['192.0.2.7']);
    webSocket.terminate();
  });

  it('places are counted by the address of the client', async () => {
    const limits = { connectionsPerAddressMax: 1 };
    await using rig = await MqttRig.start({ listeners: [{ ...behindProxy, limits }] });
    const answers: unknown[] = [];
    for (const [at, address] of ['192.0.2.7', '192.0.2.7', '192.0.2.8'].entries()) {
      const socket = open(rig);
      socket.write(`PROXY TCP4 ${address} 198.51.100.1 1 1883\r\n`);
      socket.write(connectBytes(`c${at}`));
      answers.push(await answer(socket));
    }
    expect(answers).toMatchObject([{ returnCode: 0 }, { returnCode: 3 }, { returnCode: 0 }]);
    expect(refusals(rig)).toEqual({ address_connections: 1 });
  });
});

describe('what is no proxy', () => {
  it.each([
    ['MQTT without a header', connectBytes('c')],
    ['a wrong header', Buffer.from('PROXY TCP4 x y 1 2\r\n')],
    ['a header without an end', Buffer.from(`PROXY ${'x'.repeat(200)}`)],
  ])('%s is closed and counted', async (_name, bytes) => {
    await using rig = await MqttRig.start({ listeners: [behindProxy] });
    const socket = open(rig);
    socket.write(bytes);
    await closed(socket);
    expect(refusals(rig)).toEqual({ proxy_header: 1 });
    expect(rig.server.listeners[0]?.connections).toBe(0);
  });

  it('somebody outside of the networks is closed, whatever it sends', async () => {
    const elsewhere = { ...behindProxy, proxyNetworks: ['10.0.0.0/8'] };
    await using rig = await MqttRig.start({ listeners: [elsewhere] });
    const socket = open(rig);
    socket.write(Buffer.concat([line, connectBytes('c')]));
    await closed(socket);
    expect(refusals(rig)).toEqual({ proxy_network: 1 });
  });

  it('a header that does not come is waited for as long as a CONNECT', async () => {
    const clock = new VirtualClock();
    await using rig = await MqttRig.start({ clock, listeners: [behindProxy] });
    const socket = open(rig);
    socket.write(line.subarray(0, 10));
    await until(() => rig.server.listeners[0]?.connections === 1);
    const gone = closed(socket);
    await clock.advance(10_100);
    await gone;
    expect(refusals(rig)).toEqual({ timeout: 1 });
  });

  it('one that is on the way is closed when the broker ends', async () => {
    await using rig = await MqttRig.start({ listeners: [behindProxy] });
    const socket = open(rig);
    await until(() => rig.server.listeners[0]?.connections === 1);
    const gone = closed(socket);
    await rig.server[Symbol.asyncDispose]();
    await gone;
  });
});
