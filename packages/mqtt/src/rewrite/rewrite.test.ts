import { afterEach, describe, expect, it } from 'vitest';

import { MqttRig } from '../server/mqtt-rig.fixture.ts';
import { until } from '../server/until.fixture.ts';
import type { AutoSubscription } from './auto-subscriptions.ts';
import type { RewriteRule } from './topic-rewriter.ts';

let rig: MqttRig;
afterEach(() => rig[Symbol.asyncDispose]());

const rewriteRules: readonly RewriteRule[] = [
  { action: 'publish', source: 'old/#', expression: '^old/(.*)$', destination: 'new/%c/$1' },
  { action: 'subscribe', source: 'mine/#', expression: '^mine/(.*)$', destination: 'new/%c/$1' },
];

describe('a client whose topics are changed', () => {
  it.each([0, 1, 2] as const)(
    'publishes at QoS %i to the new one, by an alias, too',
    async (qos) => {
      rig = await MqttRig.start({ rewriteRules });
      const listener = await rig.connect({ clientId: 'listener' });
      await listener.subscribe('#', { qos: 2 });
      const keeps = { clean: false, properties: { sessionExpiryInterval: 100 } };
      const device = await rig.connect({ clientId: 'device', ...keeps });
      const messages = [
        ['old/a', { qos, properties: { topicAlias: 1 } }],
        ['', { qos, properties: { topicAlias: 1 } }],
        ['other', { qos }],
      ] as const;
      for (const [topic, fields] of messages) {
        const messageId = device.publish(topic, 'x', fields);
        if (qos !== 2) continue;
        await device.pick('pubrec', messageId);
        device.send({ cmd: 'pubrel', messageId: messageId ?? 0 });
      }
      const topics: string[] = [];
      while (topics.length < 3) topics.push((await listener.pick('publish')).topic);
      expect(topics.toSorted()).toEqual(['new/device/a', 'new/device/a', 'other']);
    },
  );

  it('subscribes and unsubscribes by its own filters', async () => {
    rig = await MqttRig.start({ rewriteRules });
    const device = await rig.connect({ clientId: 'device' });
    await device.subscribe('mine/+');
    await device.publishAcked('new/device/a', 'one');
    expect((await device.pick('publish')).topic).toBe('new/device/a');
    device.send({ cmd: 'unsubscribe', messageId: 7, unsubscriptions: ['mine/+'] });
    expect((await device.pick('unsuback')).granted).toEqual([0]);
    await device.publishAcked('new/device/a', 'two');
    expect(await device.untilPong()).toEqual([]);
  });

  it('has its will changed', async () => {
    rig = await MqttRig.start({ rewriteRules });
    const will = { topic: 'old/gone', payload: Buffer.from('bye'), qos: 0 as const, retain: false };
    await rig.connect({ clientId: 'device', will });
    expect(rig.sessions.session('device').will?.topic).toBe('new/device/gone');
  });

  it('is refused where nothing legal can be made for it', async () => {
    rig = await MqttRig.start({ rewriteRules });
    const device = await rig.connect({ clientId: '#' });
    expect(await device.publishAcked('old/a', 'x')).toBe(0x90);
    expect(await device.subscribe('mine/a')).toBe(0x8f);
    const will = { topic: 'old/gone', payload: Buffer.from('bye'), qos: 0 as const, retain: false };
    await expect(rig.connect({ clientId: '+', will })).rejects.toThrow('CONNACK 144');
  });
});

const auto = (filter: string, more: Partial<AutoSubscription> = {}): AutoSubscription => ({
  filter,
  qos: 1,
  noLocal: false,
  retainAsPublished: false,
  retainHandling: 0,
  ...more,
});

describe('automatic subscriptions', () => {
  it('are there before the next packet of the client, with their options and retained messages', async () => {
    const autoSubscriptions = [auto('to/%c/#', { noLocal: true }), auto('all/%u', { qos: 0 })];
    rig = await MqttRig.start({ autoSubscriptions, observation: { events: ['subscribed'] } });
    const operator = await rig.connect({ clientId: 'operator', username: 'x' });
    await operator.publishAcked('to/device/config', 'kept', { retain: true });
    await operator.subscribe('$SYS/brokers/+/clients/device/subscribed');
    const device = await rig.connect({ clientId: 'device', username: 'ada' });
    device.publish('to/device/own', 'own', { qos: 1 });
    device.publish('all/ada', 'both', { qos: 1 });
    const got = [await device.pick('publish'), await device.pick('publish')];
    expect(got.map(({ topic, qos, retain }) => ({ topic, qos, retain }))).toEqual(
      expect.arrayContaining([
        { topic: 'to/device/config', qos: 1, retain: true },
        { topic: 'all/ada', qos: 0, retain: false },
      ]),
    );
    const told = [await operator.pick('publish'), await operator.pick('publish')];
    expect(told.map(({ payload }) => JSON.parse(String(payload)).topic)).toEqual([
      'to/device/#',
      'all/ada',
    ]);
  });

  it('are left out for a client whose name they cannot have', async () => {
    rig = await MqttRig.start({ autoSubscriptions: [auto('to/%c/#')] });
    await rig.connect({ clientId: '#' });
    await rig.connect({ clientId: 'a/b' });
    expect(rig.server.subscriptions).toBe(0);
  });

  it('end the connection of a client that cannot have them now', async () => {
    rig = await MqttRig.start({ autoSubscriptions: [auto('to/%c')] });
    rig.beforeEnd = () => Promise.reject(new Error('away'));
    const device = await rig.connect({ clientId: 'device' });
    await device.closed;
    rig.beforeEnd = () => {};
    await rig.connect({ clientId: 'device' });
    await until(() => rig.server.subscriptions === 1);
  });

  it('are stored once for a durable session', async () => {
    rig = await MqttRig.start({ autoSubscriptions: [auto('to/%c', { retainHandling: 1 })] });
    const fields = { clientId: 'device', clean: false, properties: { sessionExpiryInterval: 100 } };
    const first = await rig.connect(fields);
    await first.untilPong();
    await first.disconnect();
    await first.closed;
    const other = await rig.connect({ clientId: 'other' });
    await other.publishAcked('to/device', 'missed');
    const again = await rig.connect(fields);
    expect(String((await again.pick('publish')).payload)).toBe('missed');
    expect(await again.untilPong()).toEqual([]);
  });
});
