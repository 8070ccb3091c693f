import type { RawMqttClient } from '@robustmq/testkit';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import { packet, properties } from '../codec/test-packets.ts';
import { MqttRig } from '../server/mqtt-rig.fixture.ts';
import { until } from '../server/until.fixture.ts';

let rig: MqttRig;
let publisher: RawMqttClient;
beforeAll(async () => {
  rig = await MqttRig.start();
  publisher = await rig.connect({ clientId: 'publisher' });
});
afterAll(() => rig[Symbol.asyncDispose]());

const versions = [3, 4, 5] as const;

/** Publishes and waits for the end of the exchange. */
async function publish(qos: 0 | 1 | 2, topic: string, payload: string): Promise<void> {
  const messageId = publisher.publish(topic, payload, { qos }) ?? 0;
  if (qos === 1) await publisher.pick('puback', messageId);
  if (qos < 2) return;
  await publisher.pick('pubrec', messageId);
  publisher.send({ cmd: 'pubrel', messageId });
  await publisher.pick('pubcomp', messageId);
}

/** What is retained for a filter. Subscriptions get theirs one after the other, so that the last ends it. */
async function retainedFor(
  version: 3 | 4 | 5,
  filter: string,
): Promise<{ payload: string; retain: boolean; qos: number }[]> {
  await publisher.publishAcked('end of what is retained', 'end', { retain: true });
  const client = await rig.connect({ version, clientId: 'retained-reader' });
  await client.subscribe(filter, { qos: 2 });
  await client.subscribe('end of what is retained', { qos: 2 });
  const got: { payload: string; retain: boolean; qos: number }[] = [];
  for (;;) {
    const { payload, retain, qos } = await client.pick('publish');
    if (String(payload) === 'end') break;
    got.push({ payload: String(payload), retain, qos });
  }
  await client.destroy();
  return got;
}

describe('what is forwarded', () => {
  it.each(versions)(
    '[MQTT5-2.2.1-2, -3.3.1-2, -4.3.1-1, MQTT-2.3.1-5, -3.3.1-2, -4.3.1-1] at QoS 0 has no packet id and no DUP, version %i',
    async (version) => {
      const client = await rig.connect({ version, clientId: 'zero' });
      await client.subscribe('zero', { qos: 2 });
      const before = client.chunks.length;
      publisher.publish('zero', 'x');
      await client.payloads(1);
      const tail = version === 5 ? [0] : [];
      expect(Buffer.concat(client.chunks.slice(before))).toEqual(
        packet(0x30, 'zero', ...tail, Buffer.from('x')),
      );
    },
  );

  it.each(versions)(
    '[MQTT5-3.3.1-3, MQTT-3.3.1-3] has no DUP because what came in had it, version %i',
    async (version) => {
      const client = await rig.connect({ version, clientId: 'dup' });
      await client.subscribe('dup', { qos: 2 });
      for (const qos of [1, 2] as const) {
        const messageId = publisher.publish('dup', `${qos}`, { qos, dup: true }) ?? 0;
        if (qos === 2) {
          await publisher.pick('pubrec', messageId);
          publisher.send({ cmd: 'pubrel', messageId });
        }
        expect(await client.expect('publish')).toMatchObject({ qos, dup: false });
      }
    },
  );

  it.each(versions)(
    '[MQTT5-3.3.2-3, MQTT-3.3.2-3] has the topic that it was published to, version %i',
    async (version) => {
      const client = await rig.connect({ version, clientId: 'names' });
      await client.subscribe('names/+/#', { qos: 1 });
      for (const topic of ['names/a', 'names/', 'names/a/b//c', 'names/ü/😀', 'names/ /x']) {
        await publisher.publishAcked(topic, 'x');
        expect((await client.expect('publish')).topic).toBe(topic);
      }
    },
  );

  it.each([3, 4] as const)(
    '[MQTT-3.3.5-1] has the highest QoS of the subscriptions that match, version %i',
    async (version) => {
      const client = await rig.connect({ version, clientId: 'overlap' });
      await client.subscribe('overlap/#', { qos: 0 });
      await client.subscribe('overlap/+', { qos: 2 });
      await client.subscribe('overlap/a', { qos: 1 });
      await publish(2, 'overlap/a', 'x');
      expect(await client.expect('publish')).toMatchObject({ qos: 2 });
      expect(await client.untilPong()).toEqual([]);
    },
  );

  it('[MQTT5-3.3.2-4, -15..-18, -20] has its properties byte for byte', async () => {
    const client = await rig.connect({ clientId: 'properties' });
    await client.subscribe('properties', { qos: 1 });
    const sent = properties(
      [0x01, 0],
      [0x03, 'application/x'],
      [0x08, 'answer/here'],
      [0x09, '\u0001\u0002'],
      [0x26, 'z', '1'],
      [0x26, 'a', '2'],
      [0x26, 'z', '1'],
    );
    const before = client.chunks.length;
    publisher.write(packet(0x32, 'properties', 0x7f, 0x01, sent, Buffer.from('x')));
    await client.expect('publish');
    expect(Buffer.concat(client.chunks.slice(before)).includes(sent)).toBe(true);
  });
});

describe('request and response', () => {
  it('[MQTT5-3.3.2-15, -16] a responder answers where and with what it was asked', async () => {
    const requester = await rig.connect({ clientId: 'requester' });
    const responder = await rig.connect({ clientId: 'responder' });
    await requester.subscribe('answers/me', { qos: 1 });
    await responder.subscribe('questions', { qos: 1 });
    const asked = { responseTopic: 'answers/me', correlationData: Buffer.from([0, 255, 7]) };
    await requester.publishAcked('questions', 'how late?', { properties: asked });
    const { properties: got } = await responder.expect('publish');
    const { responseTopic = '', correlationData } = got ?? {};
    if (correlationData === undefined) throw new Error('no correlation data');
    await responder.publishAcked(responseTopic, 'late', { properties: { correlationData } });
    const answer = await requester.expect('publish');
    expect([String(answer.payload), answer.properties?.correlationData]).toEqual([
      'late',
      asked.correlationData,
    ]);
  });
});

describe('retained messages', () => {
  it.each(versions)(
    '[MQTT5-3.3.1-5, MQTT-3.3.1-5, -6, -8] the last one of each name comes, with its QoS and the flag, version %i',
    async (version) => {
      const base = `last/${version}`;
      await publisher.publishAcked(`${base}/a`, 'older', { retain: true });
      publisher.publish(`${base}/a`, 'newer', { retain: true, qos: 0 });
      await publisher.publishAcked(`${base}/a`, 'behind it');
      await publisher.publishAcked(`${base}/b`, 'b', { retain: true });
      const got = await retainedFor(version, `${base}/#`);
      const byPayload = got.toSorted((one, other) => one.payload.localeCompare(other.payload));
      expect(byPayload).toEqual([
        { payload: 'b', retain: true, qos: 1 },
        { payload: 'newer', retain: true, qos: 0 },
      ]);
    },
  );

  it.each(versions)(
    '[MQTT-3.3.1-7] one at QoS 0 discards the one before it, version %i',
    async (version) => {
      const topic = `discards/${version}`;
      await publisher.publishAcked(topic, 'at QoS 1', { retain: true });
      publisher.publish(topic, 'at QoS 0', { retain: true });
      await publisher.publishAcked(topic, 'behind it');
      const got = await retainedFor(version, topic);
      expect(got.map(({ payload }) => payload)).toEqual(['at QoS 0']);
    },
  );

  it.each(versions)(
    '[MQTT5-3.3.1-6, -3.3.1-7, MQTT-3.3.1-10, -11] an empty one is forwarded, and nothing is retained any more, version %i',
    async (version) => {
      const topic = `empty/${version}`;
      const live = await rig.connect({ version, clientId: 'live' });
      await live.subscribe(topic, { qos: 1 });
      await publisher.publishAcked(topic, 'kept', { retain: true });
      await publisher.publishAcked(topic, '', { retain: true });
      expect(await live.payloads(2)).toEqual(['kept', '']);
      expect(await retainedFor(version, topic)).toEqual([]);
    },
  );

  it.each(versions)(
    '[MQTT5-3.3.1-8, MQTT-3.3.1-12] a message without the flag changes nothing, version %i',
    async (version) => {
      const topic = `changes/${version}`;
      await publisher.publishAcked(topic, 'kept', { retain: true });
      await publisher.publishAcked(topic, 'passes');
      await publisher.publishAcked(topic, '');
      const got = await retainedFor(version, topic);
      expect(got.map(({ payload }) => payload)).toEqual(['kept']);
    },
  );

  it.each(versions)(
    '[MQTT5-3.3.1-12, MQTT-3.3.1-9] come without the flag to who was subscribed before, version %i',
    async (version) => {
      const client = await rig.connect({ version, clientId: 'before' });
      await client.subscribe('flagless', { qos: 1 });
      await publisher.publishAcked('flagless', 'live', { retain: true });
      expect(await client.expect('publish')).toMatchObject({ retain: false });
      await publisher.publishAcked('flagless', '', { retain: true });
    },
  );
});

describe('topic aliases of a client', () => {
  it('[MQTT5-3.3.2-12] are all accepted up to the maximum that it was told', async () => {
    const reader = await rig.connect({ clientId: 'alias-reader' });
    await reader.subscribe('by/alias/+', { qos: 1 });
    const client = await rig.open(5);
    client.sendConnect({ clientId: 'alias-writer' });
    const { properties: told } = await client.expect('connack');
    const aliasMax = told?.topicAliasMaximum ?? 0;
    expect(aliasMax).toBeGreaterThan(0);
    for (let topicAlias = 1; topicAlias <= aliasMax; topicAlias++) {
      const topic = `by/alias/${topicAlias}`;
      await client.publishAcked(topic, 'first', { properties: { topicAlias } });
      client.write(packet(0x30, '', properties([0x23, 0, topicAlias]), Buffer.from('second')));
      const got = [await reader.expect('publish'), await reader.expect('publish')];
      expect(got.map(({ topic: name, payload }) => [name, String(payload)])).toEqual([
        [topic, 'first'],
        [topic, 'second'],
      ]);
    }
  });

  it('[MQTT5-3.3.2-12] are taken from a message that is sent again, too', async () => {
    const reader = await rig.connect({ clientId: 'again-reader' });
    await reader.subscribe('alias/again', { qos: 2 });
    const own = { sessionExpiryInterval: 100 };
    const fields = { clientId: 'again-writer', clean: false, properties: own };
    const message = { qos: 2, messageId: 9, properties: { topicAlias: 1 } } as const;
    const first = await rig.connect(fields);
    first.publish('alias/again', 'once', message);
    await first.expect('pubrec');
    await first.destroy();
    await until(() => !rig.sessions.session('again-writer').isConnected);
    const second = await rig.connect(fields);
    second.publish('alias/again', 'once', { ...message, dup: true });
    await second.expect('pubrec');
    second.write(packet(0x32, '', 0, 10, properties([0x23, 0, 1]), Buffer.from('by alias')));
    expect(await second.expect('puback')).toMatchObject({ messageId: 10, reasonCode: 0 });
    second.send({ cmd: 'pubrel', messageId: 9 });
    await second.expect('pubcomp');
    expect((await reader.payloads(2)).toSorted()).toEqual(['by alias', 'once']);
  });
});

describe('topic aliases of the server', () => {
  const aliasOf = (properties: unknown): number | undefined =>
    (properties as { topicAlias?: number } | undefined)?.topicAlias;

  it.each([{}, { topicAliasMaximum: 0 }])(
    '[MQTT5-3.1.2-27] are not sent to a client that allows none: %j',
    async (own) => {
      const client = await rig.connect({ clientId: 'no-alias', properties: own });
      await client.subscribe('aliased/+', { qos: 1 });
      for (let at = 0; at < 4; at++) {
        await publisher.publishAcked('aliased/topic', `${at}`);
        const got = await client.expect('publish');
        expect([got.topic, aliasOf(got.properties)]).toEqual(['aliased/topic', undefined]);
      }
    },
  );

  it('[MQTT5-3.1.2-26, -3.3.2-11] stand for the topic from the second message on, within the maximum', async () => {
    const topicAliasMaximum = 2;
    const client = await rig.connect({ clientId: 'alias', properties: { topicAliasMaximum } });
    await client.subscribe('aliased/#', { qos: 2 });
    const known = new Map<number, string>();
    let left = 0;
    for (let at = 0; at < 60; at++) {
      const topic = `aliased/${at < 30 ? at % 2 : at % 5}`;
      await publish((at % 3) as 0 | 1 | 2, topic, topic);
      const got = await client.expect('publish');
      const alias = aliasOf(got.properties);
      expect(alias ?? 1).toBeGreaterThan(0);
      expect(alias ?? 1).toBeLessThanOrEqual(topicAliasMaximum);
      if (got.topic === '') left++;
      if (alias !== undefined && got.topic !== '') known.set(alias, got.topic);
      const meant = got.topic === '' ? known.get(alias ?? 0) : got.topic;
      expect(meant).toBe(String(got.payload));
    }
    expect(left).toBeGreaterThanOrEqual(28);
  });

  it('[MQTT5-3.3.2-7] are not carried on to another connection', async () => {
    const own = { topicAliasMaximum: 4, sessionExpiryInterval: 100 };
    for (let round = 0; round < 2; round++) {
      const client = await rig.connect({ clientId: 'carried', clean: false, properties: own });
      await client.subscribe('carried/on', { qos: 1 });
      await publisher.publishAcked('carried/on', 'x');
      expect(await client.expect('publish')).toMatchObject({ topic: 'carried/on' });
      await client.disconnect();
    }
  });

  it('are not in QoS 2 messages of a durable session, which others may overtake', async () => {
    const own = { topicAliasMaximum: 4, sessionExpiryInterval: 100 };
    const client = await rig.connect({ clientId: 'overtaken', properties: own });
    await client.subscribe('overtaken/topic', { qos: 2 });
    const held = Promise.withResolvers<void>();
    rig.sessions.before = (call) => (call === 'progress' ? held.promise : undefined);
    await publish(2, 'overtaken/topic', 'held');
    await publisher.publishAcked('overtaken/topic', 'first');
    await publisher.publishAcked('overtaken/topic', 'second');
    expect(await client.expect('publish')).toMatchObject({ topic: 'overtaken/topic', qos: 1 });
    expect(await client.expect('publish')).toMatchObject({ topic: '', qos: 1 });
    held.resolve();
    rig.sessions.before = () => {};
    expect(await client.expect('publish')).toMatchObject({ topic: 'overtaken/topic', qos: 2 });
  });

  it('are left out where the message would not fit with one', async () => {
    const topic = 'exact/fit';
    // 2 header, 2 + 9 topic, 1 properties.
    const maximumPacketSize = 14 + 50;
    const own = { topicAliasMaximum: 4, maximumPacketSize };
    const client = await rig.connect({ clientId: 'exact', properties: own });
    await client.subscribe(topic);
    publisher.publish(topic, 'x'.repeat(50));
    expect(await client.expect('publish')).toMatchObject({ topic });
    publisher.publish(topic, 'short');
    const got = await client.expect('publish');
    expect([got.topic, aliasOf(got.properties)]).toEqual([topic, 1]);
  });
});
