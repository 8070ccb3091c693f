import type { MqttClient } from 'mqtt';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import { Cluster } from '../harness/cluster.ts';
import { connectMqtt, Inbox } from './mqtt-client.ts';

let cluster: Cluster;
beforeAll(async () => {
  cluster = await Cluster.start({ brokers: 2 });
});
afterAll(() => cluster[Symbol.asyncDispose]());

const texts = (count: number, from = 0): string[] =>
  Array.from({ length: count }, (_, index) => String(from + index));

async function members(
  count: number,
  options: { filter: string; broker: string; qos: 1 | 2 },
): Promise<{ client: MqttClient; inbox: Inbox }[]> {
  const made = Array.from({ length: count }, async () => {
    const client = await connectMqtt(cluster.mqtt(options.broker), { protocolVersion: 5 });
    const inbox = new Inbox(client);
    await client.subscribeAsync(options.filter, { qos: options.qos });
    return { client, inbox };
  });
  return Promise.all(made);
}

/** Waits until everything has come to somebody. */
async function allCame(inboxes: readonly Inbox[], wanted: readonly string[]): Promise<string[]> {
  const received = (): string[] => inboxes.flatMap(({ payloads }) => payloads);
  for (;;) {
    const got = new Set(received());
    if (wanted.every((text) => got.has(text))) return received();
    await new Promise((resolve) => setImmediate(resolve));
  }
}

describe('shared subscriptions on two brokers', () => {
  it.each([1, 2] as const)('QoS %s: each message comes once, to each its share', async (qos) => {
    const filter = `$share/workers/jobs/${qos}/#`;
    const near = await members(3, { filter, broker: 'broker-1', qos });
    const far = await members(3, { filter, broker: 'broker-2', qos });
    const publisher = await connectMqtt(cluster.mqtt('broker-1'), { protocolVersion: 5 });
    const sent = texts(120);
    await Promise.all(sent.map((text) => publisher.publishAsync(`jobs/${qos}/a`, text, { qos })));
    const all = [...near, ...far];
    const got = await allCame(
      all.map(({ inbox }) => inbox),
      sent,
    );
    expect(got.toSorted((a, b) => Number(a) - Number(b))).toEqual(sent);
    for (const { inbox } of all) expect(inbox.messages.length).toBeGreaterThan(0);
    await Promise.all([...all.map(({ client }) => client.endAsync()), publisher.endAsync()]);
  });

  it('a broker is killed, its coordinators and clients with it: nothing is lost', async () => {
    // Of many groups some have their coordinator at the broker that dies.
    const groups = texts(8).map((name) => `$share/${name}/tasks/#`);
    const stay = await Promise.all(
      groups.map((filter) => members(2, { filter, broker: 'broker-1', qos: 1 })),
    );
    for (const filter of groups) {
      const gone = await members(1, { filter, broker: 'broker-2', qos: 1 });
      for (const { client } of gone) client.on('error', () => {});
    }
    const publisher = await connectMqtt(cluster.mqtt('broker-1'), { protocolVersion: 5 });
    const send = (sent: readonly string[]): Promise<unknown> =>
      Promise.all(sent.map((text) => publisher.publishAsync('tasks/a', text, { qos: 1 })));
    await send(texts(60));
    await cluster.role('broker-2').kill();
    const later = texts(60, 1000);
    await send(later);
    for (const group of stay) {
      await allCame(
        group.map(({ inbox }) => inbox),
        later,
      );
    }
    await Promise.all(stay.flat().map(({ client }) => client.endAsync()));
    await publisher.endAsync();
  });
});
