import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';

import { Cluster } from '../harness/cluster.ts';
import { robustmq } from './command.ts';
import { connectMqtt, Inbox } from './mqtt-client.ts';
import { PacketClient } from './packet-client.ts';

let cluster: Cluster;
beforeAll(async () => {
  cluster = await Cluster.start({ brokers: 2 });
});
afterAll(() => cluster[Symbol.asyncDispose]());

const one = () => cluster.mqtt('broker-1');
const two = () => cluster.mqtt('broker-2');
const durable = { clean: false, properties: { sessionExpiryInterval: 300 } };

async function ready(role: string): Promise<{ status: number; reason: string }> {
  const response = await fetch(`http://${cluster.role(role).address('http')}/health/ready`);
  return { status: response.status, reason: await response.text() };
}

/** Asks until placement knows of nothing that is wrong. */
async function allWell(): Promise<void> {
  const placement = cluster.role('placement').address('grpc');
  const problems = async (): Promise<unknown> => {
    const { stdout } = await robustmq('status', '--json', '--placement', placement);
    return (JSON.parse(stdout) as { problems: string[] }).problems;
  };
  await expect.poll(problems, { timeout: 20_000 }).toEqual([]);
}

describe('placement away', () => {
  // A partition that nobody has written yet needs placement once, to get its first segment.
  it('clients come, publish and receive; when it is back everything is well', async () => {
    const subscriber = await connectMqtt(two());
    const inbox = new Inbox(subscriber);
    await subscriber.subscribeAsync('away/#', { qos: 1 });
    const publisher = await connectMqtt(one());
    await publisher.publishAsync('away/x', '1', { qos: 1 });
    await cluster.role('placement').kill();

    await publisher.publishAsync('away/x', '2', { qos: 2 });
    const newcomer = await connectMqtt(one(), {
      clientId: 'newcomer',
      protocolVersion: 5,
      ...durable,
    });
    await newcomer.publishAsync('away/x', '3', { qos: 1 });
    expect((await inbox.waitFor(3)).map(({ payload }) => payload)).toEqual(['1', '2', '3']);
    expect(await ready('broker-1')).toMatchObject({ status: 200 });

    await cluster.restart('placement');
    await allWell();
    await publisher.publishAsync('away/x', '4', { qos: 1 });
    await inbox.waitFor(4);
    await Promise.all([subscriber, publisher, newcomer].map((client) => client.endAsync()));
  });
});

describe('the journal away', () => {
  it('nothing is acknowledged and nobody is turned away; when it is back all of it is done', async () => {
    const subscriber = await connectMqtt(two());
    const inbox = new Inbox(subscriber);
    await subscriber.subscribeAsync('held/#', { qos: 1 });
    const publisher = await connectMqtt(one());
    await publisher.publishAsync('held/x', '1', { qos: 1 });
    await cluster.role('journal-1').kill();

    const second = publisher.publishAsync('held/x', '2', { qos: 1 });
    const acknowledged = vi.fn();
    void second.then(acknowledged);
    const newcomer = PacketClient.connect(one(), { clientId: 'patient', ...durable });
    await expect
      .poll(() => ready('broker-1'))
      .toMatchObject({
        status: 503,
        reason: expect.stringContaining('journal'),
      });
    expect(acknowledged).not.toHaveBeenCalled();

    await cluster.restart('journal-1');
    await second;
    const { client, connack } = await newcomer;
    expect(connack.reasonCode).toBe(0);
    expect((await inbox.waitFor(2)).map(({ payload }) => payload)).toEqual(['1', '2']);
    await expect.poll(() => ready('broker-1')).toMatchObject({ status: 200 });
    client[Symbol.dispose]();
    await Promise.all([subscriber, publisher].map((each) => each.endAsync()));
  });
});

describe('SIGTERM', () => {
  it('a broker tells MQTT 5 clients 0x8B and ends; their sessions go on at the other', async () => {
    const { client: five } = await PacketClient.connect(one(), { clientId: 'five', ...durable });
    await five.subscribe('drain/#', 1);
    const { client: four } = await PacketClient.connect(one(), {
      clientId: 'four',
      protocolVersion: 4,
    });
    const ended = cluster.role('broker-1').stop();
    expect((await five.expect('disconnect')).reasonCode).toBe(0x8b);
    await Promise.all([five.closed, four.closed]);
    await expect(four.next()).rejects.toThrow('closed');
    expect(await ended).toBe(0);

    const { client, connack } = await PacketClient.connect(two(), { clientId: 'five', ...durable });
    expect(connack.sessionPresent).toBe(true);
    const publisher = await connectMqtt(two());
    await publisher.publishAsync('drain/x', 'still here', { qos: 1 });
    expect((await client.expect('publish')).payload.toString()).toBe('still here');
    client[Symbol.dispose]();
    await publisher.endAsync();
    await cluster.restart('broker-1');
  });

  it.each(['broker-2', 'journal-1', 'placement'])(
    '%s without clients ends with 0 and says so',
    async (name) => {
      const role = cluster.role(name);
      expect(await role.stop()).toBe(0);
      expect(role.log.join('\n')).toContain('SIGTERM');
      await cluster.restart(name);
    },
  );
});
