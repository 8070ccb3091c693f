import { type RawMqttClient, VirtualClock } from '@robustmq/testkit';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import { packet } from '../codec/test-packets.ts';
import { MqttRig } from '../server/mqtt-rig.fixture.ts';
import { until } from '../server/until.fixture.ts';

let rig: MqttRig;
let publisher: RawMqttClient;
beforeAll(async () => {
  rig = await MqttRig.start({ limits: { progressDelayMs: 1 } });
  publisher = await rig.connect({ clientId: 'publisher' });
});
afterAll(() => rig[Symbol.asyncDispose]());

const versions = [4, 5] as const;
type Version = (typeof versions)[number];

/** Connects with a session that outlives its connection, which answers nothing by itself. */
async function durable(
  version: Version,
  clientId: string,
  clean = false,
  server = rig.server,
): Promise<RawMqttClient> {
  const client = await rig.open(version, server);
  client.answers = 'none';
  client.sendConnect({
    clientId,
    clean: version === 5 && clean,
    ...(version === 5 && { properties: { sessionExpiryInterval: 1000 } }),
  });
  await client.expect('connack');
  return client;
}

/** Loses the connection; resolves when its session is let go. */
async function lose(client: RawMqttClient, clientId: string): Promise<void> {
  await client.destroy();
  await until(() => !rig.sessions.session(clientId).isConnected);
}

describe('what the server sends', () => {
  it.each(versions)(
    '[MQTT5-2.2.1-4, -4.3.2-1, -4.3.2-2, -4.3.3-1, -4.3.3-2, MQTT-2.3.1-4, -4.3.2-1] has an id that is not in use and no DUP, version %i',
    async (version) => {
      const client = await rig.connect({ version, clientId: 'ids' });
      client.answers = 'none';
      await client.subscribe('ids', { qos: 2 });
      const inUse = new Set<number>();
      for (let at = 0; at < 40; at++) {
        const qos = at % 2 === 0 ? 1 : 2;
        publisher.publish('ids', `${at}`, { qos });
        const { messageId = 0, dup } = await client.expect('publish');
        expect(messageId).toBeGreaterThan(0);
        expect(inUse.has(messageId)).toBe(false);
        expect(dup).toBe(false);
        inUse.add(messageId);
        if (qos !== 1) continue;
        client.send({ cmd: 'puback', messageId });
        inUse.delete(messageId);
      }
    },
  );

  it.each(versions)(
    '[MQTT5-2.2.1-5, -4.3.3-4, MQTT-2.3.1-6, -4.3.3-1] is released with the id of its PUBLISH, version %i',
    async (version) => {
      const client = await rig.connect({ version, clientId: 'released' });
      client.answers = 'none';
      await client.subscribe('released', { qos: 2 });
      for (const payload of ['1', '2', '3']) publisher.publish('released', payload, { qos: 2 });
      const ids: number[] = [];
      while (ids.length < 3) ids.push((await client.expect('publish')).messageId ?? 0);
      for (const messageId of ids.toReversed()) {
        client.send({ cmd: 'pubrec', messageId });
        expect(await client.expect('pubrel')).toMatchObject({ messageId });
        client.send({ cmd: 'pubcomp', messageId });
      }
    },
  );

  it('[MQTT5-4.3.3-4, -4.4.0-2] is not released by a PUBREC that refuses it, or refuses what is not known', async () => {
    const client = await rig.connect({ clientId: 'refusing' });
    client.answers = 'none';
    await client.subscribe('refused', { qos: 2 });
    publisher.publish('refused', 'x', { qos: 2 });
    const { messageId = 0 } = await client.expect('publish');
    client.send({ cmd: 'pubrec', messageId, reasonCode: 0x97 });
    client.send({ cmd: 'pubrec', messageId, reasonCode: 0x97 });
    expect(await client.untilPong()).toEqual([]);
  });

  it.each(versions)(
    '[MQTT5-3.3.1-1, -4.3.2-3, -4.3.3-3, -4.3.3-5, -4.3.3-6, -4.4.0-1, MQTT-3.3.1-1, -4.3.2-1, -4.3.3-1, -4.4.0-1, -4.6.0-6] comes again until it is acknowledged, with DUP and its id, in its order, version %i',
    async (version) => {
      const clientId = `again-${version}`;
      let client = await durable(version, clientId);
      await client.subscribe('again', { qos: 2 });
      for (let at = 0; at < 4; at++) publisher.publish('again', `${at}`, { qos: at < 2 ? 1 : 2 });
      const ids: number[] = [];
      while (ids.length < 4) ids.push((await client.pick('publish')).messageId ?? 0);
      const [acked = 0, unacked = 0, released = 0, sent = 0] = ids;
      client.send({ cmd: 'puback', messageId: acked });
      client.send({ cmd: 'pubrec', messageId: released });
      await client.pick('pubrel', released);
      // More than once: nothing but PUBACK and PUBCOMP ends it.
      for (let round = 0; round < 2; round++) {
        await lose(client, clientId);
        client = await durable(version, clientId);
        const got: unknown[] = [];
        while (got.length < 3) {
          const { cmd, messageId, ...rest } = await client.receive();
          got.push([cmd, messageId, 'dup' in rest && cmd === 'publish' ? rest.dup : true]);
        }
        expect(got).toEqual([
          ['publish', unacked, true],
          ['pubrel', released, true],
          ['publish', sent, true],
        ]);
      }
      client.send({ cmd: 'puback', messageId: unacked });
      client.send({ cmd: 'pubcomp', messageId: released });
      client.send({ cmd: 'pubrec', messageId: sent });
      await client.pick('pubrel', sent);
      client.send({ cmd: 'pubcomp', messageId: sent });
      expect(await client.untilPong()).toEqual([]);
      await lose(client, clientId);
      client = await durable(version, clientId);
      expect(await client.untilPong()).toEqual([]);
    },
  );

  it.each(versions)(
    '[MQTT5-4.4.0-1, MQTT-3.3.1-8, -3.3.1-9] is sent again with the retain flag that it had, version %i',
    async (version) => {
      const clientId = `flag-${version}`;
      await publisher.publishAcked('flag', 'kept', { retain: true });
      const first = await durable(version, clientId);
      await first.subscribe('flag', { qos: 1 });
      expect(await first.pick('publish')).toMatchObject({ retain: true, dup: false });
      await publisher.publishAcked('flag', 'live', { retain: true });
      expect(await first.pick('publish')).toMatchObject({ retain: false, dup: false });
      await lose(first, clientId);
      const second = await durable(version, clientId);
      const again = [await second.expect('publish'), await second.expect('publish')];
      expect(again.map(({ payload, retain, dup }) => [String(payload), retain, dup])).toEqual([
        ['kept', true, true],
        ['live', false, true],
      ]);
    },
  );

  it('[MQTT5-4.4.0-1] is sent again after a reconnect, and at no other time', async () => {
    const clock = new VirtualClock();
    await using own = await MqttRig.start({ clock });
    const client = await own.connect({ clientId: 'patient' });
    client.answers = 'none';
    await client.subscribe('patient', { qos: 2 });
    await client.publishAcked('patient', 'x');
    await client.expect('publish');
    await clock.advance(3_600_000);
    expect(await client.untilPong()).toEqual([]);
  });

  it.each([1, 2] as const)(
    '[MQTT5-4.3.3-7, -4.3.3-13] does not expire once it was sent at QoS %i, and its exchange goes on',
    async (qos) => {
      const clock = new VirtualClock(Date.now());
      await using own = await MqttRig.start({ clock, limits: { progressDelayMs: 1 } });
      const connect = async (): Promise<RawMqttClient> => {
        const client = await own.open(5);
        client.answers = 'none';
        const kept = { sessionExpiryInterval: 0xffffffff };
        client.sendConnect({ clientId: 'expiring', clean: false, properties: kept });
        await client.expect('connack');
        return client;
      };
      const first = await connect();
      await first.subscribe('expiring', { qos });
      const sender = await own.connect({ clientId: 'sender' });
      const expiry = { messageExpiryInterval: 5 };
      sender.publish('expiring', 'sent', { qos: 2, properties: expiry });
      const { messageId = 0 } = await first.expect('publish');
      await first.destroy();
      await until(() => !own.sessions.session('expiring').isConnected);
      await sender.publishAcked('expiring', 'not sent', { properties: expiry });
      clock.jumpWall(60_000);
      const second = await connect();
      const again = await second.expect('publish');
      expect(again).toMatchObject({ messageId, dup: true, payload: Buffer.from('sent') });
      // It says that it lives on, not that it has ended.
      expect(again.properties?.messageExpiryInterval).toBe(1);
      if (qos === 2) {
        second.send({ cmd: 'pubrec', messageId });
        await second.expect('pubrel');
        second.send({ cmd: 'pubcomp', messageId });
      } else {
        second.send({ cmd: 'puback', messageId });
      }
      expect(await second.untilPong()).toEqual([]);
    },
  );
});

describe('what the server receives', () => {
  it.each(versions)(
    '[MQTT5-2.2.1-5, -4.3.2-4, -4.3.3-8, -4.3.3-11, MQTT-2.3.1-6, -4.3.2-2, -4.3.3-2] is answered with its id, version %i',
    async (version) => {
      const client = await rig.connect({ version, clientId: 'answered' });
      for (const messageId of [1, 77, 0xffff]) {
        client.publish('answered', 'x', { qos: 1, messageId });
        expect(await client.expect('puback')).toMatchObject({ messageId });
        client.publish('answered', 'x', { qos: 2, messageId });
        expect(await client.expect('pubrec')).toMatchObject({ messageId });
        client.send({ cmd: 'pubrel', messageId });
        expect(await client.expect('pubcomp')).toMatchObject({ messageId });
      }
    },
  );

  it.each(versions)(
    '[MQTT5-4.3.2-5, -4.3.3-10, -4.3.3-12, MQTT-4.3.2-2, -4.3.3-2] is the same message until it is acknowledged, and a new one after, version %i',
    async (version) => {
      const reader = await rig.connect({ clientId: `same-reader-${version}` });
      await reader.subscribe(`same/${version}`, { qos: 2 });
      for (const clean of [true, false]) {
        const clientId = `same-${version}-${clean}`;
        const client = clean
          ? await rig.connect({ version, clientId })
          : await durable(version, clientId);
        const publish = (payload: string, qos: 1 | 2, dup: boolean): void => {
          client.publish(`same/${version}`, payload, { qos, messageId: 5, dup });
        };
        publish('first', 1, false);
        await client.expect('puback');
        publish('second, although DUP', 1, true);
        await client.expect('puback');
        publish('third', 2, false);
        await client.expect('pubrec');
        publish('third', 2, true);
        await client.expect('pubrec');
        client.send({ cmd: 'pubrel', messageId: 5 });
        await client.expect('pubcomp');
        publish('fourth, although DUP', 2, true);
        await client.expect('pubrec');
        client.send({ cmd: 'pubrel', messageId: 5 });
        await client.expect('pubcomp');
        expect(await reader.payloads(4)).toEqual([
          'first',
          'second, although DUP',
          'third',
          'fourth, although DUP',
        ]);
        expect(await reader.untilPong()).toEqual([]);
      }
    },
  );
});

describe('a message that expires before it is released', () => {
  it.each([0, 1000])(
    '[MQTT5-4.3.3-13] has its exchange finished all the same, session expiry %i',
    async (sessionExpiryInterval) => {
      const clock = new VirtualClock(Date.now());
      await using own = await MqttRig.start({ clock });
      const properties = { sessionExpiryInterval };
      const client = await own.connect({ clientId: 'slow', properties });
      const message = { qos: 2, messageId: 3, properties: { messageExpiryInterval: 5 } } as const;
      client.publish('slow', 'x', message);
      await client.expect('pubrec');
      clock.jumpWall(60_000);
      client.publish('slow', 'x', { ...message, dup: true });
      expect(await client.expect('pubrec')).toMatchObject({ messageId: 3, reasonCode: 0 });
      client.send({ cmd: 'pubrel', messageId: 3 });
      expect(await client.expect('pubcomp')).toMatchObject({ messageId: 3, reasonCode: 0 });
    },
  );
});

describe('at the end of the quota', () => {
  it('[MQTT5-3.3.4-10, -4.9.0-3] every packet but PUBLISH is answered as before', async () => {
    const client = await rig.connect({ clientId: 'quota', properties: { receiveMaximum: 1 } });
    client.answers = 'none';
    await client.subscribe('quota', { qos: 2 });
    publisher.publish('quota', 'first', { qos: 2 });
    await publisher.publishAcked('quota', 'waits');
    const { messageId = 0 } = await client.expect('publish');
    expect(await client.untilPong()).toEqual([]);
    expect(await client.subscribe('quota/other')).toBe(0);
    client.send({ cmd: 'unsubscribe', messageId: 90, unsubscriptions: ['quota/other'] });
    await client.expect('unsuback');
    expect(await client.publishAcked('elsewhere', 'x')).toBe(0);
    client.publish('elsewhere', 'x', { qos: 2, messageId: 91 });
    await client.expect('pubrec');
    client.send({ cmd: 'pubrel', messageId: 91 });
    await client.expect('pubcomp');
    client.send({ cmd: 'pubrec', messageId });
    await client.expect('pubrel');
    expect(await client.untilPong()).toEqual([]);
    client.send({ cmd: 'pubcomp', messageId });
    expect(await client.payloads(1)).toEqual(['waits']);
  });
});

describe('the connection', () => {
  it.each(versions)(
    '[MQTT5-3.12.4-1, MQTT-3.12.4-1] answers PINGREQ, version %i',
    async (version) => {
      const client = await rig.connect({ version, clientId: 'ping' });
      for (let at = 0; at < 3; at++) client.send({ cmd: 'pingreq' });
      for (let at = 0; at < 3; at++) expect((await client.receive()).cmd).toBe('pingresp');
    },
  );

  it.each(versions)(
    '[MQTT5-4.2-1, MQTT-4.2.0-1, -7.1.1-1] is an ordered stream of bytes, whatever pieces they come in, version %i',
    async (version) => {
      const client = await rig.open(version);
      const tail = version === 5 ? [0] : [];
      const count = 50;
      const all = Buffer.concat([
        packet(0x10, 'MQTT', version, 2, 0, 0, ...tail, 'pieces'),
        packet(0x82, 0, 1, ...tail, 'pieces', 1),
        ...Array.from({ length: count }, (_, at) =>
          packet(0x32, 'pieces', 0, at + 1, ...tail, Buffer.from(`${at}`)),
        ),
      ]);
      for (let from = 0, size = 1; from < all.length; from += size, size = (size % 7) + 1) {
        client.write(all.subarray(from, from + size));
      }
      const got: string[] = [];
      while (got.length < count) got.push(String((await client.pick('publish')).payload));
      expect(got).toEqual(Array.from({ length: count }, (_, at) => `${at}`));
    },
  );

  it('[MQTT5-3.14.4-1, -3.14.4-2, -3.14.2-2] ends with the server’s DISCONNECT, which says nothing of expiry', async () => {
    const own = { sessionExpiryInterval: 100 };
    const client = await rig.connect({ clientId: 'told', properties: own });
    await client.subscribe('told', { qos: 1 });
    const before = client.chunks.length;
    await rig.connect({ clientId: 'told', clean: false, properties: own });
    await publisher.publishAcked('told', 'for the second connection');
    await client.closed;
    expect(Buffer.concat(client.chunks.slice(before))).toEqual(packet(0xe0, 0x8e, 0));
  });

  it('[MQTT5-3.14.4-1, MQTT-3.14.4-2] nothing behind a DISCONNECT is looked at', async () => {
    const reader = await rig.connect({ clientId: 'behind-reader' });
    await reader.subscribe('behind/#');
    for (const version of versions) {
      const client = await rig.connect({ version, clientId: 'behind' });
      const tail = version === 5 ? [0] : [];
      const late = packet(0x30, 'behind/late', ...tail, Buffer.from('late'));
      client.write(Buffer.concat([packet(0xe0), late]));
      await client.closed;
    }
    await reader.publishAcked('behind/marker', 'marker');
    expect(await reader.payloads(1)).toEqual(['marker']);
  });
});
