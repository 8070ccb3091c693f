import { OperatingError } from '@robustmq/core';
import { type RawMqttClient, turns } from '@robustmq/testkit';
import type { IPublishPacket } from 'mqtt-packet';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import { MqttRig } from '../server/mqtt-rig.fixture.ts';
import { until } from '../server/until.fixture.ts';

const keep = { sessionExpiryInterval: 1000 };

describe('SUBSCRIBE', () => {
  let rig: MqttRig;
  let publisher: RawMqttClient;
  beforeEach(async () => {
    rig = await MqttRig.start({ limits: { subscriptionsMax: 3 } });
    publisher = await rig.connect({ clientId: 'publisher' });
  });
  afterEach(() => rig[Symbol.asyncDispose]());

  const options = { nl: false, rap: false, rh: 0 };

  it('[MQTT5-3.8.4-6] answers each filter in order', async () => {
    const client = await rig.connect({ clientId: 'c' });
    client.send({
      cmd: 'subscribe',
      messageId: 9,
      subscriptions: [
        { topic: 'a', qos: 2, ...options },
        { topic: '$share/g/a', qos: 1, ...options },
        { topic: 'b/+', qos: 1, ...options },
      ],
    });
    expect(await client.expect('suback')).toMatchObject({ messageId: 9, granted: [2, 1, 1] });
    expect(rig.server.subscriptions).toBe(3);
    expect(await client.subscribe('d')).toBe(0x97);
    expect(await client.subscribe('$share/g/a', { qos: 2 })).toBe(2);
  });

  it('[MQTT-3.9.3] MQTT 3.1.1 hears 0x80 for what is refused', async () => {
    const client = await rig.connect({ version: 4, clientId: 'c' });
    for (const topic of ['a', 'b', '$share/g/a']) await client.subscribe(topic);
    expect(await client.subscribe('d')).toBe(0x80);
  });

  it('is refused where the ends of its partitions cannot be had', async () => {
    await using lone = await MqttRig.start();
    const client = await lone.connect({ clientId: 'c', properties: keep });
    lone.sessions.before = (call) => {
      if (call === 'subscribe') throw new OperatingError('UNAVAILABLE', 'no coordinator');
    };
    expect(await client.subscribe('a')).toBe(0x80);
    expect(lone.server.subscriptions).toBe(0);
    lone.sessions.before = () => {};
    expect(await client.subscribe('a', { qos: 1 })).toBe(1);
  });

  it('[MQTT5-3.8.4-1] a durable subscription is committed before the SUBACK', async () => {
    const client = await rig.connect({ clientId: 'c', properties: keep });
    const held = Promise.withResolvers<void>();
    rig.sessions.before = (call) => (call === 'subscribe' ? held.promise : undefined);
    const granted = client.subscribe('a/#', { qos: 1, id: 5 });
    for (let turn = 0; turn < 10; turn++) await new Promise((resolve) => setImmediate(resolve));
    expect(rig.server.subscriptions).toBe(0);
    held.resolve();
    expect(await granted).toBe(1);
    const stored = rig.sessions.session('c').subscriptions.get('a/#');
    expect(stored).toMatchObject({ qos: 1, subscriptionId: 5 });
    expect(stored?.startOffsets).toHaveLength(4);
  });

  it('[MQTT5-3.11.3-1] UNSUBACK says for each filter whether it was there', async () => {
    const client = await rig.connect({ clientId: 'c', properties: keep });
    await client.subscribe('a/+', { qos: 1 });
    const unsubscriptions = ['a/#', 'a/+', 'a/+'];
    client.send({ cmd: 'unsubscribe', messageId: 4, unsubscriptions });
    expect(await client.expect('unsuback')).toMatchObject({ granted: [0x11, 0, 0x11] });
    expect(rig.sessions.session('c').subscriptions.size).toBe(0);
    await publisher.publishAcked('a/b', 'not for it');
    expect(await client.untilPong()).toEqual([]);
  });

  it('[MQTT5-3.10.4-2] what was sent at QoS 1 before an UNSUBSCRIBE is finished', async () => {
    const client = await rig.connect({ clientId: 'c' });
    client.answers = 'none';
    await client.subscribe('a', { qos: 1 });
    await publisher.publishAcked('a', 'm');
    const { messageId = 0 } = await client.expect('publish');
    client.send({ cmd: 'unsubscribe', messageId: 2, unsubscriptions: ['a'] });
    await client.expect('unsuback');
    client.send({ cmd: 'puback', messageId });
    expect(await client.untilPong()).toEqual([]);
  });

  it('[MQTT5-4.7.1-2, -4.7.2-1] wildcards match as they have to', async () => {
    const client = await rig.connect({ clientId: 'c' });
    await client.subscribe('sport/#', { qos: 1 });
    await client.subscribe('+/x', { qos: 1 });
    for (const name of ['sport', 'sport/', 'sport/a/b', '/x', 'a/x', 'a/x/y', 'sports']) {
      await publisher.publishAcked(name, name);
    }
    await publisher.publishAcked('sport/end', 'sport/end');
    const got: string[] = [];
    while (got.at(-1) !== 'sport/end' || got.length < 6) got.push(...(await client.payloads(1)));
    expect(got.toSorted((a, b) => a.localeCompare(b))).toEqual(
      ['sport', 'sport/', 'sport/a/b', '/x', 'a/x', 'sport/end'].toSorted((a, b) =>
        a.localeCompare(b),
      ),
    );
  });

  it('a topic that is made later is delivered from its first record on', async () => {
    const client = await rig.connect({ clientId: 'c', properties: keep });
    await client.subscribe('factory/#', { qos: 1 });
    const config = { 'mqtt.prefix': 'factory/line1' };
    rig.journal.fake.createTopic('factory.line1', 2, config);
    await rig.journal.placement.catalog.waitFor((catalog) => catalog.topic('factory.line1'));
    await turns(3);
    await publisher.publishAcked('factory/line1/temp', 'first');
    expect(await client.payloads(1)).toEqual(['first']);
    await publisher.publishAcked('factory/line1', 'no key');
    expect(await client.payloads(1)).toEqual(['no key']);
  });

  it('a topic that is made while a SUBSCRIBE is under way is delivered, too', async () => {
    const client = await rig.connect({ clientId: 'c', properties: keep });
    const held = Promise.withResolvers<void>();
    const asked = Promise.withResolvers<void>();
    rig.sessions.before = (call) => {
      if (call !== 'subscribe') return undefined;
      asked.resolve();
      return held.promise;
    };
    const granted = client.subscribe('late/#', { qos: 1 });
    await asked.promise;
    rig.journal.fake.createTopic('late', 1, { 'mqtt.prefix': 'late' });
    await rig.journal.placement.catalog.waitFor((catalog) => catalog.topic('late'));
    await turns(3);
    await publisher.publishAcked('late/x', 'first');
    held.resolve();
    expect(await granted).toBe(1);
    expect(await client.payloads(1)).toEqual(['first']);
  });

  it('a topic that is deleted is let go, the others go on', async () => {
    const [shardId = 0] = rig.journal.fake.createTopic('gone', 1, { 'mqtt.prefix': 'gone' });
    const { catalog } = rig.journal.placement;
    await catalog.waitFor((one) => one.topic('gone'));
    const client = await rig.connect({ clientId: 'c' });
    await client.subscribe('#', { qos: 1 });
    await publisher.publishAcked('gone/x', '1');
    expect(await client.payloads(1)).toEqual(['1']);
    catalog.apply({
      revision: catalog.revision,
      fullListBegins: false,
      entries: [],
      removals: [
        { removal: { $case: 'topic', value: 'gone' } },
        { removal: { $case: 'shardId', value: shardId } },
      ],
      placementEpoch: 1,
    });
    await publisher.publishAcked('gone/x', '2');
    expect(await client.payloads(1)).toEqual(['2']);
    expect(rig.shardOf('gone/x')).toBeGreaterThan(0);
  });
});

describe('retained messages', () => {
  let rig: MqttRig;
  let publisher: RawMqttClient;
  beforeEach(async () => {
    rig = await MqttRig.start();
    publisher = await rig.connect({ clientId: 'publisher' });
  });
  afterEach(() => rig[Symbol.asyncDispose]());

  it('[MQTT5-3.3.1-9..-11] come by retain handling: always, when new, never', async () => {
    await publisher.publishAcked('r', 'kept', { retain: true });
    const client = await rig.connect({ clientId: 'c' });
    const got = async (rh: number): Promise<string[]> => {
      await client.subscribe('r', { qos: 1, rh });
      await publisher.publishAcked('r', `marker ${rh}`);
      const payloads = await client.payloads(1);
      while (payloads.at(-1) !== `marker ${rh}`) payloads.push(...(await client.payloads(1)));
      return payloads.slice(0, -1);
    };
    expect(await got(2)).toEqual([]);
    expect(await got(1)).toEqual([]);
    client.send({ cmd: 'unsubscribe', messageId: 500, unsubscriptions: ['r'] });
    await client.expect('unsuback');
    let lookups = 0;
    rig.retained.onLookup = () => void lookups++;
    await client.subscribe('r', { qos: 1, rh: 1 });
    expect(await client.expect('publish')).toMatchObject({ retain: true, qos: 1 });
    await client.subscribe('r', { qos: 0, rh: 0, id: 7 });
    expect(await client.expect('publish')).toMatchObject({
      retain: true,
      qos: 0,
      properties: { subscriptionIdentifier: 7 },
    });
    expect(lookups).toBe(2);
  });

  it('[MQTT5-3.3.1-12, -13] live ones keep their flag only as published', async () => {
    const plain = await rig.connect({ clientId: 'a' });
    const asPublished = await rig.connect({ clientId: 'b' });
    const old = await rig.connect({ version: 4, clientId: 'o' });
    await plain.subscribe('r/#');
    await asPublished.subscribe('r/#', { rap: true });
    await old.subscribe('r/#');
    publisher.publish('r/1', 'kept', { retain: true });
    publisher.publish('r/1', 'not', {});
    expect((await plain.expect('publish')).retain).toBe(false);
    expect((await old.expect('publish')).retain).toBe(false);
    expect((await asPublished.expect('publish')).retain).toBe(true);
    expect((await asPublished.expect('publish')).retain).toBe(false);
  });

  it('[MQTT5-3.3.1-6, -7] an empty one clears and is delivered empty', async () => {
    const live = await rig.connect({ clientId: 'a' });
    await live.subscribe('r', { qos: 1 });
    await publisher.publishAcked('r', 'kept', { retain: true });
    await publisher.publishAcked('r', '', { retain: true });
    await publisher.publishAcked('r', '');
    expect(await live.payloads(3)).toEqual(['kept', '', '']);
    const late = await rig.connect({ clientId: 'b' });
    await late.subscribe('r', { qos: 1 });
    await publisher.publishAcked('r', 'marker');
    expect(await late.payloads(1)).toEqual(['marker']);
  });

  it('more than the window and the socket hold come one after the other', async () => {
    await using small = await MqttRig.start({ limits: { windowMax: 4, socketBytesMax: 4096 } });
    const source = await small.connect({ clientId: 'p' });
    const count = 60;
    for (let at = 0; at < count; at++) {
      await source.publishAcked(`r/${at}`, `${at}`.padEnd(300), { retain: true });
    }
    for (const qos of [0, 1, 2] as const) {
      const client = await small.connect({ clientId: `c${qos}` });
      await client.subscribe('r/#', { qos });
      const got = new Set(await client.payloads(count));
      expect(got.size).toBe(count);
    }
  });

  it('come behind the SUBACK', async () => {
    await publisher.publishAcked('r', 'kept', { retain: true });
    const client = await rig.connect({ clientId: 'c' });
    const subscriptions = [{ topic: 'r', qos: 1 as const }];
    client.send({ cmd: 'subscribe', messageId: 3, subscriptions });
    expect((await client.receive()).cmd).toBe('suback');
    expect((await client.receive()).cmd).toBe('publish');
  });

  it.each([1, 2] as const)(
    'that a durable client had not got when its connection was lost come at the next one, QoS %i',
    async (qos) => {
      const count = 45;
      for (let at = 0; at < count; at++) {
        await publisher.publishAcked(`r/${at}`, `${at}`, { retain: true, qos });
      }
      const properties = { sessionExpiryInterval: 1000, receiveMaximum: 8 };
      /** What was sent for the first time, and what again. */
      const first: string[] = [];
      const again: string[] = [];
      const take = ({ dup, payload, retain }: IPublishPacket): void => {
        expect(retain).toBe(true);
        (dup ? again : first).push(String(payload));
      };
      const client = await rig.connect({ clientId: 'c', properties });
      client.onPublish = (packet) => {
        take(packet);
        if (first.length === 12) client.answers = 'none';
      };
      await client.subscribe('r/#', { qos });
      await until(() => first.length > 15);
      await client.destroy();
      await until(() => !rig.sessions.session('c').isConnected);
      expect([...rig.sessions.session('c').replays.keys()]).toEqual(['r/#']);
      // Wherever it comes back.
      const other = await rig.startServer();
      const back = await rig.connect({ clientId: 'c', clean: false, properties }, other);
      back.onPublish = take;
      await until(() => first.length === count);
      expect(new Set(first).size).toBe(count);
      expect(again.length).toBeLessThanOrEqual(8);
      await until(() => rig.sessions.session('c').replays.size === 0);
      expect(await back.untilPong()).toEqual([]);
      expect(first).toHaveLength(count);
    },
  );

  it('whose coordinator cannot be reached come when it can', async () => {
    await publisher.publishAcked('r', 'kept', { retain: true });
    let isAway = true;
    rig.retained.onLookup = () => {
      if (!isAway) return;
      isAway = false;
      throw new OperatingError('UNAVAILABLE', 'nobody owns it');
    };
    const client = await rig.connect({ clientId: 'c' });
    await client.subscribe('r', { qos: 1 });
    expect(await client.payloads(1)).toEqual(['kept']);
  });

  it('stop with the subscription', async () => {
    const count = 30;
    for (let at = 0; at < count; at++) {
      await publisher.publishAcked(`r/${at}`, `${at}`, { retain: true });
    }
    const client = await rig.connect({ clientId: 'c', properties: { receiveMaximum: 1 } });
    client.answers = 'none';
    await client.subscribe('r/#', { qos: 1 });
    const { messageId = 0 } = await client.expect('publish');
    client.send({ cmd: 'unsubscribe', messageId: 9, unsubscriptions: ['r/#'] });
    await client.expect('unsuback');
    client.answers = 'all';
    client.send({ cmd: 'puback', messageId });
    expect(await client.untilPong()).toEqual([]);
    expect(await client.untilPong()).toEqual([]);
  });
});

describe('subscribing at now', () => {
  it('gives nothing that was acknowledged before and misses nothing published after', async () => {
    await using rig = await MqttRig.start();
    const publisher = await rig.connect({ clientId: 'p', properties: { receiveMaximum: 100 } });
    const reader = await rig.connect({ clientId: 'r' });
    await reader.subscribe('#', { qos: 0 });
    reader.onPublish = () => {};
    let next = 0;
    const acked = new Set<number>();
    const over = new AbortController();
    const publishing = (async () => {
      const under: Promise<unknown>[] = [];
      while (!over.signal.aborted) {
        const number = next++;
        const name = `t/${number % 7}`;
        under.push(publisher.publishAcked(name, `${number}`).then(() => acked.add(number)));
        if (under.length >= 50) await under.shift();
        if (number % 5 === 0) await new Promise((resolve) => setImmediate(resolve));
      }
      await Promise.all(under);
    })();
    for (let round = 0; round < 30; round++) {
      const client = await rig.connect({ clientId: `c${round}`, properties: keep });
      // Some partitions have readers, some sessions have subscriptions there already.
      if (round % 3 === 0) await client.subscribe('other/#', { qos: 1 });
      const ackedBefore = new Set(acked);
      await client.subscribe('t/+', { qos: 1 });
      const from = next;
      await until(() => next > from + 60);
      const to = next;
      const seen = new Set<number>();
      while (!range(from, to).every((number) => seen.has(number))) {
        const [payload] = await client.payloads(1);
        const number = Number(payload);
        expect(ackedBefore.has(number), `${number} was acknowledged before`).toBe(false);
        expect(seen.has(number), `${number} twice`).toBe(false);
        seen.add(number);
      }
      await client.destroy();
    }
    over.abort();
    await publishing;
  });

  it('with retained messages: every name once or more, the last value last', async () => {
    await using rig = await MqttRig.start();
    const publisher = await rig.connect({ clientId: 'p' });
    const over = new AbortController();
    let next = 0;
    const publishing = (async () => {
      while (!over.signal.aborted) {
        for (let at = 0; at < 10; at++) {
          await publisher.publishAcked(`r/${at}`, `${next}`, { retain: true });
        }
        next++;
      }
    })();
    await until(() => next > 3);
    for (let round = 0; round < 15; round++) {
      const client = await rig.connect({ clientId: `c${round}` });
      await client.subscribe('other', { qos: 1 });
      const before = next - 1;
      const last = new Map<string, number>();
      await client.subscribe('r/#', { qos: 1 });
      const until10 = next + 3;
      while ([...last.values()].filter((value) => value >= until10).length < 10) {
        const { topic, payload, retain } = await client.expect('publish');
        const value = Number(payload);
        // Not before what was retained when SUBSCRIBE was sent; never backwards; no step left out.
        const known = last.get(topic);
        if (known === undefined) expect(value).toBeGreaterThanOrEqual(before);
        else if (!retain) expect([known, known + 1]).toContain(value);
        last.set(topic, Math.max(value, known ?? -1));
      }
      await client.destroy();
    }
    over.abort();
    await publishing;
  });
});

function range(from: number, to: number): number[] {
  return Array.from({ length: to - from }, (_, at) => from + at);
}
