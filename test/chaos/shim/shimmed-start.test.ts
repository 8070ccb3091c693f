import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { afterAll, describe, expect, it } from 'vitest';

import { RoleProcess } from '../../harness/process.ts';
import { connectMqtt, Inbox } from '../../integration/mqtt-client.ts';

const folder = mkdtempSync(join(tmpdir(), 'robustmq-shim-'));
const library = join(folder, 'shim.so');
const clockFile = join(folder, 'clock');
const reason = build();
const skipped = reason === undefined ? '' : ` (skipped: ${reason})`;
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** Undefined when the shim is there and works with this Node; else why not. */
function build(): string | undefined {
  if (process.platform !== 'linux') return 'LD_PRELOAD is for Linux';
  const source = join(import.meta.dirname, 'slow-sync-and-clock.c');
  const compiled = spawnSync('cc', ['-shared', '-fPIC', '-O1', '-o', library, source, '-ldl']);
  if (compiled.status !== 0) return 'no C compiler';
  writeFileSync(clockFile, '1000000');
  const env = { ...process.env, LD_PRELOAD: library, SHIM_CLOCK: clockFile };
  const asked = spawnSync(process.execPath, ['-p', 'Date.now()'], { env, encoding: 'utf8' });
  const isAhead = Number(asked.stdout) - Date.now() > 900_000_000;
  return isAhead ? undefined : 'this Node does not ask libc for the time';
}

async function start(name: string, shim: Record<string, string>): Promise<RoleProcess> {
  const free = '127.0.0.1:0';
  const ports = ['--listen', free, '--mqtt-listen', free, '--http-listen', free];
  const args = ['start', '--data-dir', join(folder, name), ...ports];
  return RoleProcess.start('start', args, { LD_PRELOAD: library, ...shim });
}

function mqttOf(role: RoleProcess): { host: string; port: number } {
  const [host = '', port] = role.address('mqtt').split(':');
  return { host, port: Number(port) };
}

describe.skipIf(reason !== undefined)(`what the machine does to a role${skipped}`, () => {
  it('a disk whose every sync takes 100 ms longer: all is acknowledged and delivered, in order', async () => {
    const role = await start('slow', { SHIM_SYNC_MS: '100' });
    const client = await connectMqtt(mqttOf(role));
    const inbox = new Inbox(client);
    await client.subscribeAsync('slow', { qos: 2 });
    const sent = Array.from({ length: 200 }, (_, index) => String(index));
    await Promise.all(sent.map((text) => client.publishAsync('slow', text, { qos: 2 })));
    await inbox.waitFor(sent.length);
    expect(inbox.payloads).toEqual(sent);
    await client.endAsync();
    await role.kill();
  });

  it('a wall clock that jumps a day on and two days back: nobody notices', async () => {
    writeFileSync(clockFile, '0');
    const role = await start('jump', { SHIM_CLOCK: clockFile });
    const kept = { clientId: 'kept', protocolVersion: 5 as const, clean: false };
    const properties = { sessionExpiryInterval: 300 };
    const client = await connectMqtt(mqttOf(role), { ...kept, properties });
    const inbox = new Inbox(client);
    await client.subscribeAsync('jump', { qos: 1 });
    await client.publishAsync('jump', 'now', { qos: 1 });
    const day = 24 * 60 * 60;
    for (const ahead of [day, -day]) {
      writeFileSync(clockFile, String(ahead));
      await client.publishAsync('jump', String(ahead), { qos: 1 });
    }
    await inbox.waitFor(3);
    expect(inbox.payloads).toEqual(['now', String(day), String(-day)]);
    const health = await fetch(`http://${role.address('http')}/health/ready`);
    expect(health.status).toBe(200);
    await client.endAsync();
    await role.kill();
  });
});
