import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import { Cluster } from '../harness/cluster.ts';
import { RoleProcess } from '../harness/process.ts';
import { type Finished, robustmq } from './command.ts';
import { connectMqtt } from './mqtt-client.ts';

let cluster: Cluster;
beforeAll(async () => {
  cluster = await Cluster.start({ brokers: 2 });
});
afterAll(() => cluster[Symbol.asyncDispose]());

function admin(...args: string[]): Promise<Finished> {
  return robustmq(...args, '--placement', cluster.role('placement').address('grpc'));
}

async function listed(...args: string[]): Promise<Record<string, unknown>[]> {
  const { code, stdout, stderr } = await admin(...args, '--json');
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
  return JSON.parse(stdout) as Record<string, unknown>[];
}

describe('robustmq client', () => {
  it('lists the clients of all brokers, shows one, and ends its connection', async () => {
    const sensor = await connectMqtt(cluster.mqtt('broker-1'), {
      clientId: 'sensor-1',
      username: 'anna',
      protocolVersion: 5,
      keepalive: 30,
      properties: { sessionExpiryInterval: 60 },
    });
    const pump = await connectMqtt(cluster.mqtt('broker-2'), { clientId: 'pump\u001b[2J-1' });
    await sensor.subscribeAsync({ 'a/#': { qos: 1 }, b: { qos: 0 } });

    expect(await listed('client', 'list')).toMatchObject([
      { clientId: 'pump\u001b[2J-1', broker: 'broker-2', protocolVersion: '3.1.1' },
      {
        clientId: 'sensor-1',
        user: 'anna',
        address: '127.0.0.1',
        broker: 'broker-1',
        listener: 'mqtt',
        protocolVersion: '5',
        keepAliveSeconds: 30,
        sessionExpirySeconds: 60,
        subscriptions: 2,
        inFlight: 0,
        lagRecords: 0,
      },
    ]);
    const table = await admin('client', 'list');
    expect(table.stdout).toMatch(/^CLIENT\s+USER\s+ADDRESS\s+BROKER\s+LISTENER\s+MQTT/);
    // A client id does not steer the operator's terminal.
    expect(table.stdout).toContain(String.raw`pump\u{1b}[2J-1`);
    expect(await listed('client', 'list', '--user', 'anna')).toHaveLength(1);
    expect(await listed('client', 'list', '--client-id', 'pump*')).toHaveLength(1);
    expect(await listed('client', 'list', '--address', '10.0.0.0/8')).toEqual([]);
    const cut = await admin('client', 'list', '--limit', '1');
    expect(cut.stdout.trim().split('\n')).toHaveLength(2);
    expect(cut.stderr).toMatch(/^these are 1, there are more; --limit N/);

    const shown = await admin('client', 'show', 'sensor-1');
    expect(shown.stdout).toMatch(/^session expiry\s+60 s$/m);
    expect(shown.stdout).toMatch(/^sensor-1\s+a\/#\s+1\s+no/m);

    const gone = new Promise<void>((resolve) => sensor.once('close', () => resolve()));
    const reason = new Promise((resolve) => {
      sensor.once('disconnect', ({ reasonCode }) => resolve(reasonCode));
    });
    const kicked = await admin('client', 'kick', 'sensor-1');
    expect(kicked).toEqual({ code: 0, stdout: 'kicked sensor-1 from broker-1\n', stderr: '' });
    expect(await reason).toBe(0x98);
    await gone;
    await pump.endAsync();
  });

  it.each([
    [['client', 'show', 'nobody'], /^robustmq: nobody is not connected; .*client list/],
    [['client', 'kick', 'nobody'], /^robustmq: nobody is not connected; .*client list/],
    [['client', 'list', '--limit', '0'], /^robustmq: --limit "0": must be a whole number above 0/],
    [['client', 'list', '--address', 'x'], /^robustmq: x is neither an IP address nor a network/],
  ])('%j: one clear line', async (args, line) => {
    const { code, stdout, stderr } = await admin(...args);
    expect({ code, stdout }).toEqual({ code: 1, stdout: '' });
    expect(stderr).toMatch(line);
    expect(stderr.trim().split('\n')).toHaveLength(1);
  });
});

describe('robustmq subscription list', () => {
  it('lists the subscriptions of all brokers, by client and filter', async () => {
    const first = await connectMqtt(cluster.mqtt('broker-1'), { clientId: 'first' });
    const second = await connectMqtt(cluster.mqtt('broker-2'), { clientId: 'second' });
    await first.subscribeAsync({ 'x/#': { qos: 2 }, y: { qos: 0 } });
    await second.subscribeAsync('y', { qos: 1 });
    const rows = async (...args: string[]): Promise<unknown[]> =>
      (await listed('subscription', 'list', ...args)).map((row) => [
        row['clientId'],
        row['topicFilter'],
        row['qos'],
        row['broker'],
      ]);
    expect(await rows()).toEqual([
      ['first', 'x/#', 2, 'broker-1'],
      ['first', 'y', 0, 'broker-1'],
      ['second', 'y', 1, 'broker-2'],
    ]);
    expect(await rows('--filter', 'x*')).toEqual([['first', 'x/#', 2, 'broker-1']]);
    expect(await rows('--client-id', 'sec*')).toHaveLength(1);
    await Promise.all([first.endAsync(), second.endAsync()]);
  });
});

it('a broker that does not answer is named, and the others are shown', async () => {
  const client = await connectMqtt(cluster.mqtt('broker-1'), { clientId: 'c' });
  const near = ['--placement', cluster.role('placement').address('grpc')];
  const free = ['--listen', '127.0.0.1:0', '--http-listen', 'off', '--mqtt-listen', 'off'];
  // It is up, but nobody reaches it where it says that it is.
  const wrong = ['--node-id', 'elsewhere', '--advertise-host', '127.0.0.99'];
  const elsewhere = await RoleProcess.start('elsewhere', ['broker', ...near, ...free, ...wrong]);
  try {
    const { code, stdout, stderr } = await admin('client', 'list');
    expect(code).toBe(1);
    expect(stdout).toMatch(/^c\s/m);
    expect(stderr).toMatch(/^elsewhere does not answer: /);
  } finally {
    await elsewhere.kill();
  }
  await client.endAsync();
});
