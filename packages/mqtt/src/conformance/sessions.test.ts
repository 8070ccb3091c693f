import { RawMqttClient, VirtualClock } from '@robustmq/testkit';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import { MqttRig } from '../server/mqtt-rig.fixture.ts';
import { until } from '../server/until.fixture.ts';

const keep = { sessionExpiryInterval: 1000 };
let rig: MqttRig;
beforeAll(async () => {
  rig = await MqttRig.start();
});
afterAll(() => rig[Symbol.asyncDispose]());

describe('sessions', () => {
  it.each([
    { kept: true, clean: false, present: true },
    { kept: true, clean: true, present: false },
    { kept: false, clean: false, present: false },
    { kept: false, clean: true, present: false },
  ])(
    '[MQTT5-3.1.4-4, -3.2.2-2, -3.2.2-3, MQTT-3.1.2-4, -3.1.2-6, -3.1.4-3, -3.2.2-1..-3] kept $kept, clean $clean: present $present',
    async ({ kept, clean, present }) => {
      for (const version of [4, 5] as const) {
        const clientId = `matrix-${version}-${kept}-${clean}`;
        const first = await rig.connect({
          version,
          clientId,
          clean: !kept,
          ...(version === 5 && kept && { properties: keep }),
        });
        await first.subscribe(`matrix/${clientId}`, { qos: 1 });
        await first.disconnect();
        const fields = { version, clientId, clean };
        const { client, connack } = await RawMqttClient.connect(rig.server.address, fields);
        expect(connack.sessionPresent).toBe(present);
        // The subscription is there, or it is not.
        await client.publishAcked(`matrix/${clientId}`, 'x');
        const got = await client.untilPong();
        if (present && got.length === 0) await client.payloads(1);
        if (!present) expect(got).toEqual([]);
        await client.destroy();
      }
    },
  );

  it.each([4, 5] as const)(
    '[MQTT5-4.5.0-1, -3.1.2-23, MQTT-3.1.2-5, -4.1.0-1, -4.5.0-1] what matches while a client is away is kept for it, version %i',
    async (version) => {
      const own = { version, clientId: `away-${version}`, clean: false };
      const fields = version === 5 ? { ...own, properties: keep } : own;
      const first = await rig.connect(fields);
      await first.subscribe(`away/${version}/+`, { qos: 2 });
      await first.disconnect();
      const publisher = await rig.connect({ clientId: 'away-publisher' });
      await publisher.publishAcked(`away/${version}/1`, 'one');
      const messageId = publisher.publish(`away/${version}/1`, 'two', { qos: 2 }) ?? 0;
      await publisher.pick('pubrec', messageId);
      publisher.send({ cmd: 'pubrel', messageId });
      await publisher.pick('pubcomp', messageId);
      const second = await rig.connect(fields);
      expect(await second.payloads(2)).toEqual(['one', 'two']);
      await second.disconnect();
    },
  );

  it('[MQTT5-4.1.0-1, MQTT-4.1.0-2] a session lasts as long as its connection, whatever its expiry', async () => {
    const clock = new VirtualClock();
    await using own = await MqttRig.start({ clock });
    const short = await own.connect({ clientId: 's', properties: { sessionExpiryInterval: 1 } });
    const none = await own.connect({ version: 4, clientId: 'n' });
    for (const client of [short, none]) await client.subscribe('lasting', { qos: 1 });
    await clock.advance(24 * 3_600_000);
    await short.publishAcked('lasting', 'a day later');
    for (const client of [short, none]) expect(await client.payloads(1)).toEqual(['a day later']);
  });

  it('[MQTT-3.1.2-7] retained messages outlive the session of who published them', async () => {
    const publisher = await rig.connect({ version: 4, clientId: 'ending' });
    await publisher.publishAcked('outlives', 'kept', { retain: true });
    await publisher.disconnect();
    await until(() => !rig.sessions.sessions.has('ending'));
    const late = await rig.connect({ version: 4, clientId: 'late' });
    await late.subscribe('outlives', { qos: 1 });
    expect(await late.payloads(1)).toEqual(['kept']);
  });

  it.each([4, 5] as const)(
    '[MQTT5-3.1.4-3, MQTT-3.1.4-2] a second connection of an id ends the first, version %i',
    async (version) => {
      const first = await rig.connect({ version, clientId: `taken-${version}` });
      const second = await rig.connect({ version, clientId: `taken-${version}` });
      await first.closed;
      const told = await first.receive().catch(() => undefined);
      if (version === 5) expect(told).toMatchObject({ cmd: 'disconnect', reasonCode: 0x8e });
      else expect(told).toBeUndefined();
      expect(await second.untilPong()).toEqual([]);
    },
  );
});

describe('keep alive', () => {
  it.each([3, 4, 5] as const)(
    '[MQTT5-3.1.2-22, -3.2.2-22, MQTT-3.1.2-24] of the client ends it after one and a half times, and its will is due, version %i',
    async (version) => {
      const clock = new VirtualClock();
      await using own = await MqttRig.start({ clock, limits: { keepAliveSecondsMax: 60 } });
      const { client, connack } = await RawMqttClient.connect(own.server.address, {
        version,
        clientId: 'silent',
        keepalive: 20,
        will: { topic: 'w', payload: Buffer.from('gone'), qos: 1, retain: false },
      });
      expect(connack.properties ?? {}).not.toHaveProperty('serverKeepAlive');
      await clock.advance(29_900);
      expect(own.server.counters.connections).toBe(1);
      await clock.advance(200);
      await client.closed;
      await until(() => own.sessions.wills.length === 1);
    },
  );

  it('[MQTT5-3.1.2-21, -3.2.2-21] of the server is told, and used for who asks for more or for none', async () => {
    const clock = new VirtualClock();
    await using own = await MqttRig.start({ clock, limits: { keepAliveSecondsMax: 60 } });
    for (const keepalive of [61, 0]) {
      const fields = { clientId: `capped-${keepalive}`, keepalive };
      const { client, connack } = await RawMqttClient.connect(own.server.address, fields);
      expect(connack.properties?.serverKeepAlive).toBe(60);
      await clock.advance(90_100);
      expect(await client.expect('disconnect')).toMatchObject({ reasonCode: 0x8d });
    }
  });
});
