import { VirtualClock } from '@robustmq/testkit';
import { afterEach, describe, expect, it } from 'vitest';

import { mqttMetrics } from '../server/mqtt-metrics.ts';
import { MqttRig } from '../server/mqtt-rig.fixture.ts';

let rig: MqttRig;
afterEach(() => rig[Symbol.asyncDispose]());

describe('a client that takes its messages late', () => {
  it('is slow by the time that it was connected, not by the time before', async () => {
    const clock = new VirtualClock(Date.now());
    rig = await MqttRig.start({ clock });
    const keeps = { clean: false, properties: { sessionExpiryInterval: 100, receiveMaximum: 1 } };
    const first = await rig.connect({ clientId: 'slow', ...keeps });
    await first.subscribe('a', { qos: 1 });
    await first.disconnect();
    await first.closed;
    const publisher = await rig.connect({ clientId: 'publisher' });
    for (const payload of ['1', '2']) await publisher.publishAcked('a', payload);
    clock.jumpWall(3_600_000);
    const again = await rig.connect({ clientId: 'slow', ...keeps });
    again.answers = 'none';
    const one = await again.pick('publish');
    // It waited for an hour, but nobody was there.
    expect(rig.server.slowClients.slowest(10).map(({ waitedMs }) => waitedMs)).toEqual([0]);
    clock.jumpWall(2_000);
    again.send({ cmd: 'puback', messageId: one.messageId ?? 0 });
    await again.pick('publish');
    expect(rig.server.slowClients.slowest(10)).toMatchObject([
      { clientId: 'slow', waitedMs: 2_000, topic: 'a' },
    ]);
    expect(value('robustmq_mqtt_slow_clients')).toEqual([1]);
  });
});

describe('topic metrics', () => {
  it('count messages and payloads in, out and dropped by filter', async () => {
    rig = await MqttRig.start({ observation: { topicMetrics: ['a/#', 'a/b', 'never'] } });
    const small = await rig.connect({ clientId: 'small', properties: { maximumPacketSize: 40 } });
    const other = await rig.connect({ clientId: 'other' });
    await small.subscribe('a/#');
    await other.subscribe('#', { qos: 2 });
    await other.publishAcked('a/b', 'x'.repeat(10));
    await other.publishAcked('a/c', 'x'.repeat(100));
    await other.publishAcked('elsewhere', 'x'.repeat(1_000));
    for (let at = 0; at < 3; at++) await other.pick('publish');
    await small.pick('publish');
    expect(value('robustmq_mqtt_topic_messages_total')).toEqual([2, 3, 1, 1, 2, 0, 0, 0, 0]);
    expect(value('robustmq_mqtt_topic_payload_bytes_total')).toEqual([
      110, 120, 100, 10, 20, 0, 0, 0, 0,
    ]);
  });
});

function value(name: string): number[] {
  const family = mqttMetrics(rig.server).find((one) => one.name === name);
  return (family?.read() ?? []).map((one) => one.value);
}
