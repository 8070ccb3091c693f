import { spawn } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import { Cluster } from '../harness/cluster.ts';
import { type Finished, robustmq } from './command.ts';
import { connectMqtt } from './mqtt-client.ts';

let cluster: Cluster;
let folder: string;
beforeAll(async () => {
  cluster = await Cluster.start({ brokers: 2 });
  folder = mkdtempSync(join(tmpdir(), 'robustmq-observing-'));
});
afterAll(async () => {
  await cluster[Symbol.asyncDispose]();
  rmSync(folder, { recursive: true });
});

const entry = join(import.meta.dirname, '../../packages/cli/bin/robustmq.mjs');

function admin(...args: string[]): Promise<Finished> {
  return robustmq(...args, '--placement', cluster.role('placement').address('grpc'));
}

function url(broker: string): string[] {
  const { host, port } = cluster.mqtt(broker);
  return ['--url', `mqtt://${host}:${port}`];
}

/** Runs a command that reads `input`. */
function fed(input: string, ...args: string[]): Promise<number | null> {
  const child = spawn(process.execPath, [entry, ...args], { stdio: ['pipe', 'ignore', 'ignore'] });
  child.stdin.end(input);
  return new Promise((resolve) => child.once('close', resolve));
}

describe('robustmq publish and subscribe', () => {
  it('carry messages, retained ones, from the command line and from standard input', async () => {
    const said = await robustmq(
      'publish',
      'cli/a',
      '-m',
      'said',
      '-q',
      '1',
      '-r',
      ...url('broker-1'),
    );
    expect(said).toEqual({ code: 0, stdout: '', stderr: '' });
    expect(
      await fed('fed\nin two lines', 'publish', 'cli/b', '-q', '2', '-r', ...url('broker-1')),
    ).toBe(0);
    expect(
      await fed('first\nlast\n', 'publish', 'cli/c', '-l', '-q', '1', '-r', ...url('broker-1')),
    ).toBe(0);
    const plain = await robustmq('subscribe', 'cli/a', '-c', '1', '-v', ...url('broker-2'));
    expect(plain).toEqual({ code: 0, stdout: 'cli/a said\n', stderr: '' });
    const json = await robustmq(
      'subscribe',
      'cli/#',
      '-c',
      '3',
      '-q',
      '2',
      '--json',
      ...url('broker-2'),
    );
    const lines = json.stdout
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as object);
    expect(lines).toHaveLength(3);
    expect(lines).toEqual(
      expect.arrayContaining([
        { topic: 'cli/a', qos: 1, retain: true, payload: 'said' },
        { topic: 'cli/b', qos: 2, retain: true, payload: 'fed\nin two lines' },
        { topic: 'cli/c', qos: 1, retain: true, payload: 'last' },
      ]),
    );
  });

  it.each([
    [['publish', '$SYS/broker/version', '-m', 'x', '-q', '1'], '(0x90)'],
    [['publish', 'a', '-m', 'x', '-q', '3'], '--qos 3: must be 0, 1 or 2'],
    [['subscribe', 'a/#/b'], 'Invalid topic a/#/b'],
    [['subscribe', 'a', '--count', '0'], '--count 0'],
    [
      ['publish', 'a', '-m', 'x', '--url', 'mqtt://127.0.0.1:1'],
      'mqtt://127.0.0.1:1: connect ECONNREFUSED',
    ],
  ])('%j: one clear line', async (args, words) => {
    const where = args.includes('--url') ? [] : url('broker-1');
    const { code, stdout, stderr } = await robustmq(...args, ...where);
    expect({ code, stdout }).toEqual({ code: 1, stdout: '' });
    expect(stderr).toMatch(/^robustmq: .*\n$/);
    expect(stderr).toContain(words);
  });
});

describe('$SYS', () => {
  it('tells of the broker that a client is connected to, and names all', async () => {
    const filters = ['$SYS/brokers', '$SYS/brokers/+/sysdescr'];
    const got = await robustmq('subscribe', ...filters, '-c', '2', '-v', ...url('broker-2'));
    expect(got.stdout.trim().split('\n').toSorted()).toEqual([
      '$SYS/brokers broker-1,broker-2',
      '$SYS/brokers/broker-2/sysdescr RobustMQ',
    ]);
  });
});

describe('robustmq trace', () => {
  it('shows the packets of a client at whatever broker, in a file for nobody else', async () => {
    const file = join(folder, 'trace.log');
    const placement = ['--placement', cluster.role('placement').address('grpc')];
    const args = ['trace', 'client', 'device', '--for', '5m', '--file', file, ...placement];
    const child = spawn(process.execPath, [entry, ...args], {
      stdio: ['ignore', 'ignore', 'pipe'],
    });
    let stderr = '';
    child.stderr.on('data', (chunk) => (stderr += String(chunk)));
    const closed = new Promise((resolve) => child.once('close', resolve));
    const text = (): string => (existsSync(file) ? readFileSync(file, 'utf8') : '');
    for (const broker of ['broker-1', 'broker-2']) {
      while (!text().includes(`${broker} device -> DISCONNECT`)) {
        const device = await connectMqtt(cluster.mqtt(broker), {
          clientId: 'device',
          protocolVersion: 5,
          username: 'ada',
          password: 'secret',
        });
        await device.publishAsync('traced', 'payload', { qos: 1 });
        await device.endAsync();
      }
    }
    child.kill('SIGINT');
    expect(await closed).toBe(0);
    expect(stderr).toMatch(/^\d+ lines in .*trace\.log\n$/);
    expect(text()).toMatch(/^\S+Z broker-1 device -> CONNECT MQTT 5, .*user "ada", a password$/m);
    expect(text()).toMatch(/^\S+Z broker-2 device -> PUBLISH "traced" QoS 1, id \d+, 7 bytes$/m);
    expect(text()).not.toContain('secret');
    expect(statSync(file).mode & 0o777).toBe(0o600);
  });

  it.each([
    [['trace', 'client', 'x', '--for', '10'], '--for 10: must be a time'],
    [['trace', 'topic', 'a/#/b'], "the topic filter a/#/b has '+' or '#' where none may stand"],
  ])('%j: one clear line', async (args, words) => {
    const { code, stdout, stderr } = await admin(...args);
    expect({ code, stdout }).toEqual({ code: 1, stdout: '' });
    expect(stderr).toMatch(/^robustmq: .*\n$/);
    expect(stderr).toContain(words);
  });
});

describe('robustmq client slow', () => {
  it('has nobody in a cluster that is well', async () => {
    const listed = await admin('client', 'slow', '--json');
    expect(listed).toEqual({ code: 0, stdout: '[]\n', stderr: '' });
    expect((await admin('client', 'slow')).stdout).toMatch(/^CLIENT +BROKER +WAITED +TOPIC/);
  });
});
