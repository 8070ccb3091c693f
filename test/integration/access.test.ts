import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { connectAsync, type IClientOptions, type MqttClient } from 'mqtt';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import { RoleProcess } from '../harness/process.ts';
import { robustmq } from './command.ts';

const free = '127.0.0.1:0';
const ports = ['--listen', free, '--mqtt-listen', free, '--http-listen', free];

/** Users as Mosquitto has them: alice with the password "wonderland". */
const passwords =
  'alice:$7$101$x+bTvt4g9wsdE1kl$1ANZeeawNwmdqZEnaJuhE/J2cfK7cMJFJkcoTSNVEx8aSDzWXcjZrXRzbu/DkSHyAnI58ONWX8FoBf+Zpemizg==\n';
const acl = 'user alice\ntopic readwrite alice/#\n';

let folder: string;
let started: RoleProcess[];
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'robustmq-access-'));
  started = [];
});
afterEach(async () => {
  await Promise.all(started.map((role) => role.kill()));
  rmSync(folder, { recursive: true, force: true });
});

function write(name: string, text: string): string {
  const path = join(folder, name);
  writeFileSync(path, text);
  return path;
}

async function start(accessFile: string): Promise<RoleProcess> {
  const dataDir = join(folder, 'data');
  const own = ['--data-dir', dataDir, '--access-file', accessFile];
  const role = await RoleProcess.start('start', ['start', ...own, ...ports]);
  started.push(role);
  return role;
}

function connect(role: RoleProcess, options: IClientOptions): Promise<MqttClient> {
  const url = `mqtt://${role.address('mqtt')}`;
  return connectAsync(url, { protocolVersion: 5, reconnectPeriod: 0, ...options }, false);
}

describe('robustmq start --access-file', () => {
  it("with Mosquitto's users and rules: they log in as before, and may do what they might", async () => {
    const files = ['--passwords', write('passwords', passwords), '--acl', write('acl', acl)];
    const imported = await robustmq('access', 'import', ...files);
    expect(imported).toMatchObject({ code: 0, stderr: '' });
    const path = write('access.yaml', imported.stdout);
    const role = await start(path);

    await expect(connect(role, {})).rejects.toMatchObject({ code: 0x87 });
    await expect(connect(role, { username: 'alice', password: 'x' })).rejects.toMatchObject({
      code: 0x86,
    });
    const alice = await connect(role, { username: 'alice', password: 'wonderland' });
    const inbox = new Promise((resolve) => {
      alice.on('message', (topic, payload) => resolve(`${topic} ${String(payload)}`));
    });
    await alice.subscribeAsync('alice/#', { qos: 1 });
    await expect(alice.subscribeAsync('#')).rejects.toThrow();
    await expect(alice.publishAsync('bob/x', 'no', { qos: 1 })).rejects.toMatchObject({
      code: 0x87,
    });
    await alice.publishAsync('alice/x', 'yes', { qos: 1 });
    expect(await inbox).toBe('alice/x yes');

    const metrics = async (): Promise<string> =>
      (await fetch(`http://${role.address('http')}/metrics`)).text();
    expect(await metrics()).toContain(
      'robustmq_access_logins_total{result="denied",role="start"} 2',
    );
    expect(await metrics()).toContain('robustmq_access_file_stale{role="start"} 0');

    // A file that is wrong changes nothing; one without the user ends its connection.
    write('access.yaml', 'users: [');
    await expect.poll(metrics).toContain('robustmq_access_file_stale{role="start"} 1');
    expect(alice.connected).toBe(true);
    const gone = new Promise<void>((resolve) => alice.once('close', () => resolve()));
    write('access.yaml', 'rules:\n  - { allow: all, mqtt: "open/#" }\n');
    await gone;
    const anonymous = await connect(role, {});
    await anonymous.publishAsync('open/x', 'yes', { qos: 1 });
    await anonymous.endAsync();
  });

  it('does not start with a file that is wrong, and says which line', async () => {
    const path = write('access.yaml', 'rules:\n  - { allow: all, mqtt: a+ }\n');
    const dataDir = join(folder, 'data');
    const ended = await robustmq('start', '--data-dir', dataDir, '--access-file', path, ...ports);
    expect(ended.code).toBe(1);
    expect(ended.stderr).toContain(`access file ${path}: line 2: rules[0].mqtt: '+'`);
  });
});
