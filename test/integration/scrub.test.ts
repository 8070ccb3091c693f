import { openSync, readdirSync, readSync, statSync, writeSync } from 'node:fs';
import { join } from 'node:path';

import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import { Cluster } from '../harness/cluster.ts';
import { robustmq } from './command.ts';
import { connectMqtt } from './mqtt-client.ts';

let cluster: Cluster;
beforeAll(async () => {
  cluster = await Cluster.start({ journals: 3 });
});
afterAll(() => cluster[Symbol.asyncDispose]());

const placement = (): string[] => ['--placement', cluster.placement()];

async function publish(count: number): Promise<void> {
  const client = await connectMqtt(cluster.mqtt());
  for (let at = 0; at < count; at++) {
    await client.publishAsync('scrub/one', 'x'.repeat(20_000), { qos: 1 });
  }
  await client.endAsync();
}

/** Files of sealed segments with more than so many bytes. */
function segmentFiles(name: string, bytes: number): string[] {
  const folder = join(cluster.dataDir, name, 'seg');
  return readdirSync(folder, { recursive: true, encoding: 'utf8' })
    .map((path) => join(folder, path))
    .filter((path) => path.endsWith('.log') && statSync(path).size > bytes);
}

function flipBit(path: string, position: number): void {
  const file = openSync(path, 'r+');
  const byte = Buffer.alloc(1);
  readSync(file, byte, 0, 1, position);
  byte.writeUInt8(byte.readUInt8() ^ 4);
  writeSync(file, byte, 0, 1, position);
}

describe('robustmq journal scrub', () => {
  it('finds a flipped bit without a restart, says where, and the replica is made anew', async () => {
    await publish(150);
    // Whoever leads ends it, with the end in its files.
    for (const name of ['journal-1', 'journal-2', 'journal-3']) {
      await cluster.role(name).stop();
      await cluster.restart(name);
    }
    const scrub = async (): Promise<string> =>
      (await robustmq('journal', 'scrub', ...placement())).stdout;
    // As soon as they know the end.
    await expect
      .poll(scrub, { timeout: 40_000 })
      .toMatch(/journal-1: [1-9]\d* replicas read again/);
    const intact = await scrub();
    for (const name of ['journal-1', 'journal-2', 'journal-3']) {
      expect(intact).toMatch(new RegExp(`${name}: .*none damaged`));
    }
    const [path = ''] = segmentFiles('journal-1', 100_000);
    flipBit(path, 50_000);
    const found = await robustmq('journal', 'scrub', '--node', 'journal-1', ...placement());
    expect(found.stdout).toMatch(/journal-1: .*1 DAMAGED/);
    const file = path.slice(path.indexOf('seg/'));
    expect(found.stdout).toMatch(new RegExp(`bytes \\d+ to \\d+ of ${file}: the frame at byte`));
    const status = async (): Promise<string> => (await robustmq('status', ...placement())).stdout;
    // It is repaired without a restart, and what was damaged is kept.
    await expect.poll(status, { timeout: 40_000 }).toMatch('everything is well');
    const kept = (): string[] => readdirSync(join(cluster.dataDir, 'journal-1', 'quarantine'));
    await expect.poll(kept, { timeout: 20_000 }).toHaveLength(1);
    expect(kept()[0]).toMatch(/^\d{8}T\d{6}Z-damaged-[0-9a-f]{32}\.log$/);
    const again = await robustmq('journal', 'scrub', '--node', 'journal-1', ...placement());
    expect(again.stdout).toMatch('none damaged');
    const refused = await robustmq('journal', 'scrub', '--node', 'journal-9', ...placement());
    expect(refused.stderr).toMatch('there is no journal "journal-9"; there are journal-1');
  }, 90_000);
});
