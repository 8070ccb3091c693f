import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import { Cluster } from '../harness/cluster.ts';
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

/** The list once it is as wanted: a fold may be a moment behind the acknowledgement. */
async function topicsOnce(wanted: number, ...args: string[]): Promise<unknown[]> {
  for (;;) {
    const { code, stdout, stderr } = await admin('retained', 'list', ...args, '--json');
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    const rows = JSON.parse(stdout) as Record<string, unknown>[];
    if (rows.length === wanted) return rows.map(({ topic }) => topic);
  }
}

describe('robustmq retained', () => {
  it('lists what is retained in the whole cluster, page by page, and clears it', async () => {
    const client = await connectMqtt(cluster.mqtt('broker-1'), { protocolVersion: 5 });
    const names = Array.from({ length: 30 }, (_, index) => `plant/${index}/state`);
    const options = { qos: 1, retain: true } as const;
    await Promise.all(names.map((name) => client.publishAsync(name, 'on\u001b[2J', options)));
    await client.publishAsync('other', Buffer.of(0xff, 0), options);
    await topicsOnce(31);
    expect(await topicsOnce(30, 'plant/+/state')).toEqual(names.toSorted());
    expect(await topicsOnce(1, 'plant/7/state')).toEqual(['plant/7/state']);

    const table = await admin('retained', 'list');
    expect(table.stdout).toMatch(/^TOPIC\s+BYTES\s+QOS\s+PUBLISHED\s+EXPIRES\s+PAYLOAD/);
    // A payload does not steer the operator's terminal.
    expect(table.stdout).toContain(String.raw`on\u{1b}[2J`);
    expect(table.stdout).toMatch(/^other .* never\s+0xff00/m);
    const cut = await admin('retained', 'list', '--limit', '10');
    expect(cut.stdout.trim().split('\n')).toHaveLength(11);
    expect(cut.stderr).toMatch(/^these are 10, there are more; --limit N/);

    const cleared = await admin('retained', 'clear', 'plant/#', '--yes');
    expect(cleared).toMatchObject({ code: 0, stdout: 'cleared 30 retained messages\n' });
    expect(await topicsOnce(1)).toEqual(['other']);
    const late = await connectMqtt(cluster.mqtt('broker-2'), { protocolVersion: 5 });
    const got: string[] = [];
    late.on('message', (topic) => got.push(topic));
    await late.subscribeAsync(['plant/#', 'other'], { qos: 1 });
    while (got.length === 0) await new Promise((resolve) => setImmediate(resolve));
    expect(got).toEqual(['other']);
    await Promise.all([client.endAsync(), late.endAsync()]);
  });

  it('clears nothing without a yes', async () => {
    const refused = await admin('retained', 'clear', 'other');
    expect(refused.code).toBe(1);
    expect(refused.stderr).toMatch(/This clears every retained message that other matches/);
    expect(refused.stderr).toMatch(/was not typed: nothing was done/);
    expect(await topicsOnce(1)).toEqual(['other']);
  });

  it.each([
    ['list', 'a/#/b'],
    ['clear', '$share/g/a'],
  ])('%s %s: one clear line', async (command, filter) => {
    const yes = command === 'clear' ? ['--yes'] : [];
    const { code, stderr } = await admin('retained', command, filter, ...yes);
    expect(code).toBe(1);
    expect(stderr).toMatch(/^robustmq: ".*" is no MQTT topic filter/m);
  });
});
