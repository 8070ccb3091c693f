import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';

import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import { RoleProcess } from '../harness/process.ts';
import { robustmq } from './command.ts';
import { connectMqtt, Inbox } from './mqtt-client.ts';

let dataDir: string;
let started: RoleProcess[];
beforeEach(() => {
  dataDir = mkdtempSync(join(tmpdir(), 'robustmq-start-'));
  started = [];
});
afterEach(async () => {
  await Promise.all(started.map((role) => role.kill()));
  rmSync(dataDir, { recursive: true, force: true });
});

const free = '127.0.0.1:0';
const ports = ['--listen', free, '--mqtt-listen', free, '--http-listen', free];

async function start(): Promise<RoleProcess> {
  const role = await RoleProcess.start('start', ['start', '--data-dir', dataDir, ...ports]);
  started.push(role);
  return role;
}

function mqttOf(role: RoleProcess): { host: string; port: number } {
  const [host = '', port] = role.address('mqtt').split(':');
  return { host, port: Number(port) };
}

describe('robustmq start', () => {
  it('names its addresses, with lines to paste, serves, and keeps what it was given', async () => {
    const role = await start();
    const { host, port } = mqttOf(role);
    await expect.poll(() => role.log.join('\n')).toContain('Ctrl-C');
    const printed = role.log.join('\n');
    expect(printed).toMatch(/^ready start grpc=127\.0\.0\.1:\d+ mqtt=127\.0\.0\.1:\d+ http=127/m);
    expect(printed).toContain(`mosquitto_sub -h ${host} -p ${port} -t`);
    expect(printed).toContain(`mosquitto_pub -h ${host} -p ${port} -t`);
    const health = await fetch(`http://${role.address('http')}/health/ready`);
    expect(health.status).toBe(200);

    const kept = { clientId: 'kept', protocolVersion: 5 as const, clean: false };
    const properties = { sessionExpiryInterval: 300 };
    const before = await connectMqtt(mqttOf(role), { ...kept, properties });
    await before.subscribeAsync('hello/#', { qos: 2 });
    await before.endAsync();
    const publisher = await connectMqtt(mqttOf(role));
    await publisher.publishAsync('hello/world', 'it works', { qos: 2 });
    await publisher.endAsync();
    await role.kill();

    const again = await start();
    const received: string[] = [];
    const after = await connectMqtt(mqttOf(again), {
      ...kept,
      properties,
      // The session's messages may come with the CONNACK, before anyone else can listen.
      customHandleAcks: (topic, message, _packet, done) => {
        received.push(`${topic} ${message.toString()}`);
        done(0);
      },
    });
    await expect.poll(() => received).toEqual(['hello/world it works']);
    await after.endAsync();
    expect(await again.stop()).toBe(0);
  });

  it('a live subscription in one process', async () => {
    const role = await start();
    const client = await connectMqtt(mqttOf(role));
    const inbox = new Inbox(client);
    await client.subscribeAsync('live', { qos: 0 });
    await client.publishAsync('live', 'x', { qos: 0 });
    await inbox.waitFor(1);
    await client.endAsync();
  });
});

describe('what is wrong is said in one line', () => {
  it.each(['--mqtt-listen', '--http-listen', '--listen'])('a taken port of %s', async (flag) => {
    const server = createServer().listen(0, '127.0.0.1');
    await new Promise((resolve) => server.once('listening', resolve));
    const bound = server.address();
    const taken = `127.0.0.1:${typeof bound === 'object' && bound ? bound.port : 0}`;
    const args = ['start', '--data-dir', dataDir, ...ports, flag, taken];
    const { code, stdout, stderr } = await robustmq(...args);
    server.close();
    expect(code).toBe(1);
    expect(stdout).toBe('');
    expect(stderr).toMatch(/^robustmq: .*\n$/);
    expect(stderr).toContain(`${taken} is taken by another program`);
    expect(stderr).toContain(flag);
  });

  it('a data folder that another process uses', async () => {
    await start();
    const { code, stderr } = await robustmq('start', '--data-dir', dataDir, ...ports);
    expect(code).toBe(1);
    expect(stderr).toMatch(/^robustmq: .*\n$/);
    expect(stderr).toContain(dataDir);
  });

  it('a data folder of another version', async () => {
    const role = await start();
    await role.stop();
    const name = readdirSync(dataDir, { recursive: true })
      .map(String)
      .find((each) => basename(each) === 'node.json');
    const path = join(dataDir, name ?? 'node.json');
    const identity = JSON.parse(readFileSync(path, 'utf8')) as object;
    const other = JSON.stringify({ ...identity, formatVersion: 99 });
    writeFileSync(path, other);
    const { code, stdout, stderr } = await robustmq('start', '--data-dir', dataDir, ...ports);
    expect(code).toBe(1);
    expect(stdout).toBe('');
    expect(stderr).toMatch(/^robustmq: .*\n$/);
    expect(stderr).toContain('99');
    expect(readFileSync(path, 'utf8')).toBe(other);
  });
});
