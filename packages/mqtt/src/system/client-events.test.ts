import { type RawMqttClient, VirtualClock } from '@robustmq/testkit';
import { afterEach, describe, expect, it } from 'vitest';

import { MqttRig } from '../server/mqtt-rig.fixture.ts';
import { clientEventKinds } from './client-events.ts';

let rig: MqttRig;
afterEach(() => rig[Symbol.asyncDispose]());

const clients = '$SYS/brokers/broker-1/clients';

async function event(client: RawMqttClient): Promise<[string, Record<string, unknown>]> {
  const { topic, payload } = await client.pick('publish');
  return [topic, JSON.parse(String(payload)) as Record<string, unknown>];
}

describe('events of clients', () => {
  it('tell who comes and who goes, why and by whom', async () => {
    rig = await MqttRig.start();
    const operator = await rig.connect({ clientId: 'operator' });
    await operator.subscribe('$SYS/brokers/+/clients/#');
    const device = await rig.connect({ clientId: 'line/1', version: 4, username: 'ada' });
    const [topic, body] = await event(operator);
    expect(topic).toBe(`${clients}/line%2F1/connected`);
    expect(body).toMatchObject({
      clientid: 'line/1',
      username: 'ada',
      ipaddress: '127.0.0.1',
      listener: 'mqtt',
      proto_ver: 4,
      clean_start: true,
      session_present: false,
      node: 'broker-1',
    });
    await device.disconnect();
    expect(await event(operator)).toMatchObject([
      `${clients}/line%2F1/disconnected`,
      { reason: 'normal', reason_code: 0, by: 'client' },
    ]);
    const second = await rig.connect({ clientId: 'second' });
    await event(operator);
    await second.destroy();
    expect((await event(operator))[1]).toMatchObject({
      reason: 'connection lost',
      reason_code: null,
      by: 'network',
    });
    await rig.connect({ clientId: 'third' });
    await event(operator);
    rig.server.kick('third');
    expect((await event(operator))[1]).toMatchObject({
      reason: 'administrative action',
      reason_code: 0x98,
      by: 'broker',
    });
  });

  it('tell subscriptions only if they are asked for by option', async () => {
    rig = await MqttRig.start({ observation: { events: ['subscribed', 'unsubscribed'] } });
    const operator = await rig.connect({ clientId: 'operator' });
    await operator.subscribe(`${clients}/device/+`);
    const device = await rig.connect({ clientId: 'device' });
    await device.subscribe('a/+', { qos: 1, nl: true, id: 7 });
    expect(await event(operator)).toMatchObject([
      `${clients}/device/subscribed`,
      { topic: 'a/+', subopts: { qos: 1, nl: true, rap: false, rh: 0, subscription_id: 7 } },
    ]);
    device.send({ cmd: 'unsubscribe', messageId: 9, unsubscriptions: ['a/+', 'not/there'] });
    await device.pick('unsuback');
    expect(await event(operator)).toMatchObject([
      `${clients}/device/unsubscribed`,
      { topic: 'a/+' },
    ]);
    expect(await operator.untilPong()).toEqual([]);
  });

  it('are bounded in a second, and what is left out is counted', async () => {
    rig = await MqttRig.start({ observation: { events: ['subscribed'] } });
    const operator = await rig.connect({ clientId: 'operator' });
    let got = 0;
    operator.onPublish = () => got++;
    await operator.subscribe(`${clients}/device/subscribed`);
    const device = await rig.connect({ clientId: 'device' });
    const subscriptions = Array.from({ length: 4_000 }, (_, at) => ({
      topic: `many/${at}`,
      qos: 0 as const,
      nl: false,
      rap: false,
      rh: 0,
    }));
    device.send({ cmd: 'subscribe', messageId: 1, subscriptions });
    await device.pick('suback');
    await operator.untilPong();
    expect(got).toBeGreaterThanOrEqual(1_000);
    expect(rig.server.eventsDropped).toBe(4_000 - got);
  });

  it('sum up what a client did not get', async () => {
    const clock = new VirtualClock(Date.now());
    rig = await MqttRig.start({ clock, observation: { events: clientEventKinds } });
    const operator = await rig.connect({ clientId: 'operator' });
    await operator.subscribe(`${clients}/small/dropped`);
    const small = await rig.connect({ clientId: 'small', properties: { maximumPacketSize: 60 } });
    await small.subscribe('a');
    for (let at = 0; at < 3; at++) await operator.publishAcked('a', 'x'.repeat(100));
    await small.untilPong();
    await clock.advance(10_000);
    expect(await event(operator)).toMatchObject([
      `${clients}/small/dropped`,
      { clientid: 'small', reason: 'too_large', count: 3 },
    ]);
  });
});
