import { OperatingError } from '@robustmq/core';
import type { RawMqttClient } from '@robustmq/testkit';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import { packet, properties } from '../codec/test-packets.ts';
import { MqttRig } from '../server/mqtt-rig.fixture.ts';
import { until } from '../server/until.fixture.ts';

const keep = { sessionExpiryInterval: 1000 };

describe('PUBLISH', () => {
  let rig: MqttRig;
  let subscriber: RawMqttClient;
  beforeEach(async () => {
    rig = await MqttRig.start({ limits: { receiveMaximum: 10, packetBytesMax: 4096 } });
    subscriber = await rig.connect({ clientId: 'subscriber' });
    await subscriber.subscribe('#', { qos: 2 });
  });
  afterEach(() => rig[Symbol.asyncDispose]());

  it.each([3, 4, 5] as const)(
    '[MQTT5-3.3.4-1, -4.3.2-4, -4.3.3-8, -4.3.3-11, MQTT-3.3.4-1] every QoS is answered and delivered, version %i',
    async (version) => {
      const client = await rig.connect({ version, clientId: 'c' });
      client.answers = 'none';
      client.publish('t', 'zero');
      client.publish('t', 'one', { qos: 1, messageId: 7 });
      client.publish('t', 'two', { qos: 2, messageId: 8 });
      expect(await client.expect('puback')).toMatchObject({ messageId: 7 });
      expect(await client.expect('pubrec')).toMatchObject({ messageId: 8 });
      client.send({ cmd: 'pubrel', messageId: 8 });
      expect(await client.expect('pubcomp')).toMatchObject({ messageId: 8 });
      expect(await subscriber.payloads(3)).toEqual(['zero', 'one', 'two']);
    },
  );

  it.each([3, 4, 5] as const)(
    'PUBACK and PUBREC leave only after the journal has acknowledged, version %i',
    async (version) => {
      const { fake } = rig.journal;
      const client = await rig.connect({ version, clientId: 'c' });
      client.answers = 'none';
      await client.publishAcked('t', 'opens the segment');
      fake.freeze(fake.require(rig.shardOf('t')).open?.leaderNodeId ?? '');
      const messageIds = [1, 2].map((qos) => client.publish('t', `${qos}`, { qos: qos as 1 | 2 }));
      expect(await client.untilPong()).toEqual([]);
      fake.moveLeader(rig.shardOf('t'));
      expect(await client.expect('puback')).toMatchObject({ messageId: messageIds[0] });
      expect(await client.expect('pubrec')).toMatchObject({ messageId: messageIds[1] });
    },
  );

  describe('of a message to retain when there is no room for more of them', () => {
    const put = { retain: true, messageId: 9 };
    beforeEach(() => rig.retained.full.add(rig.shardOf('t')));

    it.each([1, 2] as const)(
      'is refused to MQTT 5 at QoS %i with 0x97, and counted',
      async (qos) => {
        const client = await rig.connect({ clientId: 'c', properties: keep });
        client.answers = 'none';
        client.publish('t', 'too much', { ...put, qos });
        const answer = await client.expect(qos === 1 ? 'puback' : 'pubrec');
        expect(answer).toMatchObject({ messageId: 9, reasonCode: 0x97 });
        expect(answer.properties?.reasonString).toMatch(/room/);
        // What is not to be retained, or clears, and what goes elsewhere is taken.
        await client.publishAcked('t', 'plain');
        await client.publishAcked('t', '', { retain: true });
        expect(await subscriber.payloads(2)).toEqual(['plain', '']);
        expect(rig.server.counters.retainedRefused).toEqual({ told: 1, deliveredOnly: 0 });
      },
    );

    it('is delivered and not retained where nobody can be told, and counted', async () => {
      const old = await rig.connect({ version: 4, clientId: 'old' });
      await old.publishAcked('t', 'old', { retain: true });
      const client = await rig.connect({ clientId: 'c' });
      client.publish('t', 'zero', { retain: true });
      expect((await subscriber.payloads(2)).toSorted()).toEqual(['old', 'zero']);
      const late = await rig.connect({ clientId: 'late' });
      await late.subscribe('t');
      expect(await late.untilPong()).toEqual([]);
      expect(rig.server.counters.retainedRefused).toEqual({ told: 0, deliveredOnly: 2 });
    });
  });

  it('[MQTT5-4.6.0-2, -3] acknowledgements leave in the order of the publishes, over partitions', async () => {
    const client = await rig.connect({ clientId: 'c' });
    const names = ['a', 'b', 'c', 'd', 'e', 'f', 'g', 'h', 'i'];
    expect(new Set(names.map((name) => rig.shardOf(name))).size).toBeGreaterThan(2);
    // The partition of the first one answers last.
    let refused = 0;
    rig.journal.fake.fault = ({ shardId }) =>
      shardId === rig.shardOf('a') && refused++ < 2
        ? new OperatingError('RESOURCE_EXHAUSTED', 'later')
        : undefined;
    const sent = names.map((name) => client.publish(name, name, { qos: 1 }));
    const acked: (number | undefined)[] = [];
    while (acked.length < sent.length) acked.push((await client.expect('puback')).messageId);
    expect(refused).toBeGreaterThan(0);
    expect(acked).toEqual(sent);
  });

  it('[MQTT5-4.3.3-10] a QoS 2 message that is sent again is published once', async () => {
    const client = await rig.connect({ clientId: 'c' });
    client.answers = 'none';
    for (const dup of [false, true, true]) {
      client.publish('t', 'once', { qos: 2, messageId: 5, dup });
      await client.expect('pubrec');
    }
    client.send({ cmd: 'pubrel', messageId: 5 });
    expect(await client.expect('pubcomp')).toMatchObject({ reasonCode: 0 });
    // The id is free again.
    client.publish('t', 'twice', { qos: 2, messageId: 5 });
    await client.expect('pubrec');
    expect(await subscriber.payloads(2)).toEqual(['once', 'twice']);
  });

  it('[MQTT5-4.3.3-11, -3.7.2-1] a PUBREL with an unknown packet id is answered 0x92', async () => {
    const client = await rig.connect({ clientId: 'c' });
    client.send({ cmd: 'pubrel', messageId: 99 });
    expect(await client.expect('pubcomp')).toMatchObject({ messageId: 99, reasonCode: 0x92 });
    const kept = await rig.connect({ clientId: 'k', properties: keep });
    kept.send({ cmd: 'pubrel', messageId: 99 });
    expect(await kept.expect('pubcomp')).toMatchObject({ messageId: 99, reasonCode: 0x92 });
  });

  it('[MQTT5-3.6.2-1] a PUBREC with an unknown packet id is answered PUBREL 0x92', async () => {
    subscriber.answers = 'none';
    subscriber.send({ cmd: 'pubrec', messageId: 77 });
    expect(await subscriber.expect('pubrel')).toMatchObject({ messageId: 77, reasonCode: 0x92 });
    subscriber.send({ cmd: 'puback', messageId: 77 });
    subscriber.send({ cmd: 'pubcomp', messageId: 77 });
    expect(await subscriber.untilPong()).toEqual([]);
  });

  it('[MQTT5-3.3.4-7, -4.13.2-1] one more than Receive Maximum is 0x93, as many are not', async () => {
    const client = await rig.connect({ clientId: 'c' });
    client.answers = 'none';
    for (let id = 1; id <= 10; id++) client.publish('t', `${id}`, { qos: 2, messageId: id });
    for (let id = 1; id <= 10; id++) await client.expect('pubrec');
    client.publish('t', 'QoS 0 does not count');
    expect(await client.untilPong()).toEqual([]);
    client.publish('t', 'one too many', { qos: 1, messageId: 11 });
    expect(await client.expect('disconnect')).toMatchObject({ reasonCode: 0x93 });
    await client.closed;
  });

  it('[MQTT5-4.9.0-2] PUBCOMP, PUBACK and refusals give the quota back', async () => {
    const client = await rig.connect({ clientId: 'c' });
    client.answers = 'none';
    for (let round = 0; round < 40; round++) {
      const qos = round % 2 === 0 ? 1 : 2;
      const topic = round % 3 === 0 ? '$SYS/refused' : 't';
      client.publish(topic, `${round}`, { qos, messageId: round + 1 });
      const { cmd, reasonCode } = (await client.receive()) as { cmd: string; reasonCode: number };
      expect(reasonCode).toBe(topic === 't' ? 0 : 0x90);
      if (cmd !== 'pubrec' || reasonCode !== 0) continue;
      client.send({ cmd: 'pubrel', messageId: round + 1 });
      await client.expect('pubcomp');
    }
  });

  it('an MQTT 3.1.1 client may have any number of QoS 2 messages under way', async () => {
    const client = await rig.connect({ version: 4, clientId: 'c' });
    client.answers = 'none';
    const count = 200;
    for (let id = 1; id <= count; id++) client.publish('t', `${id}`, { qos: 2, messageId: id });
    for (let id = 1; id <= count; id++) await client.expect('pubrec');
    for (let id = 1; id <= count; id++) client.send({ cmd: 'pubrel', messageId: id });
    for (let id = 1; id <= count; id++) await client.expect('pubcomp');
    expect(await subscriber.payloads(count)).toHaveLength(count);
  });

  it('[MQTT5-3.2.2-15] a packet over the limit is 0x95, one at the limit is taken', async () => {
    const client = await rig.connect({ clientId: 'c' });
    // 1 type, 2 length, 3 topic, 2 packet id, 1 properties.
    const fitting = 'x'.repeat(4096 - 9);
    expect(await client.publishAcked('t', fitting)).toBe(0);
    expect(await subscriber.payloads(1)).toEqual([fitting]);
    client.publish('t', `${fitting}x`, { qos: 1 });
    expect(await client.expect('disconnect')).toMatchObject({ reasonCode: 0x95 });
    await client.closed;
  });

  it('[MQTT5-4.7.2] publishing to a $-topic is refused 0x90, with QoS 0 by the end', async () => {
    const client = await rig.connect({ clientId: 'c' });
    expect(await client.publishAcked('$SYS/x', 'no')).toBe(0x90);
    client.publish('$SYS/x', 'no');
    expect(await client.expect('disconnect')).toMatchObject({ reasonCode: 0x90 });
  });

  it.each([3, 4] as const)(
    '[MQTT-3.3.5-2] a client of version %i that publishes to a $-topic is answered and goes on',
    async (version) => {
      const old = await rig.connect({ version, clientId: 'old', clean: false });
      for (const qos of [0, 1, 2] as const) old.publish('$SYS/x', 'no', { qos, messageId: qos });
      await old.expect('puback');
      await old.expect('pubrec');
      old.send({ cmd: 'pubrel', messageId: 2 });
      await old.expect('pubcomp');
      expect(rig.server.counters.droppedIn).toBe(3);
      old.publish('t', 'taken');
      expect(await subscriber.payloads(1)).toEqual(['taken']);
    },
  );

  it('a user property with a reserved name is refused 0x83 in its place', async () => {
    const client = await rig.connect({ clientId: 'c' });
    const userProperties = { 'mqtt.publisher': 'somebody' };
    const first = client.publish('t', '1', { qos: 1 });
    const second = client.publish('t', '2', { qos: 1, properties: { userProperties } });
    const third = client.publish('t', '3', { qos: 1 });
    for (const [messageId, reasonCode] of [
      [first, 0],
      [second, 0x83],
      [third, 0],
    ]) {
      expect(await client.expect('puback')).toMatchObject({ messageId, reasonCode });
    }
    expect(await subscriber.payloads(2)).toEqual(['1', '3']);
  });

  it('a record that no batch can hold is refused and the connection goes on', async () => {
    const client = await rig.connect({ clientId: 'c' });
    rig.journal.fake.fault = () => new OperatingError('BATCH_TOO_LARGE', 'too large');
    expect(await client.publishAcked('t', 'x')).toBe(0x97);
    rig.journal.fake.fault = () => undefined;
    expect(await client.publishAcked('t', 'y')).toBe(0);
  });

  it('[MQTT-3.3.5-2, -4.8.0-2] an MQTT 3.1.1 client whose publish fails is closed, and its session is told', async () => {
    const client = await rig.connect({ version: 4, clientId: 'c' });
    rig.journal.fake.fault = () => new OperatingError('BATCH_TOO_LARGE', 'too large');
    client.publish('t', 'x', { qos: 1 });
    await client.closed;
    await until(() => rig.sessions.ends.some(({ clientId }) => clientId === 'c'));
  });
});

describe('topic aliases of a client', () => {
  let rig: MqttRig;
  let subscriber: RawMqttClient;
  let client: RawMqttClient;
  beforeEach(async () => {
    rig = await MqttRig.start({ limits: { topicAliasMaximum: 3 } });
    subscriber = await rig.connect({ clientId: 'subscriber' });
    await subscriber.subscribe('#', { qos: 0 });
    client = await rig.connect({ clientId: 'c' });
  });
  afterEach(() => rig[Symbol.asyncDispose]());

  const aliased = (topic: string, alias: number, payload: string): Buffer =>
    packet(0x30, topic, properties([0x23, 0, alias]), Buffer.from(payload));

  it('[MQTT5-3.3.2-12] stand for the topic they were last given', async () => {
    client.write(aliased('a', 1, '1'));
    client.write(aliased('', 1, '2'));
    client.write(aliased('b', 3, '3'));
    client.write(aliased('c', 1, '4'));
    client.write(aliased('', 3, '5'));
    client.write(aliased('', 1, '6'));
    const got: string[] = [];
    while (got.length < 6) {
      const { topic, payload } = await subscriber.expect('publish');
      got.push(`${topic}${String(payload)}`);
    }
    // Order is kept per topic.
    expect(got.filter((one) => one.startsWith('a'))).toEqual(['a1', 'a2']);
    expect(got.filter((one) => one.startsWith('b'))).toEqual(['b3', 'b5']);
    expect(got.filter((one) => one.startsWith('c'))).toEqual(['c4', 'c6']);
  });

  it.each([
    ['[MQTT5-3.3.2-9] above the maximum', 'a', 4, 0x94],
    ['[MQTT5-3.3.2-8] zero', 'a', 0, 0x94],
    ['[MQTT5-3.3.2-12] not set', '', 2, 0x82],
  ])('%s: the end', async (_name, topic, alias, reasonCode) => {
    client.write(aliased(topic, alias, 'x'));
    expect(await client.expect('disconnect')).toMatchObject({ reasonCode });
    await client.closed;
  });

  it('[MQTT5-3.3.2-7] are forgotten with the connection', async () => {
    client.write(aliased('a', 1, '1'));
    await subscriber.payloads(1);
    const again = await rig.connect({ clientId: 'c' });
    again.write(aliased('', 1, '2'));
    expect(await again.expect('disconnect')).toMatchObject({ reasonCode: 0x82 });
  });
});

describe('QoS 2 publishes of a durable session', () => {
  let rig: MqttRig;
  let subscriber: RawMqttClient;
  beforeEach(async () => {
    rig = await MqttRig.start({ limits: { receiveMaximum: 4, socketBytesMax: 8192 } });
    subscriber = await rig.connect({ clientId: 'subscriber' });
    await subscriber.subscribe('#', { qos: 2 });
  });
  afterEach(() => rig[Symbol.asyncDispose]());

  const connect = async (clean: boolean): Promise<RawMqttClient> => {
    const client = await rig.connect({ clientId: 'c', clean, properties: keep });
    client.answers = 'none';
    return client;
  };

  it('[MQTT5-4.3.3-8] PUBREC leaves after the message is stored', async () => {
    const client = await connect(true);
    const held = Promise.withResolvers<void>();
    rig.sessions.before = (call) => (call === 'storeInbound' ? held.promise : undefined);
    client.publish('t', 'm', { qos: 2, messageId: 3 });
    client.publish('t', 'm', { qos: 2, messageId: 3, dup: true });
    expect(await client.untilPong()).toEqual([]);
    held.resolve();
    expect(await client.expect('pubrec')).toMatchObject({ messageId: 3, reasonCode: 0 });
    expect(rig.sessions.session('c').inbound.get(3)).toMatchObject({ topic: 't' });
    client.send({ cmd: 'pubrel', messageId: 3 });
    await client.expect('pubcomp');
    expect(await subscriber.payloads(1)).toEqual(['m']);
  });

  it('[MQTT5-4.3.3-10] the exchange is finished by another connection, once', async () => {
    const first = await connect(true);
    for (const messageId of [1, 2]) {
      first.publish('t', `m${messageId}`, { qos: 2, messageId });
      await first.expect('pubrec');
    }
    await first.destroy();
    await until(() => !rig.sessions.session('c').isConnected);
    const second = await connect(false);
    second.publish('t', 'm1', { qos: 2, messageId: 1, dup: true });
    expect(await second.expect('pubrec')).toMatchObject({ messageId: 1, reasonCode: 0 });
    for (const messageId of [1, 2]) {
      second.send({ cmd: 'pubrel', messageId });
      expect(await second.expect('pubcomp')).toMatchObject({ messageId, reasonCode: 0 });
    }
    expect(await subscriber.payloads(2)).toEqual(['m1', 'm2']);
    await second.publishAcked('t', 'marker');
    expect(await subscriber.payloads(1)).toEqual(['marker']);
  });

  it('[MQTT5-3.3.4-7] Receive Maximum counts what was sent again, too', async () => {
    const first = await connect(true);
    first.publish('t', 'm', { qos: 2, messageId: 1 });
    await first.expect('pubrec');
    await first.destroy();
    await until(() => !rig.sessions.session('c').isConnected);
    const second = await connect(false);
    for (let messageId = 1; messageId <= 4; messageId++) {
      second.publish('t', 'm', { qos: 2, messageId });
      await second.expect('pubrec');
    }
    second.publish('t', 'm', { qos: 2, messageId: 5 });
    expect(await second.expect('disconnect')).toMatchObject({ reasonCode: 0x93 });
  });

  it('[MQTT5-4.3.3-9] a message that cannot be stored is refused, and its id is free', async () => {
    const client = await connect(true);
    rig.sessions.before = (call) => {
      if (call === 'storeInbound') throw new OperatingError('RESOURCE_EXHAUSTED', 'full');
    };
    for (let round = 0; round < 10; round++) {
      client.publish('t', 'm', { qos: 2, messageId: 1 });
      expect(await client.expect('pubrec')).toMatchObject({ reasonCode: 0x97 });
    }
    rig.sessions.before = () => {};
    client.publish('t', 'm', { qos: 2, messageId: 1 });
    expect(await client.expect('pubrec')).toMatchObject({ reasonCode: 0 });
  });

  it('[MQTT5-4.4.0-1] a message that may be stored or not is not refused: the client sends it again', async () => {
    const first = await connect(true);
    rig.sessions.after = (call) => {
      if (call === 'storeInbound') throw new OperatingError('UNAVAILABLE', 'no answer in time');
    };
    first.publish('t', 'm', { qos: 2, messageId: 1 });
    expect(await first.expect('disconnect')).toMatchObject({ reasonCode: 0x83 });
    await first.closed;
    rig.sessions.after = () => {};
    await until(() => !rig.sessions.session('c').isConnected);
    const second = await connect(false);
    second.publish('t', 'm', { qos: 2, messageId: 1, dup: true });
    expect(await second.expect('pubrec')).toMatchObject({ messageId: 1, reasonCode: 0 });
    second.send({ cmd: 'pubrel', messageId: 1 });
    expect(await second.expect('pubcomp')).toMatchObject({ messageId: 1, reasonCode: 0 });
    expect(await subscriber.payloads(1)).toEqual(['m']);
  });

  it('a coordinator that does not answer stops the client at a bound of bytes', async () => {
    const client = await connect(true);
    const held = Promise.withResolvers<void>();
    let asked = 0;
    rig.sessions.before = (call) => {
      if (call !== 'storeInbound') return undefined;
      asked++;
      return held.promise;
    };
    for (let messageId = 1; messageId <= 4; messageId++) {
      client.publish('t', 'x'.repeat(6000), { qos: 2, messageId });
    }
    client.send({ cmd: 'pingreq' });
    await until(() => asked === 1);
    for (let turn = 0; turn < 20; turn++) await new Promise((resolve) => setImmediate(resolve));
    // Nothing was read behind the second message: the PINGREQ is not answered.
    expect(rig.sessions.calls.filter(({ call }) => call === 'storeInbound')).toEqual([]);
    held.resolve();
    for (let messageId = 1; messageId <= 4; messageId++) await client.pick('pubrec', messageId);
    await client.pick('pingresp');
  });

  it('a session that was taken over meanwhile ends with 0x8E', async () => {
    const client = await connect(true);
    rig.sessions.before = (call) => {
      if (call === 'storeInbound') throw new OperatingError('FENCED', 'taken over');
    };
    client.publish('t', 'm', { qos: 2, messageId: 1 });
    expect(await client.expect('disconnect')).toMatchObject({ reasonCode: 0x8e });
    await client.closed;
    expect(rig.sessions.ends).toEqual([]);
  });
});

describe('a partition that takes nothing', () => {
  it('stops publishers of QoS 1 without losing or reordering, and QoS 0 is dropped', async () => {
    await using rig = await MqttRig.start({ limits: { receiveMaximum: 60_000 } });
    const subscriber = await rig.connect({ clientId: 's' });
    await subscriber.subscribe('t', { qos: 1 });
    const client = await rig.connect({ clientId: 'c' });
    let isAway = true;
    rig.journal.fake.fault = () =>
      isAway ? new OperatingError('DISK_FULL', 'no space') : undefined;
    const payload = 'x'.repeat(20_000);
    const count = 600;
    for (let at = 0; at < count; at++) client.publish('t', `${at} ${payload}`, { qos: 1 });
    const other = await rig.connect({ clientId: 'o' });
    const { counters } = rig.server;
    await until(() => rig.journal.client.stats.inFlightBytes > 7 * 1024 * 1024);
    for (let at = 0; at < 100; at++) other.publish('t', payload);
    await until(() => counters.droppedIn > 0);
    expect(counters.publishesIn[1]).toBeLessThan(count);
    isAway = false;
    const got: number[] = [];
    while (got.length < count) {
      const [first = ''] = (await subscriber.payloads(1))[0]?.split(' ') ?? [];
      if (first !== payload) got.push(Number(first));
    }
    expect(got).toEqual(Array.from({ length: count }, (_, at) => at));
    for (let at = 0; at < count; at++) await client.pick('puback', at + 1);
  });
});
