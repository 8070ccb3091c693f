import { once } from 'node:events';
import { connect as connectTcp } from 'node:net';

import { portOf } from '@robustmq/core';
import { RawMqttClient, VirtualClock } from '@robustmq/testkit';
import { describe, expect, it } from 'vitest';

import { MqttRig, plainListener } from '../server/mqtt-rig.fixture.ts';
import { until } from '../server/until.fixture.ts';
import type { ListenerLimits } from './listener-options.ts';

interface Refused {
  readonly connack: { readonly reasonCode?: number; readonly returnCode?: number };
}

/** A CONNECT to that listener; what was answered. */
async function tryConnect(rig: MqttRig, version: 3 | 4 | 5 = 5, name = 'mqtt'): Promise<Refused> {
  const { client, connack } = await RawMqttClient.connect(rig.addressOf(name), {
    version,
    clientId: `refused-${version}`,
  });
  await client.closed;
  return { connack };
}

function refusals(rig: MqttRig, name = 'mqtt'): Record<string, number> {
  const listener = rig.server.listeners.find((each) => each.name === name);
  return Object.fromEntries(listener?.refusals.counts ?? []);
}

function startLimited(limits: Partial<ListenerLimits>, clock?: VirtualClock): Promise<MqttRig> {
  return MqttRig.start({ listeners: [{ ...plainListener, limits }], ...(clock && { clock }) });
}

describe('connections above a limit', () => {
  it('of the broker are told so, whatever version they speak, and counted', async () => {
    await using rig = await MqttRig.start({ limits: { connectionsMax: 2 } });
    await rig.connect({ clientId: 'a' });
    const b = await rig.connect({ clientId: 'b' });
    expect((await tryConnect(rig, 5)).connack.reasonCode).toBe(0x97);
    expect((await tryConnect(rig, 4)).connack.returnCode).toBe(3);
    expect((await tryConnect(rig, 3)).connack.returnCode).toBe(3);
    expect(refusals(rig)).toEqual({ connections: 3 });
    expect(rig.server.counters.connections).toBe(2);
    await b.disconnect();
    await until(() => rig.server.counters.connections === 1);
    await rig.connect({ clientId: 'c' });
  });

  it('of a listener leave room at another one, up to what the broker takes', async () => {
    await using rig = await MqttRig.start({
      limits: { connectionsMax: 2 },
      listeners: [
        { ...plainListener, name: 'small', limits: { connectionsMax: 1 } },
        plainListener,
      ],
    });
    await rig.connect({ clientId: 'a' });
    expect((await tryConnect(rig, 5, 'small')).connack.reasonCode).toBe(0x97);
    const { client, connack } = await RawMqttClient.connect(rig.addressOf('mqtt'));
    expect(connack.reasonCode).toBe(0);
    expect((await tryConnect(rig, 5, 'mqtt')).connack.reasonCode).toBe(0x97);
    expect([refusals(rig, 'small'), refusals(rig, 'mqtt')]).toEqual([
      { connections: 1 },
      { connections: 1 },
    ]);
    await client.destroy();
  });

  it('of an address are told so; the place that they had is free for others', async () => {
    const limits = { connectionsPerAddressMax: 1, connectionsMax: 2 };
    await using rig = await startLimited(limits);
    await rig.connect({ clientId: 'a' });
    expect((await tryConnect(rig)).connack.reasonCode).toBe(0x97);
    expect((await tryConnect(rig)).connack.reasonCode).toBe(0x97);
    expect(refusals(rig)).toEqual({ address_connections: 2 });
    const other = connectTcp({
      port: portOf(rig.server.address),
      host: '127.0.0.1',
      localAddress: '127.0.0.2',
    });
    await once(other, 'connect');
    await until(() => rig.server.listeners[0]?.connections === 2);
    other.destroy();
  });

  it('of a second are told so, and taken in the next', async () => {
    const clock = new VirtualClock();
    await using rig = await startLimited({ connectsPerSecondMax: 2 }, clock);
    await rig.connect({ clientId: 'a' });
    await rig.connect({ clientId: 'b' });
    expect((await tryConnect(rig)).connack.reasonCode).toBe(0x9f);
    expect((await tryConnect(rig, 4)).connack.returnCode).toBe(3);
    expect(refusals(rig)).toEqual({ connect_rate: 2 });
    await clock.advance(500);
    await rig.connect({ clientId: 'c' });
  });

  it('are told up to 64 at a time and for 2 s; more are closed at once', async () => {
    const clock = new VirtualClock();
    await using rig = await MqttRig.start({ clock, limits: { connectionsMax: 0 } });
    const silent = await Promise.all(Array.from({ length: 64 }, () => rig.open()));
    await until(() => refusals(rig)['connections'] === 64);
    const late = await rig.open();
    late.sendConnect();
    await late.closed;
    expect(late.chunks).toEqual([]);
    await clock.advance(2_100);
    await Promise.all(silent.map(({ closed }) => closed));
    expect((await tryConnect(rig)).connack.reasonCode).toBe(0x97);
  });

  it('are told nothing when they send something else than a CONNECT', async () => {
    await using rig = await MqttRig.start({ limits: { connectionsMax: 0 } });
    for (const bytes of [
      Buffer.of(0xc0, 0),
      Buffer.of(0x10, 0xff, 0xff, 0xff, 0x7f),
      Buffer.of(0),
    ]) {
      const client = await rig.open();
      client.write(bytes);
      await client.closed;
      expect(client.chunks).toEqual([]);
    }
  });

  it('and that wait to be told do not hold up the end', async () => {
    await using rig = await MqttRig.start({ limits: { connectionsMax: 0 } });
    const silent = await rig.open();
    await until(() => refusals(rig)['connections'] === 1);
    await rig.server[Symbol.asyncDispose]();
    await silent.closed;
  });
});

describe('what a listener allows', () => {
  it('is what its clients are told', async () => {
    await using rig = await startLimited({
      keepAliveSecondsMax: 60,
      receiveMaximum: 7,
      packetBytesMax: 5_000,
      topicAliasMaximum: 3,
      sessionExpirySecondsMax: 3_600,
    });
    const { client, connack } = await RawMqttClient.connect(rig.server.address, {
      clientId: 'c',
      keepalive: 100,
      properties: { sessionExpiryInterval: 10_000 },
    });
    expect(connack.properties).toMatchObject({
      serverKeepAlive: 60,
      receiveMaximum: 7,
      maximumPacketSize: 5_000,
      topicAliasMaximum: 3,
      sessionExpiryInterval: 3_600,
    });
    expect([...rig.server.clients()]).toMatchObject([
      { keepAliveSeconds: 60, sessionExpirySeconds: 3_600 },
    ]);
    client.publish('t', 'x'.repeat(5_000));
    expect(await client.expect('disconnect')).toMatchObject({ reasonCode: 0x95 });
  });

  it('is not what those of another one are told', async () => {
    await using rig = await MqttRig.start({
      limits: { receiveMaximum: 100 },
      listeners: [
        { ...plainListener, name: 'small', limits: { receiveMaximum: 7 } },
        plainListener,
      ],
    });
    for (const [name, receiveMaximum] of [
      ['small', 7],
      ['mqtt', 100],
    ] as const) {
      const { client, connack } = await RawMqttClient.connect(rig.addressOf(name));
      expect(connack.properties).toMatchObject({ receiveMaximum });
      await client.destroy();
    }
  });

  it('bounds a session also when its end asks for more', async () => {
    await using rig = await startLimited({ sessionExpirySecondsMax: 60 });
    const asked = { properties: { sessionExpiryInterval: 30 } };
    const { client, connack } = await RawMqttClient.connect(rig.server.address, {
      clientId: 'c',
      ...asked,
    });
    // What was asked for is granted, so it is not said again.
    expect(connack.properties?.sessionExpiryInterval).toBeUndefined();
    await client.disconnect(0, 1_000);
    await until(() => rig.sessions.ends.length === 1);
    expect(rig.sessions.session('c').expirySeconds).toBe(60);
  });

  it('bounds the session of an MQTT 3 client, which would be for ever', async () => {
    await using rig = await startLimited({ sessionExpirySecondsMax: 60 });
    await rig.connect({ clientId: 'c', version: 4, clean: false });
    expect(rig.sessions.session('c').expirySeconds).toBe(60);
  });
});

it('a port that is taken is said so, and what was open before is closed again', async () => {
  await using rig = await MqttRig.start();
  const listeners = [{ ...plainListener, name: 'second', listen: rig.server.address }];
  await expect(MqttRig.start({ listeners: [plainListener, ...listeners] })).rejects.toThrow(
    'is taken by another program',
  );
});
