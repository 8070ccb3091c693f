import { OperatingError } from '@robustmq/core';
import { RawMqttClient, VirtualClock } from '@robustmq/testkit';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import { ReasonCode } from '../codec/reason-code.ts';
import { packet, properties } from '../codec/test-packets.ts';
import { MqttRig } from '../server/mqtt-rig.fixture.ts';
import { until } from '../server/until.fixture.ts';

const keep = { sessionExpiryInterval: 1000 };

describe('CONNECT', () => {
  let rig: MqttRig;
  beforeEach(async () => {
    rig = await MqttRig.start();
  });
  afterEach(() => rig[Symbol.asyncDispose]());

  it.each([3, 4, 5] as const)('version %i is accepted', async (version) => {
    const { client, connack } = await RawMqttClient.connect(rig.server.address, {
      version,
      clientId: 'c',
    });
    expect(connack.sessionPresent).toBe(false);
    expect(version === 5 ? connack.reasonCode : connack.returnCode).toBe(0);
    await client.destroy();
  });

  it('[MQTT5 section 3.2.2.3] says what the server takes', async () => {
    const { client, connack } = await RawMqttClient.connect(rig.server.address, { clientId: 'c' });
    expect(connack.properties).toEqual({
      receiveMaximum: 1000,
      maximumPacketSize: 4 * 1024 * 1024,
      topicAliasMaximum: 32,
    });
    await client.destroy();
  });

  it('[MQTT5-3.2.2-16] an assigned client id is told, and no two are the same', async () => {
    const ids = new Set<string | undefined>();
    for (let at = 0; at < 3; at++) {
      const { client, connack } = await RawMqttClient.connect(rig.server.address);
      ids.add(connack.properties?.assignedClientIdentifier);
      await client.destroy();
    }
    expect(ids.size).toBe(3);
    expect(ids.has(undefined)).toBe(false);
  });

  it.each([
    { version: 3, clean: true, code: 2 },
    { version: 3, clean: false, code: 2 },
    { version: 4, clean: false, code: 2 },
    { version: 4, clean: true, code: 0 },
  ] as const)(
    '[MQTT-3.1.3-8] an empty id, version $version, clean $clean: $code',
    async ({ version, clean, code }) => {
      const client = await rig.open(version);
      // The library refuses to write such a packet.
      const name = version === 3 ? 'MQIsdp' : 'MQTT';
      client.write(packet(0x10, name, version, clean ? 2 : 0, 0, 0, ''));
      expect(await client.expect('connack')).toMatchObject({ returnCode: code });
      if (code !== 0) await client.closed;
    },
  );

  it('[MQTT5-3.1.2-2] an unknown version is answered', async () => {
    const old = await rig.open(4);
    old.write(packet(0x10, 'MQTT', 6, 2, 0, 0, 'c'));
    await old.closed;
    expect(old.chunks.length).toBeGreaterThan(0);
  });

  it('[MQTT5-4.12.0-1] an authentication method is refused 0x8C', async () => {
    const { client, connack } = await RawMqttClient.connect(rig.server.address, {
      clientId: 'c',
      properties: { authenticationMethod: 'SCRAM-SHA-1' },
    });
    expect(connack.reasonCode).toBe(ReasonCode.badAuthenticationMethod);
    await client.closed;
  });

  it('[MQTT5-3.1.4-6] nothing after a refused CONNECT is processed', async () => {
    const watcher = await rig.connect({ clientId: 'w' });
    await watcher.subscribe('#', { qos: 1 });
    const client = await rig.open(4);
    client.write(
      Buffer.concat([packet(0x10, 'MQTT', 4, 0, 0, 0, ''), packet(0x30, 'a', Buffer.from('no'))]),
    );
    await client.closed;
    await watcher.publishAcked('b', 'marker');
    expect(await watcher.payloads(1)).toEqual(['marker']);
  });

  it('[MQTT5-3.1.0-1] any other first packet closes without an answer', async () => {
    const client = await rig.open();
    client.send({ cmd: 'pingreq' });
    await client.closed;
    expect(client.chunks).toEqual([]);
  });

  it('[MQTT5-3.1.0-2] a second CONNECT is a protocol error', async () => {
    const client = await rig.connect({ clientId: 'c' });
    client.sendConnect({ clientId: 'c' });
    expect(await client.expect('disconnect')).toMatchObject({ reasonCode: 0x82 });
    await client.closed;
  });

  it.each(['$SYS/will', '$other'])('a will to %s is refused 0x90', async (topic) => {
    const { client, connack } = await RawMqttClient.connect(rig.server.address, {
      clientId: 'c',
      will: { topic, payload: Buffer.from('x'), qos: 0, retain: false },
    });
    expect(connack.reasonCode).toBe(ReasonCode.topicNameInvalid);
    await client.closed;
  });

  it('a coordinator that is away is answered 0x88 and the client is closed', async () => {
    rig.sessions.before = () => {
      throw new OperatingError('UNAVAILABLE', 'no coordinator');
    };
    const { client, connack } = await RawMqttClient.connect(rig.server.address, { clientId: 'c' });
    expect(connack).toMatchObject({ reasonCode: 0x88, sessionPresent: false });
    await client.closed;
  });

  it('what a client sends behind its CONNECT waits for the CONNACK', async () => {
    const held = Promise.withResolvers<void>();
    rig.sessions.before = () => held.promise;
    const client = await rig.open(4);
    client.sendConnect({ clientId: 'c' });
    client.send({ cmd: 'pingreq' });
    held.resolve();
    expect((await client.receive()).cmd).toBe('connack');
    expect((await client.receive()).cmd).toBe('pingresp');
  });
});

describe('session present', () => {
  let rig: MqttRig;
  beforeEach(async () => {
    rig = await MqttRig.start();
  });
  afterEach(() => rig[Symbol.asyncDispose]());

  it.each([
    { first: keep, clean: false, present: true },
    { first: keep, clean: true, present: false },
    { first: {}, clean: false, present: false },
    { first: {}, clean: true, present: false },
  ])(
    '[MQTT5-3.1.2-4, -5, -6] kept $first, clean start $clean: $present',
    async ({ first, clean, present }) => {
      const before = await rig.connect({ clientId: 'c', properties: first });
      await before.subscribe('kept/topic', { qos: 1 });
      await before.disconnect();
      const fields = { clientId: 'c', clean, properties: keep };
      const { client, connack } = await RawMqttClient.connect(rig.server.address, fields);
      expect(connack.sessionPresent).toBe(present);
      // The subscription is there, or not.
      await client.publishAcked('kept/topic', 'x');
      const got = await client.untilPong();
      if (!present) expect(got).toEqual([]);
      else if (got.length === 0) expect(await client.payloads(1)).toEqual(['x']);
      await client.destroy();
    },
  );

  it('[MQTT-3.1.2-4, -5, -3.2.2-2] MQTT 3.1.1 keeps a session without CleanSession', async () => {
    const before = await rig.connect({ version: 4, clientId: 'c', clean: false });
    await before.subscribe('a/b', { qos: 1 });
    await before.disconnect();
    const publisher = await rig.connect({ clientId: 'p' });
    await publisher.publishAcked('a/b', 'while away');
    const fields = { version: 4, clientId: 'c', clean: false } as const;
    const { client, connack } = await RawMqttClient.connect(rig.server.address, fields);
    expect(connack.sessionPresent).toBe(true);
    expect(await client.payloads(1)).toEqual(['while away']);
    await client.destroy();
  });

  it('[MQTT5-3.14.2.2.2] DISCONNECT may change the expiry, but not from zero', async () => {
    const kept = await rig.connect({ clientId: 'a', properties: keep });
    await kept.disconnect(0, 0);
    expect(rig.sessions.sessions.has('a')).toBe(false);
    const transient = await rig.connect({ clientId: 'b' });
    transient.send({
      cmd: 'disconnect',
      reasonCode: 0,
      properties: { sessionExpiryInterval: 5 },
    });
    expect(await transient.expect('disconnect')).toMatchObject({ reasonCode: 0x82 });
    await transient.closed;
  });
});

describe('the end of a connection', () => {
  let rig: MqttRig;
  beforeEach(async () => {
    rig = await MqttRig.start();
  });
  afterEach(() => rig[Symbol.asyncDispose]());
  const will = { topic: 'w', payload: Buffer.from('gone'), qos: 1, retain: true } as const;

  it.each([
    { reasonCode: 0x00, published: false },
    { reasonCode: 0x04, published: true },
    { reasonCode: 0x80, published: true },
  ])(
    '[MQTT5-3.14.4-3] DISCONNECT $reasonCode: will published $published',
    async ({ reasonCode, published }) => {
      const client = await rig.connect({ clientId: 'c', will });
      await client.disconnect(reasonCode);
      expect(rig.sessions.ends).toMatchObject([{ end: { publishWill: published } }]);
    },
  );

  it('[MQTT5-3.1.2-8] a lost connection publishes the will, with its headers', async () => {
    const properties = { payloadFormatIndicator: true, willDelayInterval: 7, contentType: 't' };
    const client = await rig.connect({ clientId: 'c', will: { ...will, properties } });
    await client.destroy();
    await until(() => rig.sessions.wills.length === 1);
    const stored = rig.sessions.wills[0]?.will;
    expect(stored).toMatchObject({ topic: 'w', delaySeconds: 7 });
    expect(stored?.headers.map(({ name }) => String(name))).toEqual([
      'mqtt.payload-format',
      'content-type',
      'mqtt.qos',
      'mqtt.retain',
      'mqtt.publisher',
    ]);
  });

  it('[MQTT5-3.1.4-3] a takeover tells the old connection 0x8E, in this order', async () => {
    const old = await rig.connect({ clientId: 'c', properties: keep });
    const { client, connack } = await RawMqttClient.connect(rig.server.address, {
      clientId: 'c',
      clean: false,
      properties: keep,
    });
    expect(await old.expect('disconnect')).toMatchObject({ reasonCode: 0x8e });
    await old.closed;
    expect(connack.sessionPresent).toBe(true);
    expect(rig.sessions.calls.map(({ call }) => call)).toEqual([
      'connect',
      'disconnect',
      'connect',
    ]);
    await client.destroy();
  });

  it('[MQTT5-3.1.4-3] a takeover at another broker tells it 0x8E', async () => {
    const other = await rig.startServer();
    const old = await rig.connect({ clientId: 'c', properties: keep });
    await rig.connect({ clientId: 'c', clean: false, properties: keep }, other);
    expect(await old.expect('disconnect')).toMatchObject({ reasonCode: 0x8e });
    await old.closed;
    expect(rig.sessions.ends).toEqual([]);
  });

  it('a client that comes back after its end takes nobody over', async () => {
    const first = await rig.connect({ clientId: 'c' });
    await first.disconnect();
    await rig.connect({ clientId: 'c' });
    expect(rig.server.counters.takeovers).toBe(0);
  });

  it('an MQTT 3.1.1 client that is taken over is closed without a word', async () => {
    const old = await rig.connect({ version: 4, clientId: 'c' });
    await rig.connect({ version: 4, clientId: 'c' });
    await old.closed;
    expect(await old.receive().catch(String)).toContain('ended');
  });

  it('what an old connection still sends is not looked at', async () => {
    const watcher = await rig.connect({ clientId: 'w' });
    await watcher.subscribe('late/#');
    const old = await rig.connect({ clientId: 'c' });
    old.pause();
    await rig.connect({ clientId: 'c' });
    for (let at = 0; at < 100; at++) old.publish('late/x', `${at}`);
    old.resume();
    await old.closed;
    await watcher.publishAcked('late/marker', 'marker');
    expect(await watcher.payloads(1)).toEqual(['marker']);
  });

  it('an administrator ends a session with 0x98', async () => {
    const client = await rig.connect({ clientId: 'c' });
    rig.sessions.revoke('c', 'administrative');
    expect(await client.expect('disconnect')).toMatchObject({ reasonCode: 0x98 });
    await client.closed;
  });

  it('a revocation that overtakes the grant is not lost', async () => {
    rig.sessions.after = (call) => {
      if (call === 'connect') rig.sessions.revoke('c', 'taken-over');
    };
    const { client, connack } = await RawMqttClient.connect(rig.server.address, { clientId: 'c' });
    expect(connack.reasonCode).toBe(0x88);
    await client.closed;
  });

  it('a client that has gone before its CONNACK has no will and no session', async () => {
    const held = Promise.withResolvers<void>();
    rig.sessions.before = (call) => (call === 'connect' ? held.promise : undefined);
    const client = await rig.open();
    client.sendConnect({ clientId: 'c', will });
    await until(() => rig.server.counters.bytesIn > 0);
    const closed = rig.server.counters;
    await client.destroy();
    await until(() => closed.connections === 0);
    held.resolve();
    await until(() => rig.sessions.ends.length === 1);
    expect(rig.sessions.ends).toMatchObject([{ end: { publishWill: false } }]);
    expect(rig.sessions.sessions.size).toBe(0);
  });

  it('a server that stops tells its clients 0x8B and stores their sessions', async () => {
    const client = await rig.connect({ clientId: 'c', properties: keep });
    const before = client.expect('disconnect');
    await rig.server[Symbol.asyncDispose]();
    expect(await before).toMatchObject({ reasonCode: 0x8b });
    expect(rig.sessions.session('c').isConnected).toBe(false);
  });

  it('[MQTT5-3.1.2-29] no reason string for who does not want problem information', async () => {
    const properties = { requestProblemInformation: false };
    const quiet = await rig.connect({ clientId: 'q', properties });
    const open = await rig.connect({ clientId: 'o' });
    for (const client of [quiet, open]) client.sendConnect({ clientId: 'x' });
    expect((await quiet.expect('disconnect')).properties?.reasonString).toBeUndefined();
    expect((await open.expect('disconnect')).properties?.reasonString).toBeTypeOf('string');
  });
});

describe('keep alive', () => {
  it('[MQTT5-3.1.2-22] ends a silent client after one and a half times, not before', async () => {
    const clock = new VirtualClock();
    await using rig = await MqttRig.start({ clock });
    const client = await rig.connect({ clientId: 'c', keepalive: 10 });
    await clock.advance(14_900);
    await client.untilPong();
    await clock.advance(14_900);
    expect(rig.server.counters.connections).toBe(1);
    await clock.advance(200);
    expect(await client.expect('disconnect')).toMatchObject({ reasonCode: 0x8d });
    await client.closed;
  });

  it('zero keeps a silent client', async () => {
    const clock = new VirtualClock();
    await using rig = await MqttRig.start({ clock });
    const client = await rig.connect({ clientId: 'c', keepalive: 0 });
    await clock.advance(24 * 3_600_000);
    expect(await client.untilPong()).toEqual([]);
  });

  it('[MQTT5-3.2.2-21] a limit of the server is told and holds', async () => {
    const clock = new VirtualClock();
    await using rig = await MqttRig.start({ clock, limits: { keepAliveSecondsMax: 60 } });
    const { client, connack } = await RawMqttClient.connect(rig.server.address, {
      clientId: 'c',
      keepalive: 600,
    });
    expect(connack.properties?.serverKeepAlive).toBe(60);
    await clock.advance(91_000);
    expect(await client.expect('disconnect')).toMatchObject({ reasonCode: 0x8d });
  });

  it('a client that does not send its CONNECT in time is closed', async () => {
    const clock = new VirtualClock();
    await using rig = await MqttRig.start({ clock });
    const client = await rig.open();
    await until(() => rig.server.counters.connections === 1);
    client.write(packet(0x10, 'MQTT', 5, 2, 0, 0, properties(), 'c').subarray(0, 9));
    await clock.advance(10_100);
    await client.closed;
  });

  it('a client is not silent while the server does not read it', async () => {
    const clock = new VirtualClock();
    await using rig = await MqttRig.start({ clock });
    const client = await rig.connect({ clientId: 'c', keepalive: 10, properties: keep });
    const held = Promise.withResolvers<void>();
    const asked = Promise.withResolvers<void>();
    rig.sessions.before = () => {
      asked.resolve();
      return held.promise;
    };
    client.send({
      cmd: 'subscribe',
      messageId: 1,
      subscriptions: [{ topic: 'a', qos: 1, nl: false, rap: false, rh: 0 }],
    });
    await asked.promise;
    await clock.advance(100_000);
    held.resolve();
    await client.expect('suback');
    await clock.advance(14_000);
    expect(await client.untilPong()).toEqual([]);
  });
});
