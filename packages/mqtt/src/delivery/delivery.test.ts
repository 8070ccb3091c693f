import { OperatingError } from '@robustmq/core';
import { type RawMqttClient, recordOf, settled } from '@robustmq/testkit';
import type { IPublishPacket } from 'mqtt-packet';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import { packet, properties } from '../codec/test-packets.ts';
import { MqttRig } from '../server/mqtt-rig.fixture.ts';
import { until } from '../server/until.fixture.ts';

const keep = { sessionExpiryInterval: 1000 };

describe('delivery', () => {
  let rig: MqttRig;
  let publisher: RawMqttClient;
  beforeEach(async () => {
    rig = await MqttRig.start();
    publisher = await rig.connect({ clientId: 'publisher' });
  });
  afterEach(() => rig[Symbol.asyncDispose]());

  it.each([3, 4, 5] as const)(
    '[MQTT5-3.8.4-8, MQTT-3.8.4-6] at the lower QoS of publish and subscription, version %i',
    async (version) => {
      for (const granted of [0, 1, 2] as const) {
        const client = await rig.connect({ version, clientId: `c${granted}` });
        await client.subscribe('t', { qos: granted });
        for (const qos of [0, 1, 2] as const) publisher.publish('t', `${qos}`, { qos });
        for (const qos of [0, 1, 2] as const) {
          const got = await client.expect('publish');
          expect(got).toMatchObject({ qos: Math.min(qos, granted), dup: false, retain: false });
          expect(String(got.payload)).toBe(`${qos}`);
        }
        await client.destroy();
      }
    },
  );

  it('[MQTT5-4.6.0-5, -6, MQTT-4.6.0-5, -6] in the order of a topic, whoever publishes', async () => {
    const clients = await Promise.all([0, 1, 2].map((at) => rig.connect({ clientId: `c${at}` })));
    for (const [qos, client] of clients.entries()) {
      await client.subscribe('t/#', { qos: qos as 0 | 1 | 2 });
    }
    for (let at = 0; at < 200; at++) publisher.publish(`t/${at % 5}`, `${at}`, { qos: 2 });
    for (const client of clients) {
      const last = new Map<string, number>();
      for (let at = 0; at < 200; at++) {
        const { topic, payload } = await client.pick('publish');
        expect(Number(payload)).toBe((last.get(topic) ?? Number(topic.slice(2)) - 5) + 5);
        last.set(topic, Number(payload));
      }
    }
  });

  it('[MQTT5-3.3.4-2..-4] overlapping subscriptions: one copy, highest QoS, all ids', async () => {
    const client = await rig.connect({ clientId: 'c' });
    await client.subscribe('a/#', { qos: 1, id: 300 });
    await client.subscribe('a/b', { qos: 2, id: 7 });
    await client.subscribe('+/b', { qos: 0 });
    await client.subscribe('+/c', { qos: 0, id: 9 });
    publisher.publish('a/b', 'overlap', { qos: 2 });
    const got = await client.expect('publish');
    expect(got.qos).toBe(2);
    const ids = got.properties?.subscriptionIdentifier as unknown as number[];
    expect(ids.toSorted((a, b) => a - b)).toEqual([7, 300]);
    publisher.publish('x/c', 'one', { qos: 1 });
    expect((await client.expect('publish')).properties?.subscriptionIdentifier).toBe(9);
    expect(await client.untilPong()).toEqual([]);
  });

  it('[MQTT5-3.8.3-3] No Local by client id, also of another connection', async () => {
    const other = await rig.startServer();
    const client = await rig.connect({ clientId: 'c', properties: keep });
    await client.subscribe('n/#', { qos: 1, nl: true });
    await client.subscribe('n/own', { qos: 0 });
    await client.publishAcked('n/x', 'not to itself');
    await client.publishAcked('n/own', 'by the other subscription');
    await publisher.publishAcked('n/x', 'from others');
    const got = await Promise.all([client.expect('publish'), client.expect('publish')]);
    expect(got.map(({ payload, qos }) => `${qos} ${String(payload)}`).toSorted()).toEqual([
      '0 by the other subscription',
      '1 from others',
    ]);
    await client.publishAcked('n/x', 'before the move');
    await client.disconnect();
    const moved = await rig.connect({ clientId: 'c', clean: false, properties: keep }, other);
    await moved.publishAcked('n/x', 'after the move');
    await publisher.publishAcked('n/x', 'marker');
    expect(await moved.payloads(1)).toEqual(['marker']);
  });

  it('[MQTT5-3.3.2-4, -15..-20] properties arrive unaltered, user properties in order', async () => {
    const client = await rig.connect({ clientId: 'c' });
    const old = await rig.connect({ version: 4, clientId: 'o' });
    for (const one of [client, old]) await one.subscribe('p', { qos: 1 });
    const sent = properties(
      [0x01, 1],
      [0x03, 'text/plain'],
      [0x08, 'answers/ü'],
      [0x09, 'corr'],
      [0x26, 'b', '1'],
      [0x26, 'a', 'ü'],
      [0x26, 'b', ''],
      [0x26, '', 'x'],
    );
    publisher.write(packet(0x32, 'p', 0, 1, sent, Buffer.from('payload')));
    await client.expect('publish');
    const bytes = Buffer.concat(client.chunks);
    expect(bytes.includes(sent)).toBe(true);
    expect(await old.expect('publish')).toMatchObject({ payload: Buffer.from('payload') });
  });

  it('[MQTT5-3.3.2-5, -6] what has expired is not delivered, the rest of the time is told', async () => {
    const client = await rig.connect({ clientId: 'c', properties: keep });
    await client.subscribe('e', { qos: 1 });
    await client.disconnect();
    const messageExpiryInterval = 1;
    await publisher.publishAcked('e', 'expires', { properties: { messageExpiryInterval } });
    await publisher.publishAcked('e', 'stays', { properties: { messageExpiryInterval: 1000 } });
    // The log's times are the machine's.
    const from = performance.now();
    await until(() => performance.now() - from > 1_050);
    const again = await rig.connect({ clientId: 'c', clean: false, properties: keep });
    const got = await again.expect('publish');
    expect(String(got.payload)).toBe('stays');
    expect(got.properties?.messageExpiryInterval).toBeLessThan(1000);
    expect(got.properties?.messageExpiryInterval).toBeGreaterThan(900);
    expect(rig.server.counters.droppedExpired).toBe(1);
  });

  it('[MQTT5-3.3.4-9, -4.9.0-1, -2] no more than Receive Maximum is under way, the rest follows', async () => {
    const client = await rig.connect({ clientId: 'c', properties: { receiveMaximum: 3 } });
    client.answers = 'none';
    await client.subscribe('w', { qos: 2 });
    for (let at = 0; at < 20; at++) {
      publisher.publish('w', `${at}`, { qos: at % 2 === 0 ? 1 : 2 });
      if (at % 4 === 3) publisher.publish('w', `zero after ${at}`);
    }
    await until(() => rig.server.counters.publishesIn[0] === 5);
    const got: string[] = [];
    let most = 0;
    while (got.length < 25) {
      const first = await client.expect('publish');
      const more = await client.untilPong();
      const publishes = [first, ...more].filter((one) => one.cmd === 'publish');
      got.push(...publishes.map(({ payload }) => String(payload)));
      const under = publishes.filter(({ qos }) => qos > 0);
      most = Math.max(most, under.length);
      for (const { qos, messageId = 0 } of under) {
        client.send({ cmd: qos === 1 ? 'puback' : 'pubrec', messageId });
        if (qos === 2) await client.pick('pubrel', messageId);
        if (qos === 2) client.send({ cmd: 'pubcomp', messageId });
      }
    }
    expect(most).toBe(3);
    expect(got.filter((one) => !one.startsWith('zero'))).toEqual(
      Array.from({ length: 20 }, (_, at) => `${at}`),
    );
    expect(got.filter((one) => one.startsWith('zero'))).toHaveLength(5);
  });

  it('[MQTT5-4.4.0-2] a refused PUBLISH is done with', async () => {
    const client = await rig.connect({ clientId: 'c', properties: { receiveMaximum: 1 } });
    client.answers = 'none';
    await client.subscribe('w', { qos: 2 });
    for (const qos of [1, 2, 1] as const) publisher.publish('w', `${qos}`, { qos });
    for (const cmd of ['puback', 'pubrec', 'puback'] as const) {
      const { messageId = 0 } = await client.expect('publish');
      client.send({ cmd, messageId, reasonCode: 0x97 });
    }
    expect(await client.untilPong()).toEqual([]);
  });

  it('[MQTT5-3.1.2-24, -25] a packet too large for the client counts as sent', async () => {
    const maximumPacketSize = 100;
    const client = await rig.connect({
      clientId: 'c',
      properties: { maximumPacketSize, receiveMaximum: 1 },
    });
    const other = await rig.connect({ clientId: 'o' });
    for (const qos of [0, 1, 2] as const) {
      await client.subscribe('big', { qos, id: 5 });
      await other.subscribe('big', { qos });
      // 2 header, 5 topic, 2 packet id, 1 + 2 properties.
      const fitting = 'x'.repeat(maximumPacketSize - 10 - (qos > 0 ? 2 : 0));
      await publisher.publishAcked('big', `${fitting}y`);
      publisher.publish('big', fitting, { qos: 2 });
      expect(await client.payloads(1)).toEqual([fitting]);
      expect(await other.payloads(2)).toEqual([`${fitting}y`, fitting]);
    }
    expect(rig.server.counters.droppedTooLarge).toBe(3);
  });

  it('[MQTT5-4.7.2-1] records of other protocols whose keys begin with $ are not delivered', async () => {
    const client = await rig.connect({ clientId: 'c' });
    await client.subscribe('#', { qos: 1 });
    await client.subscribe('$SYS/#', { qos: 1 });
    const appender = rig.journal.client.appender(rig.shardOf('$SYS/x'));
    const append = (key: string): Promise<unknown> =>
      settled(appender.append({ ...recordOf(key), key: Buffer.from(key) }, 'quorum'));
    await append('$SYS/x');
    await append('a+b');
    await append('plain');
    expect(await client.expect('publish')).toMatchObject({ topic: 'plain', qos: 1 });
    expect(await client.untilPong()).toEqual([]);
  });
});

describe('taking up a session', () => {
  let rig: MqttRig;
  let publisher: RawMqttClient;
  beforeEach(async () => {
    rig = await MqttRig.start({ limits: { progressDelayMs: 1 } });
    publisher = await rig.connect({ clientId: 'publisher' });
  });
  afterEach(() => rig[Symbol.asyncDispose]());

  const connect = async (
    clean: boolean,
    receiveMaximum?: number,
    server = rig.server,
  ): Promise<RawMqttClient> => {
    const own = { ...keep, ...(receiveMaximum !== undefined && { receiveMaximum }) };
    // What comes with the CONNACK is not to be answered either.
    const client = await rig.open(5, server);
    client.answers = 'none';
    client.sendConnect({ clientId: 'c', clean, properties: own });
    await client.expect('connack');
    return client;
  };
  const gone = (): Promise<void> => until(() => !rig.sessions.session('c').isConnected);

  it('[MQTT5-4.4.0-1] sends again what was not finished: ids, order, DUP, PUBREL', async () => {
    const first = await connect(true);
    await first.subscribe('t', { qos: 2 });
    for (let at = 0; at < 6; at++) publisher.publish('t', `${at}`, { qos: at % 2 === 0 ? 1 : 2 });
    const sent: IPublishPacket[] = [];
    while (sent.length < 6) sent.push(await first.pick('publish'));
    const bySent = sent.toSorted((a, b) => Number(a.payload) - Number(b.payload));
    const ids = bySent.map(({ messageId }) => messageId ?? 0);
    first.send({ cmd: 'puback', messageId: ids[2] ?? 0 });
    first.send({ cmd: 'pubrec', messageId: ids[3] ?? 0 });
    await first.expect('pubrel');
    await first.destroy();
    await gone();
    await publisher.publishAcked('t', 'while away');
    const second = await connect(false);
    const again: string[] = [];
    while (again.length < 5) {
      const one = await second.receive();
      if (one.cmd === 'pubrel') again.push(`pubrel ${one.messageId}`);
      if (one.cmd !== 'publish') continue;
      again.push(`${String(one.payload)} ${one.messageId} ${one.dup}`);
    }
    expect(again).toEqual([
      `0 ${ids[0]} true`,
      `1 ${ids[1]} true`,
      `pubrel ${ids[3]}`,
      `4 ${ids[4]} true`,
      `5 ${ids[5]} true`,
    ]);
    const next = await second.expect('publish');
    expect(next).toMatchObject({ dup: false, qos: 1 });
    expect(ids).not.toContain(next.messageId);
  });

  it('[MQTT5-3.3.4-9] sends again no more than the new Receive Maximum at a time', async () => {
    const first = await connect(true);
    await first.subscribe('t', { qos: 1 });
    const count = 100;
    for (let at = 0; at < count; at++) publisher.publish('t', `${at}`, { qos: 1 });
    for (let at = 0; at < count; at++) await first.expect('publish');
    await first.destroy();
    await gone();
    publisher.publish('t', 'last', { qos: 1 });
    const second = await connect(false, 5);
    const got: string[] = [];
    while (got.length <= count) {
      const ids: number[] = [];
      for (let at = 0; at < 5 && got.length <= count; at++) {
        const one = await second.expect('publish');
        got.push(String(one.payload));
        ids.push(one.messageId ?? 0);
      }
      expect(await second.untilPong()).toEqual([]);
      for (const messageId of ids) second.send({ cmd: 'puback', messageId });
    }
    expect(got).toEqual([...Array.from({ length: count }, (_, at) => `${at}`), 'last']);
  });

  it('what a broker that was killed had sent is sent again by another one', async () => {
    const other = await rig.startServer();
    const first = await connect(true);
    await first.subscribe('t', { qos: 1 });
    await publisher.publishAcked('t', '1');
    await first.expect('publish');
    await until(() => rig.sessions.session('c').window.length === 1);
    // It never tells its end: the other broker takes the session over.
    rig.sessions.before = (call) => {
      if (call === 'disconnect') throw new Error('killed');
    };
    const second = await connect(false, 10, other);
    expect(await second.expect('publish')).toMatchObject({ dup: true, payload: Buffer.from('1') });
  });

  it.each([
    ['cannot be had', () => Promise.reject(new OperatingError('UNAVAILABLE', 'journal away'))],
    ['are asked for', () => new Promise<void>(() => {})],
  ])('what is unfinished outlives a connection that ends while offsets %s', async (_, ask) => {
    const first = await connect(true);
    await first.subscribe('t', { qos: 2 });
    for (let at = 0; at < 4; at++) publisher.publish('t', `${at}`, { qos: at % 2 === 0 ? 1 : 2 });
    for (let at = 0; at < 4; at++) await first.pick('publish');
    await first.destroy();
    await gone();
    rig.beforeEnd = ask;
    const second = await connect(false);
    await second.destroy();
    await gone();
    rig.beforeEnd = () => {};
    const third = await connect(false);
    expect((await third.payloads(4)).toSorted()).toEqual(['0', '1', '2', '3']);
  });

  it('QoS 0 messages of the time in between are passed over', async () => {
    const first = await connect(true);
    await first.subscribe('t', { qos: 1 });
    await first.destroy();
    await gone();
    publisher.publish('t', 'zero');
    await publisher.publishAcked('t', 'one');
    const second = await connect(false);
    expect(await second.payloads(1)).toEqual(['one']);
    publisher.publish('t', 'zero again');
    expect(await second.payloads(1)).toEqual(['zero again']);
  });

  it('a subscription whose start is known only from another one loses nothing', async () => {
    // A crash before any progress was stored: positions have to come from the start offsets.
    const first = await connect(true);
    await first.subscribe('t/1', { qos: 1 });
    await publisher.publishAcked('t/1', 'a');
    await first.subscribe('+/1', { qos: 1 });
    await first.destroy();
    await gone();
    rig.sessions.session('c').positions.clear();
    rig.sessions.session('c').window = [];
    const second = await connect(false);
    expect(await second.payloads(1)).toEqual(['a']);
  });

  it('a message that retention took is finished without it', async () => {
    const first = await connect(true);
    await first.subscribe('t', { qos: 1 });
    for (let at = 0; at < 4; at++) publisher.publish('t', `${at}`, { qos: 1 });
    for (let at = 0; at < 4; at++) await first.expect('publish');
    await first.destroy();
    await gone();
    rig.journal.fake.require(rig.shardOf('t')).trim(3);
    rig.journal.fake.shardChanged(rig.journal.fake.require(rig.shardOf('t')));
    const second = await connect(false, 1);
    expect(await second.payloads(1)).toEqual(['3']);
    await until(() => rig.sessions.session('c').window.length === 1);
  });
});

describe('QoS 2 to a durable session', () => {
  it('[MQTT5-4.3.3-2] PUBLISH and PUBREL leave after their state is stored, in order', async () => {
    await using rig = await MqttRig.start();
    const publisher = await rig.connect({ clientId: 'p' });
    const client = await rig.connect({ clientId: 'c', properties: keep });
    client.answers = 'none';
    await client.subscribe('t', { qos: 2 });
    const held = Promise.withResolvers<void>();
    rig.sessions.before = (call) => (call === 'progress' ? held.promise : undefined);
    for (let at = 0; at < 3; at++) {
      publisher.publish('t', `${at}`, { qos: 2 });
      await publisher.expect('pubrec');
    }
    expect(await client.untilPong()).toEqual([]);
    held.resolve();
    const ids: number[] = [];
    for (let at = 0; at < 3; at++) {
      const { payload, messageId = 0 } = await client.expect('publish');
      expect(String(payload)).toBe(`${at}`);
      expect(rig.sessions.session('c').window.map((entry) => entry.packetId)).toContain(messageId);
      ids.push(messageId);
    }
    for (const messageId of ids) {
      client.send({ cmd: 'pubrec', messageId });
      await client.pick('pubrel', messageId);
      const entry = rig.sessions.session('c').window.find((one) => one.packetId === messageId);
      expect(entry?.state).toBe('released');
    }
    for (const messageId of ids) client.send({ cmd: 'pubcomp', messageId });
    await client.untilPong();
    await client.disconnect();
    expect(rig.sessions.session('c').window).toEqual([]);
  });

  it('keeps its order when storing fails now and then', async () => {
    await using rig = await MqttRig.start({ limits: { progressDelayMs: 1 } });
    const publisher = await rig.connect({ clientId: 'p' });
    const client = await rig.connect({ clientId: 'c', properties: keep });
    await client.subscribe('t', { qos: 2 });
    let calls = 0;
    rig.sessions.before = (call) => {
      if (call === 'progress' && calls++ % 3 !== 0) {
        throw new OperatingError('UNAVAILABLE', 'no coordinator');
      }
    };
    const count = 200;
    for (let at = 0; at < count; at++) {
      publisher.publish('t', `${at}`, { qos: 2 });
      if (at % 10 === 0) await new Promise((resolve) => setImmediate(resolve));
    }
    expect(await client.payloads(count)).toEqual(Array.from({ length: count }, (_, at) => `${at}`));
    expect(calls).toBeGreaterThan(3);
  });
});
