import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { afterAll, describe, expect, it } from 'vitest';

import { RoleProcess } from '../../harness/process.ts';
import { connectMqtt, Inbox } from '../../integration/mqtt-client.ts';
import { TortureClient } from '../torture/torture-client.ts';

const folder = mkdtempSync(join(tmpdir(), 'robustmq-shim-'));
const library = join(folder, 'shim.so');
const clockFile = join(folder, 'clock');
const reason = build();
// The summary names neither the tests nor why.
if (reason !== undefined) console.warn(`slow and failing disks are not tried: ${reason}`);
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

async function start(
  name: string,
  shim: Record<string, string>,
  more: readonly string[] = [],
): Promise<RoleProcess> {
  const free = '127.0.0.1:0';
  const ports = ['--listen', free, '--mqtt-listen', free, '--http-listen', free];
  const args = ['start', '--data-dir', join(folder, name), ...ports, ...more];
  return RoleProcess.start('start', args, { LD_PRELOAD: library, ...shim });
}

const mebibyte = 1024 * 1024;

/** Resident memory of the process. */
function resident(role: RoleProcess): number {
  const status = readFileSync(`/proc/${role.pid}/status`, 'utf8');
  return Number(/VmRSS:\s+(\d+) kB/.exec(status)?.[1]) * 1024;
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

  it('a sync that fails: the process ends, nothing more is acknowledged, nothing acknowledged is lost', async () => {
    const broken = join(folder, 'broken');
    const role = await start('failing', { SHIM_BROKEN: broken });
    const kept = { clientId: 'kept', protocolVersion: 5 as const, clean: false };
    const properties = { sessionExpiryInterval: 300 };
    const subscriber = await connectMqtt(mqttOf(role), { ...kept, properties });
    await subscriber.subscribeAsync('failing', { qos: 1 });
    await subscriber.endAsync();
    const publisher = await connectMqtt(mqttOf(role), { reconnectPeriod: 0 });
    const sent = Array.from({ length: 20 }, (_, index) => String(index));
    await Promise.all(sent.map((text) => publisher.publishAsync('failing', text, { qos: 1 })));
    writeFileSync(broken, '');
    const late = publisher.publishAsync('failing', 'late', { qos: 1 }).then(
      () => 'acknowledged',
      () => 'refused',
    );
    expect(await role.exited()).not.toBe(0);
    expect(role.log.join('\n')).toMatch(/the journal cannot go on|the disk of .* fails/);
    publisher.end(true);
    expect(await late).toBe('refused');

    rmSync(broken);
    const again = await start('failing', {});
    const client = await connectMqtt(mqttOf(again), { ...kept, properties });
    const inbox = new Inbox(client);
    await inbox.waitFor(sent.length);
    // What was never acknowledged may be there or not.
    expect(inbox.payloads.slice(0, sent.length)).toEqual(sent);
    await client.endAsync();
    await again.kill();
  });

  it('a sync of placement that fails: the process ends, whoever asked', async () => {
    const broken = join(folder, 'placement-broken');
    const free = '127.0.0.1:0';
    const ports = ['--listen', free, '--http-listen', free];
    const args = ['placement', '--data-dir', join(folder, 'placement'), ...ports];
    const shim = { LD_PRELOAD: library, SHIM_BROKEN: broken };
    const role = await RoleProcess.start('placement', args, shim);
    await using client = await TortureClient.connect('asker', role.address('grpc'), { seed: 1 });
    await client.journal.newProducerId();
    writeFileSync(broken, '');
    const trims = [{ shardId: 1, offset: 0 }];
    await Promise.allSettled([
      client.placement.allocateProducerIds(1),
      client.placement.trimShards(trims),
    ]);
    expect(await role.exited()).toBe(70);
  });

  it('a flood that is faster than the disk: memory stays within what is allowed, others are served', async () => {
    const unflushed = 32 * mebibyte;
    const args = ['--unflushed-bytes-max', String(unflushed)];
    const role = await start('flood', { SHIM_SYNC_MS: '20' }, args);
    const restBytes = resident(role);
    // What may wait for segment files and what is kept of it for readers, the same for what is on its
    // way, and room that V8 takes between collections.
    const growthMax = 2 * unflushed + 256 * mebibyte;
    const payload = Buffer.alloc(256 * 1024, 'x');
    const publishers = await Promise.all(
      Array.from({ length: 8 }, () => connectMqtt(mqttOf(role))),
    );
    let highest = 0;
    const flood = async (publisher: (typeof publishers)[number], name: number): Promise<void> => {
      for (let round = 0; round < 40; round++) {
        const topics = Array.from({ length: 8 }, (_, index) => `flood/${name}/${index}`);
        await Promise.all(
          topics.map((topic) => publisher.publishAsync(topic, payload, { qos: 1 })),
        );
        highest = Math.max(highest, resident(role));
      }
    };
    const flooding = Promise.all(publishers.map(flood));
    const other = await connectMqtt(mqttOf(role));
    const inbox = new Inbox(other);
    await other.subscribeAsync('other', { qos: 1 });
    for (let number = 0; number < 5; number++) {
      await other.publishAsync('other', String(number), { qos: 1 });
    }
    await inbox.waitFor(5);
    await flooding;
    expect((highest - restBytes) / mebibyte).toBeLessThan(growthMax / mebibyte);
    await Promise.all([...publishers, other].map((client) => client.endAsync()));
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
