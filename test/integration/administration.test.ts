import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import { Cluster } from '../harness/cluster.ts';
import { type Finished, robustmq } from './command.ts';
import { connectMqtt, Inbox } from './mqtt-client.ts';

let cluster: Cluster;
beforeAll(async () => {
  cluster = await Cluster.start();
});
afterAll(() => cluster[Symbol.asyncDispose]());

function admin(...args: string[]): Promise<Finished> {
  return robustmq(...args, '--placement', cluster.role('placement').address('grpc'));
}

describe('robustmq topic', () => {
  it('takes settings one by one, before the name, too', async () => {
    const set = ['--set', 'retention.ms=1000', '--set', 'segment.bytes=1048576'];
    const created = await admin('topic', 'create', ...set, 'settled');
    expect(created).toMatchObject({ code: 0, stderr: '' });
    const described = await admin('topic', 'describe', 'settled', '--json');
    const config = { 'retention.ms': '1000', 'segment.bytes': '1048576' };
    expect(JSON.parse(described.stdout)).toMatchObject({ config });
    await admin('topic', 'delete', 'settled');
  });

  it('creates, lists, describes and deletes; a topic owns its MQTT names', async () => {
    const created = await admin('topic', 'create', 'factory.line1', '--partitions', '4');
    expect(created).toMatchObject({ code: 0, stderr: '' });
    const listed = await admin('topic', 'list', '--json');
    expect(JSON.parse(listed.stdout)).toContainEqual(
      expect.objectContaining({ name: 'factory.line1', partitions: 4 }),
    );
    const client = await connectMqtt(cluster.mqtt());
    const inbox = new Inbox(client);
    await client.subscribeAsync('factory/line1/#', { qos: 1 });
    await client.publishAsync('factory/line1/temp', '21', { qos: 1 });
    expect((await inbox.waitFor(1))[0]).toMatchObject({
      topic: 'factory/line1/temp',
      payload: '21',
    });
    await client.endAsync();
    const described = await admin('topic', 'describe', 'factory.line1', '--json');
    const { chains, config } = JSON.parse(described.stdout) as {
      chains: { segments: { leader: string }[] }[];
      config: Record<string, string>;
    };
    expect(config['mqtt.prefix']).toBe('factory/line1');
    expect(chains).toHaveLength(4);
    expect(chains.flatMap(({ segments }) => segments.map(({ leader }) => leader))).toContain(
      'journal-1',
    );
    expect(await admin('topic', 'delete', 'factory.line1')).toMatchObject({ code: 0, stderr: '' });
    const left = await admin('topic', 'list', '--json');
    expect(left.stdout).not.toContain('factory.line1');
  });

  it.each([
    [['topic', 'describe', 'nothing'], 'there is no topic nothing'],
    [['topic', 'create', 'x', '--partitions', '0'], '--partitions'],
    [['topic', 'delete', 'nothing'], 'nothing'],
  ])('%j: one clear line', async (args, words) => {
    const { code, stdout, stderr } = await admin(...args);
    expect(code).toBe(1);
    expect(stdout).toBe('');
    expect(stderr).toMatch(/^robustmq: .*\n$/);
    expect(stderr).toContain(words);
  });
});

describe('robustmq status', () => {
  it('names nodes, topics, chains and coordinators', async () => {
    const { code, stdout } = await admin('status', '--json');
    expect(code).toBe(0);
    const status = JSON.parse(stdout) as {
      problems: string[];
      nodes: { nodeId: string; state: string }[];
      topics: { name: string; partitions: number }[];
      coordinators: { kind: string; owner: string }[];
    };
    expect(status.problems).toEqual([]);
    const states = Object.fromEntries(status.nodes.map(({ nodeId, state }) => [nodeId, state]));
    expect(states).toEqual({ 'journal-1': 'up', 'broker-1': 'up' });
    expect(status.topics).toContainEqual(expect.objectContaining({ name: 'mqtt', partitions: 16 }));
    expect(new Set(status.coordinators.map(({ owner }) => owner))).toEqual(new Set(['broker-1']));
  });

  it('as a table it says that everything is well', async () => {
    const { stdout } = await admin('status');
    expect(stdout).toContain('everything is well');
    expect(stdout).toMatch(/broker-1\s+broker\s+up/);
  });

  it('without placement: one clear line', async () => {
    const { code, stderr } = await robustmq('status', '--placement', '127.0.0.1:1');
    expect(code).toBe(1);
    expect(stderr).toMatch(/^robustmq: .*127\.0\.0\.1:1.*\n$/);
  });
});

describe('metrics and health', () => {
  it.each(['placement', 'journal-1', 'broker-1'])('%s serves them', async (name) => {
    const base = `http://${cluster.role(name).address('http')}`;
    const metrics = await fetch(`${base}/metrics`);
    expect(metrics.headers.get('content-type')).toContain('text/plain');
    const text = await metrics.text();
    expect(text).toMatch(/^process_resident_memory_bytes/m);
    expect(text).toMatch(/^robustmq_/m);
    expect((await fetch(`${base}/health/live`)).status).toBe(200);
    expect((await fetch(`${base}/health/ready`)).status).toBe(200);
    expect((await fetch(`${base}/nothing`)).status).toBe(404);
  });
});
