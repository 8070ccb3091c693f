import type { RawMqttClient } from '@robustmq/testkit';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import { MqttRig } from '../server/mqtt-rig.fixture.ts';

let rig: MqttRig;
let publisher: RawMqttClient;
beforeAll(async () => {
  rig = await MqttRig.start({ limits: { subscriptionsMax: 8 } });
  publisher = await rig.connect({ clientId: 'publisher' });
});
afterAll(() => rig[Symbol.asyncDispose]());

const versions = [4, 5] as const;
const options = { nl: false, rap: false, rh: 0 };

describe('SUBSCRIBE', () => {
  it.each(versions)(
    '[MQTT5-2.2.1-6, -3.8.4-1, -3.8.4-2, -3.8.4-5..-7, -3.9.3-1, -2, MQTT-2.3.1-7, -3.8.4-1, -2, -4, -5, -3.9.3-1, -2] is answered once, with its packet id and a code for each filter in order, version %i',
    async (version) => {
      const client = await rig.connect({ version, clientId: 'answered' });
      for (let at = 0; at < 5; at++) await client.subscribe(`full/${at}`);
      client.send({
        cmd: 'subscribe',
        messageId: 0xfffe,
        subscriptions: [
          { topic: 'full/5', qos: 2, ...options },
          { topic: 'full/6', qos: 0, ...options },
          { topic: 'full/7', qos: 1, ...options },
          { topic: 'full/8', qos: 2, ...options },
          { topic: 'full/5', qos: 1, ...options },
        ],
      });
      const failed = version === 5 ? 0x97 : 0x80;
      const [answer, ...more] = await client.untilPong();
      expect(answer).toMatchObject({
        cmd: 'suback',
        messageId: 0xfffe,
        granted: [2, 0, 1, failed, 1],
      });
      expect(more).toEqual([]);
      // As if they had come one after the other: the last one to the same filter holds.
      await publisher.publishAcked('full/7', 'seven');
      await publisher.publishAcked('full/8', 'refused');
      publisher.publish('full/5', 'five', { qos: 2 });
      const got = [await client.expect('publish'), await client.expect('publish')];
      expect(got.map(({ payload, qos }) => `${String(payload)} ${qos}`).toSorted()).toEqual([
        'five 1',
        'seven 1',
      ]);
    },
  );

  it.each(versions)(
    '[MQTT5-3.8.4-3, -3.8.4-4, MQTT-3.8.4-3] to the same filter replaces it: retained messages again, nothing lost, one copy, version %i',
    async (version) => {
      const topic = `replaced/${version}`;
      await publisher.publishAcked(topic, 'retained', { retain: true });
      const client = await rig.connect({ version, clientId: 'replacing' });
      client.onPublish = ({ payload, retain, qos }) => {
        got.push({ text: String(payload), retain, qos });
      };
      const got: { text: string; retain: boolean; qos: number }[] = [];
      await client.subscribe(topic, { qos: 0 });
      const count = 200;
      const publishing = (async () => {
        for (let at = 0; at < count; at++) await publisher.publishAcked(topic, `${at}`);
      })();
      for (let at = 0; at < 20; at++) await client.subscribe(topic, { qos: at % 2 === 0 ? 1 : 0 });
      await client.subscribe(topic, { qos: 1 });
      await publishing;
      await publisher.publishAcked(topic, 'last');
      while (got.at(-1)?.text !== 'last') await client.untilPong();
      const live = got.filter(({ retain }) => !retain).map(({ text }) => text);
      expect(live).toEqual([...Array.from({ length: count }, (_, at) => `${at}`), 'last']);
      expect(got.filter(({ retain }) => retain).length).toBeGreaterThan(1);
      expect(got.at(-1)?.qos).toBe(1);
    },
  );

  it.each([0, 1, 2])(
    '[MQTT5-3.8.4-4, -3.3.1-10] that replaces one while its retained messages come loses none, retain handling %i',
    async (rh) => {
      const count = 30;
      for (let at = 0; at < count; at++) {
        await publisher.publishAcked(`replay/${at}`, `${at}`, { retain: true });
      }
      const client = await rig.connect({
        clientId: 'impatient',
        properties: { receiveMaximum: 1 },
      });
      client.answers = 'none';
      await client.subscribe('replay/#', { qos: 1, rh: 1 });
      const first = await client.pick('publish');
      await client.subscribe('replay/#', { qos: 1, rh });
      client.answers = 'all';
      client.send({ cmd: 'puback', messageId: first.messageId ?? 0 });
      const rest = await retainedUntilEnd(client);
      const expected = Array.from({ length: count }, (_, at) => `${at}`);
      // All of them for a new SUBSCRIBE that wants them, and what was waiting for room; else the rest of the first.
      const got = rh === 0 ? rest : [String(first.payload), ...rest];
      expect([...new Set(got)].toSorted()).toEqual(expected.toSorted());
      expect(got.length).toBeLessThanOrEqual(rh === 0 ? count + 1 : count);
    },
  );

  it('[MQTT5-3.3.1-11] with retain handling 2 after UNSUBSCRIBE gets none of those that were coming', async () => {
    for (let at = 0; at < 5; at++) {
      await publisher.publishAcked(`ended/${at}`, `${at}`, { retain: true });
    }
    const client = await rig.connect({ clientId: 'ended', properties: { receiveMaximum: 1 } });
    client.answers = 'none';
    await client.subscribe('ended/#', { qos: 1, rh: 0 });
    const { messageId = 0 } = await client.pick('publish');
    client.send({ cmd: 'unsubscribe', messageId: 900, unsubscriptions: ['ended/#'] });
    await client.pick('unsuback');
    await client.subscribe('ended/#', { qos: 1, rh: 2 });
    client.answers = 'all';
    client.send({ cmd: 'puback', messageId });
    expect(await retainedUntilEnd(client)).toEqual([]);
  });

  it('[MQTT5-3.8.3-3] No Local holds for what is retained, too', async () => {
    const client = await rig.connect({ clientId: 'no-local-retained' });
    await client.publishAcked('own/retained', 'own', { retain: true });
    await publisher.publishAcked('own/other', 'of another', { retain: true });
    await client.subscribe('own/+', { qos: 1, nl: true });
    expect(await client.payloads(1)).toEqual(['of another']);
    await client.subscribe('own/+', { qos: 1 });
    expect((await client.payloads(2)).toSorted()).toEqual(['of another', 'own']);
  });

  it('[MQTT5-3.8.3-3] No Local holds for its own messages only', async () => {
    const client = await rig.connect({ clientId: 'no-local' });
    await client.subscribe('local', { qos: 1, nl: true });
    await client.publishAcked('local', 'own');
    await publisher.publishAcked('local', 'of another');
    expect(await client.payloads(1)).toEqual(['of another']);
  });
});

describe('UNSUBSCRIBE', () => {
  it.each(versions)(
    '[MQTT5-2.2.1-6, -3.10.4-4..-6, -3.11.3-1, -3.11.3-2, MQTT-2.3.1-7, -3.10.4-4..-6] is answered once with its packet id, also for what is not there, version %i',
    async (version) => {
      const client = await rig.connect({ version, clientId: 'leaving' });
      await client.subscribe('left/a');
      await client.subscribe('left/b');
      const unsubscriptions = ['left/a', 'left/x', 'left/b', 'left/a'];
      client.send({ cmd: 'unsubscribe', messageId: 0x1234, unsubscriptions });
      const [answer, ...more] = await client.untilPong();
      expect(answer).toMatchObject({ cmd: 'unsuback', messageId: 0x1234 });
      if (version === 5) expect(answer).toMatchObject({ granted: [0, 0x11, 0, 0x11] });
      expect(more).toEqual([]);
      client.send({ cmd: 'unsubscribe', messageId: 7, unsubscriptions: ['never/there'] });
      expect(await client.expect('unsuback')).toMatchObject({ messageId: 7 });
    },
  );

  it.each(versions)(
    '[MQTT5-3.10.4-1, -3.10.4-2, MQTT-3.10.4-1, -2] ends the subscription with the same characters, and no other, version %i',
    async (version) => {
      const client = await rig.connect({ version, clientId: 'exact' });
      for (const filter of ['same/#', 'same/+', 'Same/a'])
        await client.subscribe(filter, { qos: 1 });
      const unsubscriptions = ['same/a', 'SAME/#', 'same/+/', 'same/#'];
      client.send({ cmd: 'unsubscribe', messageId: 8, unsubscriptions });
      await client.expect('unsuback');
      await publisher.publishAcked('same/a/b', 'of the one that ended');
      await publisher.publishAcked('same/a', 'of one that stays');
      expect(await client.payloads(1)).toEqual(['of one that stays']);
      client.send({ cmd: 'unsubscribe', messageId: 9, unsubscriptions: ['same/+'] });
      await client.expect('unsuback');
      await publisher.publishAcked('same/a', 'of both that ended');
      expect(await client.untilPong()).toEqual([]);
    },
  );

  it.each([
    { version: 4, qos: 1 },
    { version: 4, qos: 2 },
    { version: 5, qos: 1 },
    { version: 5, qos: 2 },
  ] as const)(
    '[MQTT5-3.10.4-3, MQTT-3.10.4-3] finishes what was begun, QoS $qos, version $version',
    async ({ version, qos }) => {
      const client = await rig.connect({ version, clientId: 'finishing' });
      client.answers = 'none';
      await client.subscribe('begun', { qos });
      publisher.publish('begun', 'x', { qos });
      const { messageId = 0 } = await client.expect('publish');
      client.send({ cmd: 'unsubscribe', messageId: 8, unsubscriptions: ['begun'] });
      await client.expect('unsuback');
      if (qos === 2) {
        client.send({ cmd: 'pubrec', messageId });
        expect(await client.expect('pubrel')).toMatchObject({ messageId });
        client.send({ cmd: 'pubcomp', messageId });
      } else {
        client.send({ cmd: 'puback', messageId });
      }
      expect(await client.untilPong()).toEqual([]);
    },
  );
});

/** What is still retained for the client's subscriptions: they get theirs one after the other, and this is the last. */
async function retainedUntilEnd(client: RawMqttClient): Promise<string[]> {
  await publisher.publishAcked('the end', 'end', { retain: true });
  await client.subscribe('the end', { qos: 1 });
  const got: string[] = [];
  for (;;) {
    const { payload } = await client.pick('publish');
    if (String(payload) === 'end') return got;
    got.push(String(payload));
  }
}
