import { OperatingError } from '@robustmq/core';
import type { RawMqttClient } from '@robustmq/testkit';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import { packet } from '../codec/test-packets.ts';
import { MqttRig } from '../server/mqtt-rig.fixture.ts';

let rig: MqttRig;
beforeAll(async () => {
  rig = await MqttRig.start({ limits: { subscriptionsMax: 3 } });
});
afterAll(() => rig[Symbol.asyncDispose]());

const reserved = { userProperties: { 'mqtt.publisher': 'somebody' } };

/** How a client gets a refusal, and what then says why. */
const refusals: readonly [
  title: string,
  reasonCode: number,
  refused: (client: RawMqttClient) => Promise<unknown>,
][] = [
  [
    '[MQTT5-3.4.2-2] PUBACK',
    0x83,
    (client) => {
      client.publish('x', 'x', { qos: 1, properties: reserved });
      return client.expect('puback');
    },
  ],
  [
    '[MQTT5-3.5.2-2] PUBREC',
    0x83,
    (client) => {
      client.publish('x', 'x', { qos: 2, properties: reserved });
      return client.expect('pubrec');
    },
  ],
  [
    '[MQTT5-3.9.2-1] SUBACK',
    0x97,
    async (client) => {
      for (const filter of ['a', 'b', 'c']) await client.subscribe(filter);
      client.send({
        cmd: 'subscribe',
        messageId: 9,
        subscriptions: [{ topic: 'd', qos: 0, nl: false, rap: false, rh: 0 }],
      });
      const { granted, properties } = await client.expect('suback');
      return { reasonCode: granted[0], properties };
    },
  ],
];

describe('a refusal', () => {
  it.each(refusals)('%s says why', async (_title, reasonCode, refused) => {
    const client = await rig.connect({ clientId: 'curious' });
    expect(await refused(client)).toMatchObject({
      reasonCode,
      properties: { reasonString: expect.stringMatching(/./) },
    });
  });

  it.each(refusals)(
    '[MQTT5-3.1.2-29] %s does not say why to who does not want it',
    async (_title, reasonCode, refused) => {
      const own = { requestProblemInformation: false };
      const client = await rig.connect({ clientId: 'incurious', properties: own });
      const got = await refused(client);
      expect(got).toMatchObject({ reasonCode });
      expect((got as { properties?: object }).properties ?? {}).not.toHaveProperty('reasonString');
    },
  );

  it.each(refusals)(
    '%s does not say why where that would be too large',
    async (_title, reasonCode, refused) => {
      const own = { maximumPacketSize: 24 };
      const client = await rig.connect({ clientId: 'narrow', properties: own });
      const got = await refused(client);
      expect(got).toMatchObject({ reasonCode });
      expect((got as { properties?: object }).properties ?? {}).not.toHaveProperty('reasonString');
      for (const { length } of client.chunks) expect(length).toBeLessThanOrEqual(24);
    },
  );

  it('is the code alone where that says it', async () => {
    const client = await rig.connect({ clientId: 'plain' });
    const before = client.chunks.length;
    client.publish('$SYS/x', 'x', { qos: 1, messageId: 7 });
    await client.expect('puback');
    expect(Buffer.concat(client.chunks.slice(before))).toEqual(packet(0x40, 0, 7, 0x90));
  });

  it('names no address and no shard of the cluster', async () => {
    const client = await rig.connect({ clientId: 'outsider' });
    rig.journal.fake.fault = () => new OperatingError('BATCH_TOO_LARGE', 'shard 7 at 10.0.0.1');
    client.publish('inside', 'x', { qos: 1 });
    const { properties } = await client.expect('puback');
    rig.journal.fake.fault = () => undefined;
    expect(properties?.reasonString).toBe('the message was not stored: BATCH_TOO_LARGE');
  });
});

describe('the end of a connection', () => {
  it.each([
    { maximumPacketSize: 1000, explained: true },
    { maximumPacketSize: 20, explained: false },
  ])('[MQTT5-3.14.2-3] says why if that fits: $maximumPacketSize', async (row) => {
    const { maximumPacketSize, explained } = row;
    const own = { maximumPacketSize };
    const client = await rig.connect({ clientId: 'ending', properties: own });
    client.sendConnect({ clientId: 'ending' });
    const { reasonCode, properties } = await client.expect('disconnect');
    expect([reasonCode, properties?.reasonString !== undefined]).toEqual([0x82, explained]);
  });

  it.each(['subscribe', 'unsubscribe'] as const)(
    '[MQTT5-3.1.2-24] an answer to %s that is larger than the client takes is not sent',
    async (cmd) => {
      const own = { maximumPacketSize: 24 };
      const client = await rig.connect({ clientId: 'many', properties: own });
      const filters = Array.from({ length: 30 }, (_, at) => `many/${at}`);
      const options = { qos: 0, nl: false, rap: false, rh: 0 } as const;
      if (cmd === 'unsubscribe') {
        client.send({ cmd, messageId: 1, unsubscriptions: filters });
      } else {
        const subscriptions = filters.map((topic) => ({ topic, ...options }));
        client.send({ cmd, messageId: 1, subscriptions });
      }
      expect(await client.expect('disconnect')).toMatchObject({ reasonCode: 0x95 });
      await client.closed;
      for (const { length } of client.chunks) expect(length).toBeLessThanOrEqual(24);
    },
  );
});
