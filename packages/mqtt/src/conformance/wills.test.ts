import type { RawMqttClient } from '@robustmq/testkit';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import { packet, properties } from '../codec/test-packets.ts';
import type { WillToStore } from '../session/session-gateway.ts';
import { MqttRig } from '../server/mqtt-rig.fixture.ts';
import { until } from '../server/until.fixture.ts';

let rig: MqttRig;
let watcher: RawMqttClient;
beforeAll(async () => {
  rig = await MqttRig.start();
  watcher = await rig.connect({ clientId: 'watcher' });
  await watcher.subscribe('will/#', { qos: 2, rap: true });
});
afterAll(() => rig[Symbol.asyncDispose]());

const willOf = (
  topic: string,
  retain = false,
): { topic: string; payload: Buffer; qos: 1; retain: boolean } => ({
  topic,
  payload: Buffer.from('gone'),
  qos: 1,
  retain,
});

/** The will that its session has kept for a client that was lost. */
async function willOfLost(client: RawMqttClient, clientId: string): Promise<WillToStore> {
  await client.destroy();
  const found = (): WillToStore | undefined =>
    rig.sessions.wills.find((one) => one.clientId === clientId)?.will;
  await until(() => found() !== undefined);
  const will = found();
  if (will === undefined) throw new Error('no will');
  return will;
}

describe('a will', () => {
  it.each([4, 5] as const)(
    '[MQTT5-3.1.2-7, MQTT-3.1.2-8] is kept with the session and due when the connection is lost, version %i',
    async (version) => {
      const clientId = `lost-${version}`;
      const client = await rig.connect({ version, clientId, will: willOf('will/lost') });
      expect(rig.sessions.session(clientId).will).toMatchObject({ topic: 'will/lost' });
      const will = await willOfLost(client, clientId);
      await rig.publishWill(will);
      const got = await watcher.expect('publish');
      expect([got.topic, String(got.payload), got.qos]).toEqual(['will/lost', 'gone', 1]);
    },
  );

  it.each([
    { version: 4, retain: false },
    { version: 4, retain: true },
    { version: 5, retain: false },
    { version: 5, retain: true },
  ] as const)(
    '[MQTT5-3.1.2-14, -3.1.2-15, MQTT-3.1.2-16, -3.1.2-17] is retained as it says: $retain, version $version',
    async ({ version, retain }) => {
      const clientId = `retained-${version}-${retain}`;
      const topic = `will/${clientId}`;
      const client = await rig.connect({ version, clientId, will: willOf(topic, retain) });
      await rig.publishWill(await willOfLost(client, clientId));
      expect(await watcher.expect('publish')).toMatchObject({ topic, retain });
      const late = await rig.connect({ clientId: 'late-will' });
      await late.subscribe(topic, { qos: 1 });
      await late.publishAcked(topic, 'marker');
      await watcher.payloads(1);
      const [first] = await late.payloads(1);
      expect(first).toBe(retain ? 'gone' : 'marker');
      await late.destroy();
    },
  );

  it.each([4, 5] as const)(
    '[MQTT5-3.14.4-3, MQTT-3.14.4-3, -3.1.2-10] is gone with an orderly DISCONNECT, version %i',
    async (version) => {
      const clientId = `orderly-${version}`;
      const client = await rig.connect({ version, clientId, will: willOf('will/orderly') });
      await client.disconnect();
      await until(() => !rig.sessions.sessions.has(clientId));
      expect(rig.sessions.wills.some((one) => one.clientId === clientId)).toBe(false);
    },
  );

  it.each([4, 5] as const)(
    '[MQTT-3.1.2-12] is not there for a client that has set none, version %i',
    async (version) => {
      const clientId = `none-${version}`;
      const client = await rig.connect({ version, clientId });
      await client.destroy();
      await until(() => rig.sessions.ends.some((one) => one.clientId === clientId));
      expect(rig.sessions.wills.some((one) => one.clientId === clientId)).toBe(false);
    },
  );

  it('[MQTT5-3.1.3-10, -3.1.2-8] is published with its properties, user properties in order, and without the delay', async () => {
    const own = properties(
      [0x01, 1],
      [0x03, 'text/plain'],
      [0x08, 'will/answers'],
      [0x09, 'corr'],
      [0x26, 'b', '1'],
      [0x26, 'a', '2'],
      [0x26, 'b', ''],
    );
    const delay = Buffer.of(0x18, 0, 0, 0, 0);
    const sent = Buffer.concat([Buffer.of(own.length - 1 + delay.length), own.subarray(1), delay]);
    const client = await rig.open(5);
    client.write(
      packet(0x10, 'MQTT', 5, 0x0e, 0, 0, 0, 'properties', sent, 'will/properties', 'gone'),
    );
    await client.expect('connack');
    const before = watcher.chunks.length;
    await rig.publishWill(await willOfLost(client, 'properties'));
    await watcher.expect('publish');
    // Byte for byte, with a length that leaves no room for the delay.
    expect(Buffer.concat(watcher.chunks.slice(before)).includes(own)).toBe(true);
  });
});
