import { spawn } from 'node:child_process';
import { join } from 'node:path';

import { SqliteStore } from '@robustmq/placement';
import { StoredAudit } from '@robustmq/rpc';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import { Cluster } from '../harness/cluster.ts';
import { type Finished, robustmq } from './command.ts';
import { connectMqtt } from './mqtt-client.ts';

let cluster: Cluster;
beforeAll(async () => {
  cluster = await Cluster.start({ journals: 3 });
});
afterAll(() => cluster[Symbol.asyncDispose]());

function admin(...args: string[]): Promise<Finished> {
  return robustmq(...args, '--placement', cluster.role('placement').address('grpc'));
}

/** Runs a command and types a line when it asks. */
async function typing(line: string, ...args: string[]): Promise<Finished> {
  const placement = cluster.role('placement').address('grpc');
  const entry = join(import.meta.dirname, '../../packages/cli/bin/robustmq.mjs');
  const child = spawn(process.execPath, [entry, ...args, '--placement', placement]);
  let stdout = '';
  let stderr = '';
  child.stdout.on('data', (chunk) => (stdout += String(chunk)));
  child.stderr.on('data', (chunk) => (stderr += String(chunk)));
  child.stdin.end(`${line}\n`);
  const code = await new Promise<number | null>((resolve) => child.once('close', resolve));
  return { code, stdout, stderr };
}

interface Described {
  readonly shardId: number;
  readonly segments: readonly {
    readonly baseOffset: number;
    readonly endOffset: number | null;
    readonly state: string;
    readonly leader: string;
    readonly full: readonly string[];
    readonly replicas: readonly { nodeId: string; state: string; length: number | null }[];
  }[];
}

async function described(name: string): Promise<Described> {
  const { stdout, stderr } = await admin('shard', 'describe', name, '--json');
  expect(stderr).toBe('');
  const [shard] = JSON.parse(stdout) as Described[];
  if (shard === undefined) throw new Error(`${name} is not described`);
  return shard;
}

async function publish(count: number): Promise<void> {
  const client = await connectMqtt(cluster.mqtt());
  for (let at = 0; at < count; at++) {
    await client.publishAsync('line/x', `${at}`, { qos: 1 });
  }
  await client.endAsync();
}

describe('robustmq journal list', () => {
  it('shows each journal with what it says of itself', async () => {
    await publish(1);
    const healthOf = async (): Promise<unknown> => {
      const listed = await admin('journal', 'list', '--json');
      const journals = JSON.parse(listed.stdout) as { health: { replicas: number } | null }[];
      return journals.map(({ health }) => (health?.replicas ?? 0) > 0);
    };
    await expect.poll(healthOf, { timeout: 10_000 }).toEqual([true, true, true]);
    const { code, stdout, stderr } = await admin('journal', 'list');
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    expect(stdout).toMatch(
      /^JOURNAL\s+STATE\s+ADDRESS\s+ZONE\s+INCARNATION\s+FREE\s+REPLICAS\s+LED/,
    );
    expect(stdout).toMatch(/^journal-2\s+up\s+127\.0\.0\.1:\d+\s+-\s+1\s+[\d.]+ \wiB/m);
  });
});

describe('robustmq shard', () => {
  it('seals the open segment; the next append opens one behind it', async () => {
    expect(await admin('topic', 'create', 'line')).toMatchObject({ code: 0 });
    expect(await admin('shard', 'seal', 'line/0')).toMatchObject({
      code: 0,
      stdout: expect.stringContaining('nothing to seal'),
    });
    await publish(5);
    const before = await described('line/0');
    expect(before.segments).toMatchObject([{ baseOffset: 0, endOffset: null, state: 'open' }]);
    const replicas = before.segments[0]?.replicas ?? [];
    expect(replicas.map(({ state }) => state).toSorted()).toEqual([
      'leads',
      'unsealed',
      'unsealed',
    ]);
    expect(replicas.filter(({ length }) => length === 5).length).toBeGreaterThan(1);

    const sealed = await admin('shard', 'seal', 'line/0');
    expect(sealed).toMatchObject({ code: 0, stderr: '' });
    expect(sealed.stdout).toContain('at offset 5');
    await publish(2);
    expect((await described('line/0')).segments).toMatchObject([
      { baseOffset: 0, endOffset: 5, state: 'sealed' },
      { baseOffset: 5, endOffset: null, state: 'open' },
    ]);
    const text = await admin('shard', 'describe', 'line');
    expect(text.stdout).toMatch(/^line\/0: shard \d+, epoch \d+, records from 0$/m);
    expect(text.stdout).toMatch(/^\w{8}\s+0\s+5\s+sealed/m);
  });

  it.each([
    [['describe', 'nothing'], 'there is no topic nothing'],
    [['describe', 'line/7'], 'topic line has partitions 0 to 0, no 7'],
    [['describe', 'line/x'], 'TOPIC/PARTITION'],
    [['seal', 'line'], 'name the partition'],
  ])('%j: one clear line', async (args, words) => {
    const { code, stderr } = await admin('shard', ...args);
    expect(code).toBe(1);
    expect(stderr).toMatch(/^robustmq: .*\n$/);
    expect(stderr).toContain(words);
  });

  it('seals unsafely only when it has to, after saying what may be lost, and keeps a record', async () => {
    const { leader = '' } = (await described('line/0')).segments.at(-1) ?? {};
    const others = ['journal-1', 'journal-2', 'journal-3'].filter((name) => name !== leader);
    await Promise.all(others.map((name) => cluster.role(name).kill()));
    const refused = async (): Promise<Finished> => admin('shard', 'seal', 'line/0');
    await expect.poll(refused, { timeout: 20_000 }).toMatchObject({
      code: 1,
      stderr: expect.stringContaining('--unsafe'),
    });

    const wrong = await typing('line/1', 'shard', 'seal', 'line/0', '--unsafe');
    expect(wrong.code).toBe(1);
    expect(wrong.stderr).toContain('1 of 3 replicas answer and are intact, 2 are needed');
    expect(wrong.stderr).toContain('it ends at offset 7');
    expect(wrong.stderr).toContain('nothing was done');
    expect((await described('line/0')).segments.at(-1)?.endOffset).toBeNull();

    const done = await typing('line/0', 'shard', 'seal', 'line/0', '--unsafe');
    expect(done).toMatchObject({ code: 0, stdout: expect.stringContaining('at offset 7') });
    expect((await described('line/0')).segments.at(-1)).toMatchObject({
      endOffset: 7,
      full: [leader],
    });
    expect(cluster.role('placement').log.join('\n')).toContain('acknowledged records may be lost');
    await cluster.role('placement').stop();
    await using store = SqliteStore.open({ dataDir: join(cluster.dataDir, 'placement') });
    const { entries } = await store.range('audit/');
    expect(entries.map(({ value }) => StoredAudit.decode(value))).toMatchObject([
      {
        action: 'unsafe-seal',
        topic: 'line',
        partition: 0,
        endOffsetMin: 7,
        presentNodeIds: [leader],
        absentNodeIds: expect.arrayContaining(others),
      },
    ]);
  });
});
