import { once } from 'node:events';
import { connect as connectTcp } from 'node:net';
import { connect as connectTls, type ConnectionOptions, type TLSSocket } from 'node:tls';

import { portOf } from '@robustmq/core';
import { RawMqttClient } from '@robustmq/testkit';
import { connectAsync, type IClientOptions, type MqttClient } from 'mqtt';
import { describe, expect, it } from 'vitest';

import { MqttRig } from '../server/mqtt-rig.fixture.ts';
import { until } from '../server/until.fixture.ts';
import { ReplaceableTls, TestAuthority } from './certificates.fixture.ts';
import type { MqttListenerOptions } from './listener-options.ts';

const secure: MqttListenerOptions = { name: 'secure', kind: 'mqtts', listen: '127.0.0.1:0' };

function startWith(options: Partial<MqttListenerOptions>): Promise<MqttRig> {
  return MqttRig.start({ listeners: [{ ...secure, ...options }] });
}

function connect(rig: MqttRig, options: IClientOptions): Promise<MqttClient> {
  return connectAsync(`mqtts://${rig.server.address}`, { reconnectPeriod: 0, ...options });
}

/** A TLS connection without MQTT. */
async function secureSocket(rig: MqttRig, options: ConnectionOptions): Promise<TLSSocket> {
  const socket = connectTls({ host: '127.0.0.1', port: portOf(rig.server.address), ...options });
  await once(socket, 'secureConnect');
  return socket;
}

/** Resolves once the connection has failed or was closed by the other side. */
async function failed(rig: MqttRig, options: ConnectionOptions): Promise<void> {
  const socket = connectTls({ host: '127.0.0.1', port: portOf(rig.server.address), ...options });
  socket.on('error', () => {});
  socket.resume();
  await new Promise((resolve) => socket.once('close', resolve));
}

function refused(rig: MqttRig, reason: string): number {
  const [listener] = rig.server.listeners;
  return new Map<string, number>(listener?.refusals.counts).get(reason) ?? 0;
}

function serverName(socket: TLSSocket): unknown {
  return socket.getPeerCertificate().subject.CN;
}

describe('a TLS listener', () => {
  it('serves clients of every version, at every QoS', async () => {
    const authority = await TestAuthority.create();
    await using rig = await startWith({ tls: new ReplaceableTls(await authority.server()) });
    const { ca } = authority;
    for (const protocolVersion of [4, 5] as const) {
      const client = await connect(rig, { ca, protocolVersion, clientId: `c${protocolVersion}` });
      await client.subscribeAsync('t', { qos: 2 });
      const received: string[] = [];
      client.on('message', (_topic, payload) => received.push(String(payload)));
      const large = 'x'.repeat(200_000);
      await client.publishAsync('t', 'small', { qos: 2 });
      await client.publishAsync('t', large, { qos: 1 });
      await until(() => received.length === 2);
      expect(received).toEqual(['small', large]);
      await client.endAsync();
    }
    expect(rig.server.listeners[0]?.connectionsTotal).toBe(2);
    await until(() => rig.server.listeners[0]?.connections === 0);
  });

  it('speaks no older version than TLS 1.2', async () => {
    const authority = await TestAuthority.create();
    await using rig = await startWith({ tls: new ReplaceableTls(await authority.server()) });
    const { ca } = authority;
    const socket = await secureSocket(rig, { ca, maxVersion: 'TLSv1.2' });
    socket.destroy();
    await failed(rig, {
      ca,
      minVersion: 'TLSv1.1',
      maxVersion: 'TLSv1.1',
      ciphers: 'ALL@SECLEVEL=0',
    });
    await until(() => refused(rig, 'tls') === 1);
  });

  it('shows the certificate of the host that the client names, else the first', async () => {
    const authority = await TestAuthority.create();
    const server = await authority.server('first.example', 'second.example');
    await using rig = await startWith({ tls: new ReplaceableTls(server) });
    const { ca } = authority;
    for (const [servername, wanted] of [
      ['first.example', 'first.example'],
      ['second.example', 'second.example'],
      ['third.example', 'first.example'],
    ] as const) {
      const socket = await secureSocket(rig, {
        ca,
        servername,
        checkServerIdentity: () => undefined,
      });
      expect(serverName(socket)).toBe(wanted);
      socket.destroy();
    }
  });

  it('shows a new certificate to new connections, and keeps the open ones', async () => {
    const authority = await TestAuthority.create();
    const tls = new ReplaceableTls(await authority.server('old.example'));
    await using rig = await startWith({ tls });
    const { ca } = authority;
    const open = await connect(rig, { ca, clientId: 'open' });
    const before = await secureSocket(rig, { ca });
    expect(serverName(before)).toBe('old.example');
    tls.replace(await authority.server('new.example'));
    const after = await secureSocket(rig, { ca });
    expect(serverName(after)).toBe('new.example');
    await open.publishAsync('t', 'x', { qos: 1 });
    before.destroy();
    after.destroy();
    await open.endAsync();
  });

  it('counts handshakes that are under way against the limit, and closes the next at once', async () => {
    const authority = await TestAuthority.create();
    const tls = new ReplaceableTls(await authority.server());
    await using rig = await startWith({ tls, limits: { connectionsMax: 1 } });
    const silent = connectTcp(portOf(rig.server.address), '127.0.0.1');
    await once(silent, 'connect');
    await until(() => rig.server.listeners[0]?.connections === 1);
    await failed(rig, { ca: authority.ca });
    expect(refused(rig, 'connections')).toBe(1);
    silent.destroy();
    await until(() => rig.server.listeners[0]?.connections === 0);
    const client = await connect(rig, { ca: authority.ca });
    await client.endAsync();
  });
});

describe('a client certificate', () => {
  it('is asked for and gives the user name, by its common name', async () => {
    const authority = await TestAuthority.create();
    const tls = new ReplaceableTls(await authority.server(), 'required');
    await using rig = await startWith({ tls, authentication: 'certificate' });
    const { ca } = authority;
    const issued = await authority.issue('CN=device-7', [{ type: 'url', value: 'urn:device:7' }]);
    const client = await connect(rig, { ca, ...issued, clientId: 'c' });
    const [connected] = rig.server.clients();
    expect(connected).toMatchObject({
      user: 'device-7',
      peer: {
        address: '127.0.0.1',
        listener: 'secure',
        certificate: { commonName: 'device-7', subjectAltName: 'URI:urn:device:7' },
      },
    });
    await client.endAsync();
  });

  it('gives the user name by its first alternative name when told so', async () => {
    const authority = await TestAuthority.create();
    const tls = new ReplaceableTls(await authority.server(), 'required');
    await using rig = await startWith({ tls, authentication: 'certificate', identity: 'san' });
    const { ca } = authority;
    const issued = await authority.issue('CN=device-7', [{ type: 'url', value: 'urn:device:7' }]);
    const client = await connect(rig, { ca, ...issued, clientId: 'c' });
    expect([...rig.server.clients()].map(({ user }) => user)).toEqual(['urn:device:7']);
    await client.endAsync();
    // One without a name of that kind has no user name: it is told so.
    const nameless = await authority.issue('CN=device-8');
    await expect(connect(rig, { ca, ...nameless, protocolVersion: 5 })).rejects.toThrow(
      'Not authorized',
    );
    expect(refused(rig, 'client_certificate')).toBe(1);
  });

  it('that is missing or of another authority ends the handshake when one is required', async () => {
    const authority = await TestAuthority.create();
    const tls = new ReplaceableTls(await authority.server(), 'required');
    await using rig = await startWith({ tls });
    const { ca } = authority;
    await failed(rig, { ca });
    await until(() => refused(rig, 'client_certificate') === 1);
    const foreign = await (await TestAuthority.create('foreign')).issue('CN=device-7');
    await failed(rig, { ca, ...foreign });
    await until(() => refused(rig, 'client_certificate') === 2);
    expect(rig.server.listeners[0]?.connectionsTotal).toBe(0);
  });

  it('may be missing when it is optional, but not be of another authority', async () => {
    const authority = await TestAuthority.create();
    const tls = new ReplaceableTls(await authority.server(), 'optional');
    await using rig = await startWith({ tls });
    const { ca } = authority;
    const client = await connect(rig, { ca, username: 'u' });
    expect([...rig.server.clients()].map(({ user }) => user)).toEqual(['u']);
    await client.endAsync();
    const foreign = await (await TestAuthority.create('foreign')).issue('CN=device-7');
    await failed(rig, { ca, ...foreign });
    expect(refused(rig, 'client_certificate')).toBe(1);
  });

  it('of authorities that were taken away does not come back with an old session', async () => {
    const authority = await TestAuthority.create();
    const other = await TestAuthority.create('other');
    const server = await authority.server();
    const tls = new ReplaceableTls(server, 'required');
    await using rig = await startWith({ tls });
    const issued = await authority.issue('CN=device-7');
    const { ca } = authority;
    const first = await secureSocket(rig, { ca, ...issued });
    const session = await new Promise<Buffer>((resolve) => {
      first.once('session', resolve);
      first.write(Buffer.alloc(0));
    });
    first.destroy();
    const second = await secureSocket(rig, { ca, ...issued, session });
    expect(second.isSessionReused()).toBe(true);
    second.destroy();
    const [{ certificate, contextOptions }] = server;
    tls.replace([{ certificate, contextOptions: { ...contextOptions, ca: other.ca } }]);
    await failed(rig, { ca, ...issued, session });
    await until(() => refused(rig, 'client_certificate') === 1);
  });
});

it('a plain connection to a TLS port is closed and counted', async () => {
  const authority = await TestAuthority.create();
  await using rig = await startWith({ tls: new ReplaceableTls(await authority.server()) });
  const client = await RawMqttClient.open(rig.server.address);
  client.sendConnect({ clientId: 'c' });
  await client.closed;
  expect(refused(rig, 'tls')).toBe(1);
});
