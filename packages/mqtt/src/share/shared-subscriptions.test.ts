import type { IPublishPacket } from 'mqtt-packet';
import { systemClock } from '@robustmq/core';
import type { ShareStrategy } from '@robustmq/kernel';
import type { RawMqttClient } from '@robustmq/testkit';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import { MqttRig, type MqttRigOptions } from '../server/mqtt-rig.fixture.ts';
import { until } from '../server/until.fixture.ts';

const keep = { sessionExpiryInterval: 1000 };

/** A client that notes what it gets and acknowledges it. */
interface Member {
  readonly client: RawMqttClient;
  readonly got: IPublishPacket[];
}

describe('shared subscriptions', () => {
  let rig: MqttRig;
  let publisher: RawMqttClient;
  const start = async (options: MqttRigOptions = {}): Promise<void> => {
    rig = await MqttRig.start(options);
    publisher = await rig.connect({ clientId: 'publisher' });
  };
  const member = async (
    clientId: string,
    filter = '$share/g/a/#',
    options: {
      qos?: 0 | 1 | 2;
      id?: number;
      fields?: Parameters<MqttRig['connect']>[0];
      server?: Parameters<MqttRig['connect']>[1];
    } = {},
  ): Promise<Member> => {
    const { qos = 1, id, fields = {}, server } = options;
    const client = await rig.connect({ clientId, ...fields }, server);
    const got: IPublishPacket[] = [];
    client.onPublish = (packet) => got.push(packet);
    expect(await client.subscribe(filter, { qos, ...(id !== undefined && { id }) })).toBe(qos);
    return { client, got };
  };
  const payloads = (members: readonly Member[]): string[] =>
    members.flatMap(({ got }) => got.map(({ payload }) => String(payload)));
  const publish = async (count: number, topic = 'a/b', from = 0): Promise<string[]> => {
    const texts = Array.from({ length: count }, (_, i) => `${from + i}`);
    await Promise.all(texts.map((text) => publisher.publishAcked(topic, text)));
    return texts;
  };
  const sorted = (texts: readonly string[]): string[] =>
    texts.toSorted((a, b) => Number(a) - Number(b));
  afterEach(() => rig[Symbol.asyncDispose]());

  describe('of clients of one broker', () => {
    beforeEach(() => start());

    it('[MQTT5-4.8.2] each message comes to one of them, to each its share', async () => {
      const members = [
        await member('m1'),
        await member('m2', '$share/g/a/#', { fields: { version: 4 } }),
      ];
      const texts = await publish(20);
      await until(() => payloads(members).length >= 20);
      expect(sorted(payloads(members))).toEqual(texts);
      expect(members.map(({ got }) => got.length)).toEqual([10, 10]);
    });

    it('[MQTT5-4.8.2-1] another name, or another filter, is another group, and an ordinary one gets all', async () => {
      const groups = [
        await member('m1', '$share/g/a/b'),
        await member('m2', '$share/h/a/b'),
        await member('m3', '$share/g/a/+'),
        await member('m4', 'a/b'),
      ];
      const texts = await publish(5);
      await until(() => payloads(groups).length >= 20);
      for (const one of groups) expect(sorted(payloads([one]))).toEqual(texts);
    });

    it('one client with a shared and an ordinary subscription gets both copies, with its identifiers', async () => {
      const { client, got } = await member('m', '$share/g/a/b', { id: 7 });
      await client.subscribe('a/b', { qos: 0, id: 9 });
      await publish(1);
      await until(() => got.length >= 2);
      const seen = got.map(({ qos, properties }) => [qos, properties?.subscriptionIdentifier]);
      expect(seen.toSorted((a, b) => Number(a[0]) - Number(b[0]))).toEqual([
        [0, 9],
        [1, 7],
      ]);
    });

    it('[MQTT5-3.8.4-8, -4.8.2-3] the lower QoS holds, whatever the others in the group take', async () => {
      const low = await member('low', '$share/g/a/#', { qos: 0 });
      const high = await member('high', '$share/g/a/#', { qos: 2 });
      await publish(10);
      await until(() => payloads([low, high]).length >= 10);
      expect(new Set(low.got.map(({ qos }) => qos))).toEqual(new Set([0]));
      expect(new Set(high.got.map(({ qos }) => qos))).toEqual(new Set([1]));
    });

    it('[MQTT5-4.8.2] no retained messages are sent for it, and nothing of before', async () => {
      await publisher.publishAcked('a/r', 'retained', { retain: true });
      const { client, got } = await member('m');
      await client.untilPong();
      await publish(1);
      await until(() => got.length >= 1);
      expect(got.map(({ payload }) => String(payload))).toEqual(['0']);
    });

    it('[MQTT5-3.8.4-3] a second SUBSCRIBE replaces the options', async () => {
      const { client, got } = await member('m', '$share/g/a/#', { qos: 0 });
      expect(await client.subscribe('$share/g/a/#', { qos: 1, id: 3 })).toBe(1);
      await publish(2);
      await until(() => got.length >= 2);
      for (const packet of got) {
        expect([packet.qos, packet.properties?.subscriptionIdentifier]).toEqual([1, 3]);
      }
    });

    it('[MQTT5-3.10.4-1] after an UNSUBSCRIBE the others get everything', async () => {
      const gone = await member('m1');
      const stays = await member('m2');
      gone.client.send({
        cmd: 'unsubscribe',
        messageId: 9,
        unsubscriptions: ['$share/g/a/#', '$share/g/a'],
      });
      expect((await gone.client.pick('unsuback', 9)).granted).toEqual([0, 0x11]);
      const texts = await publish(6);
      await until(() => stays.got.length >= 6);
      expect(sorted(payloads([stays]))).toEqual(texts);
      expect(gone.got).toEqual([]);
    });

    it('[MQTT5-3.3.4-9] Receive Maximum is respected, and who is slow holds up nobody', async () => {
      const fields = { properties: { receiveMaximum: 2 } };
      const slow = await member('slow', '$share/g/a/#', { fields });
      slow.client.answers = 'none';
      const quick = await member('quick');
      await publish(40);
      await until(() => quick.got.length >= 38);
      await slow.client.untilPong();
      expect([slow.got.length, quick.got.length]).toEqual([2, 38]);
    });

    it('[MQTT5-4.8.2-6] a message that a client refuses is nobody else’s', async () => {
      const one = await member('m1', '$share/g/a/#', { qos: 2 });
      one.client.answers = 'none';
      const packets = one.got;
      publisher.publish('a/x', 'one', { qos: 1 });
      publisher.publish('a/x', 'two', { qos: 2 });
      publisher.answers = 'all';
      await publisher.pick('pubrec');
      publisher.send({ cmd: 'pubrel', messageId: 2 });
      await until(() => packets.length >= 2);
      for (const { qos, messageId = 0 } of packets) {
        if (qos === 1) one.client.send({ cmd: 'puback', messageId, reasonCode: 0x80 });
        else one.client.send({ cmd: 'pubrec', messageId, reasonCode: 0x80 });
      }
      await one.client.untilPong();
      const other = await member('m2');
      await one.client.destroy();
      await publisher.publishAcked('a/x', 'three');
      await until(() => other.got.length >= 1);
      expect(payloads([other])).toEqual(['three']);
    });

    it('400 clients take all of it', async () => {
      const members = await Promise.all(
        Array.from({ length: 400 }, (_, i) =>
          member(`m${i}`, '$share/g/a/#', { qos: i % 2 === 0 ? 1 : 0 }),
        ),
      );
      const texts: string[] = [];
      while (texts.length < 4000) texts.push(...(await publish(500, 'a/b', texts.length)));
      await until(() => payloads(members).length >= 4000);
      expect(sorted(payloads(members))).toEqual(sorted(texts));
      const counts = members.map(({ got }) => got.length);
      expect([Math.min(...counts), Math.max(...counts)]).toEqual([10, 10]);
    });
  });

  describe('when a client goes', () => {
    beforeEach(() => start());

    it('what it has not acknowledged goes to the others at once', async () => {
      const gone = await member('m1');
      gone.client.answers = 'none';
      const stays = await member('m2');
      const texts = await publish(10);
      await until(() => gone.got.length >= 5 && stays.got.length >= 5);
      await gone.client.destroy();
      await until(() => stays.got.length >= 10);
      expect(sorted(payloads([stays]))).toEqual(texts);
    });

    it('the same goes for a session that is kept: what is new waits only if nobody is there', async () => {
      const fields = { properties: keep };
      const one = await member('m1', '$share/g/a/#', { fields });
      one.client.answers = 'none';
      const other = await member('m2', '$share/g/a/#', { fields });
      await publish(4);
      await until(() => one.got.length >= 2 && other.got.length >= 2);
      await one.client.destroy();
      await until(() => other.got.length >= 4);
      await other.client.destroy();
      const texts = await publish(6, 'a/b', 10);
      const back = await rig.connect({ clientId: 'm1', clean: false, properties: keep });
      expect(sorted(await back.payloads(6))).toEqual(texts);
      expect(await back.untilPong()).toEqual([]);
    });

    it('a group whose last session has ended begins at now', async () => {
      const fields = { properties: keep };
      const one = await member('m1', '$share/g/a/#', { fields });
      await one.client.destroy();
      await publish(3);
      const { epoch } = rig.sessions.session('m1');
      rig.sessions.expire('m1');
      await rig.shares.endMember({ groupId: 'mqtt:g/a/#', key: 'm1', epoch });
      const two = await member('m2');
      await publish(1, 'a/b', 9);
      await until(() => two.got.length >= 1);
      expect(payloads([two])).toEqual(['9']);
    });

    it('what expires while nobody is there is not delivered [MQTT5-3.3.2-5, -3.3.2-6]', async () => {
      await rig[Symbol.asyncDispose]();
      let laterMs = 0;
      const clock = systemClock();
      await start({ clock: { ...clock, wallMs: () => clock.wallMs() + laterMs } });
      const gone = await member('m1', '$share/g/a/#', { fields: { properties: keep } });
      await gone.client.destroy();
      await publisher.publishAcked('a/x', 'short', { properties: { messageExpiryInterval: 5 } });
      await publisher.publishAcked('a/x', 'long', { properties: { messageExpiryInterval: 1000 } });
      laterMs = 10_000;
      const back = await rig.connect({ clientId: 'm1', clean: false, properties: keep });
      const packet = await back.expect('publish');
      expect(String(packet.payload)).toBe('long');
      expect(packet.properties?.messageExpiryInterval).toBe(990);
      expect(await back.untilPong()).toEqual([]);
    });

    it('QoS 0 of the time without anybody is not kept', async () => {
      const one = await member('m1', '$share/g/a/#', { fields: { properties: keep } });
      await one.client.destroy();
      publisher.publish('a/x', 'once');
      await publisher.publishAcked('a/x', 'kept');
      const back = await rig.connect({ clientId: 'm1', clean: false, properties: keep });
      expect(await back.payloads(1)).toEqual(['kept']);
      expect(await back.untilPong()).toEqual([]);
    });
  });

  describe('a client that does not acknowledge', () => {
    it('gives its messages to others after a time, and keeps its room taken', async () => {
      await start({ acquisitionMs: 300 });
      const silent = await member('silent', '$share/g/a/#', {
        fields: { properties: { receiveMaximum: 3 } },
      });
      silent.client.answers = 'none';
      const other = await member('other');
      const texts = await publish(12);
      await until(() => other.got.length >= 12);
      expect(sorted(payloads([other]))).toEqual(texts);
      expect(silent.got).toHaveLength(3);
    });

    it('keeps them while there is nobody else', async () => {
      await start({ acquisitionMs: 100 });
      const { client, got } = await member('m1');
      client.answers = 'none';
      await publish(2);
      await until(() => got.length >= 2);
      await publish(1, 'a/b', 5);
      await until(() => got.length >= 3);
      // Two more ticks of the coordinator.
      const since = performance.now();
      await until(() => performance.now() - since > 600);
      expect(got.map(({ dup, payload }) => [dup, String(payload)])).toEqual([
        [false, '0'],
        [false, '1'],
        [false, '5'],
      ]);
    });
  });

  describe('strategies', () => {
    const shareOf = async (
      strategy: ShareStrategy,
      names: readonly string[],
    ): Promise<string[][]> => {
      await start({ strategy });
      const members = [await member('m1'), await member('m2'), await member('m3')];
      const expected: string[] = [];
      for (const [i, name] of names.entries()) expected.push(...(await publish(1, name, i)));
      await until(() => payloads(members).length >= names.length);
      expect(sorted(payloads(members))).toEqual(expected);
      return members.map((one) => payloads([one]));
    };
    const same = Array.from({ length: 9 }, () => 'a/b');

    it('round-robin: each in turn', async () => {
      expect(await shareOf('round-robin', same)).toEqual([
        ['0', '3', '6'],
        ['1', '4', '7'],
        ['2', '5', '8'],
      ]);
    });

    it('sticky: one gets all', async () => {
      const shares = await shareOf('sticky', same);
      expect(shares.map((one) => one.length).toSorted((a, b) => a - b)).toEqual([0, 0, 9]);
    });

    it('hash-client: one for each publisher', async () => {
      const shares = await shareOf('hash-client', same);
      expect(shares.map((one) => one.length).toSorted((a, b) => a - b)).toEqual([0, 0, 9]);
    });

    it('hash-topic: one for each topic name', async () => {
      const names = Array.from({ length: 24 }, (_, i) => `a/${i % 8}`);
      const shares = await shareOf('hash-topic', names);
      const topicsOf = shares.map((one) => new Set(one.map((text) => Number(text) % 8)));
      expect(topicsOf.reduce((sum, { size }) => sum + size, 0)).toBe(8);
      expect(topicsOf.filter(({ size }) => size > 0).length).toBeGreaterThan(1);
    });

    it('random: all of it comes to somebody', async () => {
      const shares = await shareOf(
        'random',
        Array.from({ length: 60 }, () => 'a/b'),
      );
      for (const one of shares) expect(one.length).toBeGreaterThan(5);
    });

    it('local-first: clients of the broker that runs the group, others when those have no room', async () => {
      await start({ strategy: 'local-first' });
      const away = await member('away', '$share/g/a/#', { server: await rig.startServer() });
      const near = await member('near', '$share/g/a/#', {
        fields: { properties: { receiveMaximum: 5 } },
      });
      await publish(3);
      await until(() => near.got.length >= 3);
      expect(away.got).toEqual([]);
      near.client.answers = 'none';
      await publish(7);
      await until(() => away.got.length >= 2);
      expect([near.got.length, away.got.length]).toEqual([8, 2]);
    });
  });

  describe('of clients of two brokers', () => {
    it('are one group, wherever its coordinator runs', async () => {
      await start();
      const second = await rig.startServer();
      const members = [await member('m1'), await member('m2', '$share/g/a/#', { server: second })];
      const texts = await publish(20);
      await until(() => payloads(members).length >= 20);
      expect(sorted(payloads(members))).toEqual(texts);
      for (const { got } of members) expect(got.length).toBeGreaterThan(0);
    });

    it('when a broker dies, the others get what its clients had', async () => {
      await start();
      const second = await rig.startServer();
      const lost = await member('m1', '$share/g/a/#', { server: second });
      lost.client.answers = 'none';
      const stays = await member('m2');
      const texts = await publish(10);
      await until(() => lost.got.length + stays.got.length >= 10);
      await rig.shares.kill('broker-2');
      await until(() => stays.got.length >= 10);
      expect(sorted(payloads([stays]))).toEqual(texts);
    });

    it('when the coordinator moves, nothing is lost, and what clients have is not given again', async () => {
      await start();
      const second = await rig.startServer();
      const silent = await member('m1', '$share/g/a/#', { server: second });
      silent.client.answers = 'none';
      const members = [
        silent,
        await member('m2'),
        await member('m3', '$share/g/a/#', { server: second }),
      ];
      const first = await publish(9);
      await until(() => payloads(members).length >= 9);
      const held = payloads([silent]);
      expect(held.length).toBeGreaterThan(0);
      rig.shares.assign('broker-2');
      const then = await publish(30, 'a/b', 100);
      const all = [...first, ...then];
      await until(() => all.every((text) => payloads(members).includes(text)));
      // What the others had acknowledged a moment before may come again, but not what one still has.
      for (const text of [...held, ...then]) {
        expect(payloads(members).filter((one) => one === text)).toEqual([text]);
      }
      // And what it has it may still acknowledge.
      for (const { messageId = 0 } of silent.got) silent.client.send({ cmd: 'puback', messageId });
      await silent.client.untilPong();
      await silent.client.destroy();
      await publish(1, 'a/b', 500);
      await until(() => payloads(members).includes('500'));
      for (const text of held) {
        expect(payloads(members).filter((one) => one === text)).toEqual([text]);
      }
    });
  });

  describe('QoS 2', () => {
    const two = { qos: 2 as const };
    const publishTwo = async (text: string): Promise<void> => {
      const messageId = publisher.publish('a/x', text, { qos: 2 }) ?? 0;
      await publisher.pick('pubrec', messageId);
      publisher.send({ cmd: 'pubrel', messageId });
      await publisher.pick('pubcomp', messageId);
    };

    it('[MQTT5-4.8.2] each message comes once, to one of them', async () => {
      await start();
      const fields = { properties: keep };
      const members = [
        await member('m1', '$share/g/a/#', { ...two, fields }),
        await member('m2', '$share/g/a/#', two),
      ];
      for (let i = 0; i < 8; i++) await publishTwo(`${i}`);
      await until(() => payloads(members).length >= 8);
      expect(sorted(payloads(members))).toEqual(['0', '1', '2', '3', '4', '5', '6', '7']);
      for (const { got } of members) {
        expect(got).toHaveLength(4);
        expect(new Set(got.map(({ qos }) => qos))).toEqual(new Set([2]));
      }
      await until(() => rig.sessions.session('m1').window.length === 0);
    });

    it('[MQTT5-4.8.2-4] is finished with the same client when it comes back, also elsewhere', async () => {
      await start();
      const second = await rig.startServer();
      const one = await member('m1', '$share/g/a/#', { ...two, fields: { properties: keep } });
      one.client.answers = 'none';
      await publishTwo('first');
      await until(() => one.got.length >= 1);
      const [{ messageId = 0 } = {}] = one.got;
      const other = await member('m2', '$share/g/a/#', two);
      await one.client.destroy();
      rig.shares.assign('broker-2');
      await publishTwo('second');
      await until(() => other.got.length >= 1);
      const back = await rig.connect({ clientId: 'm1', clean: false, properties: keep }, second);
      const again = await back.expect('publish');
      expect([again.messageId, again.dup, String(again.payload)]).toEqual([
        messageId,
        true,
        'first',
      ]);
      expect(payloads([other])).toEqual(['second']);
      await until(() => rig.sessions.session('m1').window.length === 0);
      await back.destroy();
      await publishTwo('third');
      await until(() => other.got.length >= 2);
      expect(payloads([other])).toEqual(['second', 'third']);
    });

    it('[MQTT5-4.8.2-5] of a session that ends is nobody else’s', async () => {
      await start();
      const one = await member('m1', '$share/g/a/#', two);
      one.client.answers = 'none';
      await publishTwo('first');
      await until(() => one.got.length >= 1);
      const other = await member('m2', '$share/g/a/#', two);
      await one.client.destroy();
      await publishTwo('second');
      await until(() => other.got.length >= 1);
      rig.shares.assign('broker-1');
      await publishTwo('third');
      await until(() => other.got.length >= 2);
      expect(payloads([other])).toEqual(['second', 'third']);
    });
  });
});
