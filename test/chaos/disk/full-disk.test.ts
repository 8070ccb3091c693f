import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, statfsSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';

import { Cluster } from '../../harness/cluster.ts';
import { connectMqtt } from '../../integration/mqtt-client.ts';
import { PacketClient } from '../../integration/packet-client.ts';

const reserveBytes = 16 * 1024 * 1024;
let folder: string;
const mounted = mount();

/** A tmpfs of 96 MiB; undefined when it is there, else why not. */
function mount(): string | undefined {
  if (process.platform !== 'linux' || process.getuid?.() !== 0)
    return 'only root can mount a tmpfs';
  folder = mkdtempSync(join(tmpdir(), 'robustmq-full-'));
  const { status } = spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=96m', 'tmpfs', folder]);
  if (status === 0) return undefined;
  rmSync(folder, { recursive: true });
  return 'mounting a tmpfs is not allowed here';
}

const title = `a full disk${mounted === undefined ? '' : ` (skipped: ${mounted})`}`;

describe.skipIf(mounted !== undefined)(title, () => {
  let cluster: Cluster;
  beforeAll(async () => {
    cluster = await Cluster.start({
      dataDir: folder,
      journalArgs: ['--wal-file-bytes', '4MiB', '--disk-reserve-bytes', String(reserveBytes)],
    });
  });
  afterAll(async () => {
    await cluster[Symbol.asyncDispose]();
    spawnSync('umount', [folder]);
    rmSync(folder, { recursive: true, force: true });
  });

  it('appends wait, reads go on, nothing is lost, and it recovers by itself', async () => {
    const properties = { sessionExpiryInterval: 300, receiveMaximum: 1 };
    const kept = { clientId: 'reader', clean: false, properties };
    const { client } = await PacketClient.connect(cluster.mqtt(), kept);
    await client.subscribe('full/#', 1);
    const next = async (): Promise<[string, number]> => {
      const { payload, messageId = 0 } = await client.expect('publish');
      return [payload.toString(), messageId];
    };
    const publisher = await connectMqtt(cluster.mqtt());
    await publisher.publishAsync('full/x', '0', { qos: 1 });
    await publisher.publishAsync('full/x', '1', { qos: 1 });
    const [zero, zeroId] = await next();
    expect(zero).toBe('0');

    const ballast = join(folder, 'ballast');
    fill(ballast);
    await expect.poll(readOnly, { timeout: 20_000 }).toBe(1);
    const acknowledged = vi.fn();
    const waiting = publisher.publishAsync('full/x', '2', { qos: 1 });
    void waiting.then(acknowledged);
    client.send({ cmd: 'puback', messageId: zeroId, reasonCode: 0 });
    const [one, oneId] = await next();
    expect(one).toBe('1');
    expect(acknowledged).not.toHaveBeenCalled();

    rmSync(ballast);
    await waiting;
    expect(await readOnly()).toBe(0);
    client.send({ cmd: 'puback', messageId: oneId, reasonCode: 0 });
    expect((await next())[0]).toBe('2');
    client[Symbol.dispose]();
    await publisher.endAsync();
    await cluster.role('journal-1').kill();
    await cluster.restart('journal-1');
    const again = await PacketClient.connect(cluster.mqtt(), kept);
    expect(again.connack.sessionPresent).toBe(true);
    expect((await again.client.expect('publish')).payload.toString()).toBe('2');
    again.client[Symbol.dispose]();
  });

  it('a CONNECT that needs the disk is refused, or waits for the space that comes back', async () => {
    const known = { clientId: 'known', clean: false } as const;
    const keep = { sessionExpiryInterval: 300 };
    const first = await PacketClient.connect(cluster.mqtt(), { ...known, properties: keep });
    first.client[Symbol.dispose]();
    const ballast = join(folder, 'ballast');
    fill(ballast);
    await expect.poll(readOnly, { timeout: 20_000 }).toBe(1);

    const connect = async (clientId: string, version: 4 | 5): Promise<number | undefined> => {
      const properties = version === 5 ? { properties: keep } : {};
      const own = { clientId, clean: false, protocolVersion: version, ...properties };
      const { client, connack } = await PacketClient.connect(cluster.mqtt(), own);
      const code = connack.reasonCode ?? connack.returnCode;
      if (code !== 0) await client.closed;
      client[Symbol.dispose]();
      return code;
    };
    // 0x88 and 3: the server is unavailable. [MQTT5-3.2.2.2], [MQTT-3.2.2.3]
    const refused = [connect('known', 5), connect('new 5', 5), connect('new 4', 4)];
    expect(await Promise.all(refused)).toEqual([0x88, 0x88, 3]);

    const waiting = [connect('known', 5), connect('newer 5', 5), connect('newer 4', 4)];
    rmSync(ballast);
    expect(await Promise.all(waiting)).toEqual([0, 0, 0]);
    const last = await PacketClient.connect(cluster.mqtt(), { ...known, properties: keep });
    expect(last.connack).toMatchObject({ reasonCode: 0, sessionPresent: true });
    last.client[Symbol.dispose]();
  });

  async function readOnly(): Promise<number> {
    const response = await fetch(`http://${cluster.role('journal-1').address('http')}/metrics`);
    return Number(/^robustmq_journal_read_only\S* (\d)/m.exec(await response.text())?.[1]);
  }
});

/** Takes half of what the journal keeps in reserve: placement may still write. */
function fill(path: string): void {
  const chunk = Buffer.alloc(1024 * 1024);
  const { bavail, bsize } = statfsSync(folder);
  const bytes = bavail * bsize - reserveBytes / 2;
  for (let left = bytes; left > 0; left -= chunk.length) writeFileSync(path, chunk, { flag: 'a' });
}
