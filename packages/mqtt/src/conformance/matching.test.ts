import type { RawMqttClient } from '@robustmq/testkit';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import { MqttRig } from '../server/mqtt-rig.fixture.ts';

let rig: MqttRig;
let publisher: RawMqttClient;
beforeAll(async () => {
  rig = await MqttRig.start();
  publisher = await rig.connect({ clientId: 'publisher' });
});
afterAll(() => rig[Symbol.asyncDispose]());

const versions = [4, 5] as const;

describe('filters', () => {
  it.each(versions)(
    '[MQTT5-4.7.2-1, MQTT-4.7.2-1] with a leading wildcard do not match names that begin with $, version %i',
    async (version) => {
      const client = await rig.connect({ version, clientId: 'dollar' });
      for (const filter of ['#', '+/own', '+/#']) await client.subscribe(filter, { qos: 1 });
      publisher.publish('$share/own', 'no', { qos: 1 });
      publisher.publish('$own/own', 'no', { qos: 1 });
      await publisher.publishAcked('a$/own', 'in the middle');
      expect(await client.payloads(1)).toEqual(['in the middle']);
      expect(await client.untilPong()).toEqual([]);
    },
  );

  it.each(versions)(
    '[MQTT5-4.7.3-4, MQTT-4.7.3-4] are compared as they are, version %i',
    async (version) => {
      const client = await rig.connect({ version, clientId: 'as-they-are' });
      // One character, and the same in two; case, spaces and empty levels count as well.
      const names = ['e\u0301', '\u00e9', 'E\u0301', 'e\u0301/', '/e\u0301', ' e\u0301', 'é//x'];
      for (const filter of names) {
        await client.subscribe(filter, { qos: 1 });
        for (const name of names) await publisher.publishAcked(name, name);
        expect((await client.expect('publish')).topic).toBe(filter);
        expect(await client.untilPong()).toEqual([]);
        client.send({ cmd: 'unsubscribe', messageId: 10, unsubscriptions: [filter] });
        await client.expect('unsuback');
      }
    },
  );

  it.each(versions)(
    '[MQTT5-4.7.1-1, -2, MQTT-4.7.1-2, -3] match as the specification lists, version %i',
    async (version) => {
      const client = await rig.connect({ version, clientId: 'lists' });
      const cases: Readonly<Record<string, readonly string[]>> = {
        'sport/#': ['sport', 'sport/', 'sport/a', 'sport/a/b', 'sport//b'],
        'sport/+': ['sport/', 'sport/a'],
        'sport/+/b': ['sport/a/b', 'sport//b'],
        '+/+': ['sport/', 'sport/a', '/sport'],
        '/+': ['/sport'],
      };
      const names = [
        'sport',
        'sport/',
        'sport/a',
        'sport/a/b',
        'sport//b',
        '/sport',
        'sports/a/b/c',
      ];
      for (const [filter, matching] of Object.entries(cases)) {
        await client.subscribe(filter, { qos: 1 });
        for (const name of names) await publisher.publishAcked(name, 'x');
        const got: string[] = [];
        while (got.length < matching.length) got.push((await client.expect('publish')).topic);
        expect(got.toSorted()).toEqual([...matching].toSorted());
        expect(await client.untilPong()).toEqual([]);
        client.send({ cmd: 'unsubscribe', messageId: 11, unsubscriptions: [filter] });
        await client.expect('unsuback');
      }
    },
  );
});
