import { afterEach, describe, expect, it } from 'vitest';

import { MqttRig } from '../server/mqtt-rig.fixture.ts';

let rig: MqttRig;
afterEach(() => rig[Symbol.asyncDispose]());

describe('$SYS', () => {
  it('gives a new subscription all values at once, as retained messages', async () => {
    rig = await MqttRig.start({ observation: { sysIntervalMs: 600_000 } });
    const client = await rig.connect({ clientId: 'operator' });
    await client.subscribe('$SYS/broker/clients/#');
    await client.subscribe('$SYS/brokers/+/version');
    const got = new Map<string, string>();
    while (got.size < 4) {
      const { topic, payload, retain, qos } = await client.pick('publish');
      expect({ retain, qos }).toEqual({ retain: true, qos: 0 });
      got.set(topic, String(payload));
    }
    expect(Object.fromEntries(got)).toEqual({
      '$SYS/broker/clients/connected': '1',
      '$SYS/broker/clients/active': '1',
      '$SYS/broker/clients/maximum': '1',
      '$SYS/brokers/broker-1/version': '0.1.0',
    });
    await client.subscribe('$SYS/broker/version', { rh: 2 });
    expect(await client.untilPong()).toEqual([]);
  });

  it('sends values that have changed each interval, and nothing without an interval', async () => {
    rig = await MqttRig.start({ observation: { sysIntervalMs: 5 } });
    const client = await rig.connect({ clientId: 'operator' });
    await client.subscribe('$SYS/broker/publish/messages/received', { rh: 2 });
    const first = await client.pick('publish');
    expect({ text: String(first.payload), retain: first.retain }).toEqual({
      text: '0',
      retain: false,
    });
    await client.publishAcked('a', '1');
    await client.publishAcked('a', '2');
    const values: string[] = [];
    while (values.at(-1) !== '2') values.push(String((await client.pick('publish')).payload));
    // One that has not changed is not repeated.
    expect(new Set(values).size).toBe(values.length);
  });

  it('[MQTT5-4.7.2-1, MQTT-4.7.2-1] is not matched by a leading wildcard, and cannot be published to', async () => {
    rig = await MqttRig.start({ observation: { sysIntervalMs: 2 } });
    const client = await rig.connect({ clientId: 'curious' });
    await client.subscribe('#');
    await client.subscribe('+/broker/#');
    const other = await rig.connect({ clientId: 'operator' });
    await other.subscribe('$SYS/broker/uptime');
    await other.pick('publish');
    expect(await client.publishAcked('$SYS/broker/version', 'mine')).toBe(0x90);
    expect(await client.untilPong()).toEqual([]);
  });

  it('needs no partition, and is kept by a durable session', async () => {
    rig = await MqttRig.start({ observation: { sysIntervalMs: 5 } });
    const fields = { clientId: 'kept', clean: false, properties: { sessionExpiryInterval: 100 } };
    const first = await rig.connect(fields);
    rig.beforeEnd = () => {
      throw new Error('no partition is asked for its end');
    };
    expect(await first.subscribe('$SYS/broker/bytes/received', { qos: 1 })).toBe(1);
    await first.disconnect();
    await first.closed;
    const again = await rig.connect(fields);
    expect((await again.pick('publish')).topic).toBe('$SYS/broker/bytes/received');
  });
});
