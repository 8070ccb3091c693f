import { expect, it } from 'vitest';

import { Cluster } from '../harness/cluster.ts';
import { connectMqtt, Inbox } from './mqtt-client.ts';

it('a retained message reaches who subscribes later at the other broker, and an empty one clears it', async () => {
  await using cluster = await Cluster.start({ brokers: 2 });
  const one = cluster.mqtt('broker-1');
  const two = cluster.mqtt('broker-2');
  const publisher = await connectMqtt(one);
  await publisher.publishAsync('state/door', 'open', { qos: 1, retain: true });
  const late = await connectMqtt(two);
  const inbox = new Inbox(late);
  await late.subscribeAsync('state/#', { qos: 1 });
  const [message] = await inbox.waitFor(1);
  expect(message).toMatchObject({ topic: 'state/door', payload: 'open' });
  expect(message?.packet.retain).toBe(true);
  await publisher.publishAsync('state/door', '', { qos: 1, retain: true });
  await inbox.waitFor(2);

  const later = await connectMqtt(two);
  const second = new Inbox(later);
  await later.subscribeAsync('state/#', { qos: 1 });
  await publisher.publishAsync('state/marker', 'live', { qos: 1 });
  expect((await second.waitFor(1))[0]).toMatchObject({ topic: 'state/marker', payload: 'live' });
  await Promise.all([publisher, late, later].map((client) => client.endAsync()));
});
