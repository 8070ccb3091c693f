import { cpSync, existsSync, readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';

import { connect } from 'mqtt';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import { Cluster } from '../harness/cluster.ts';
import { type Finished, robustmq } from './command.ts';
import { connectMqtt, Inbox } from './mqtt-client.ts';

let cluster: Cluster;
beforeEach(async () => {
  cluster = await Cluster.start({ journals: 3, brokers: 2 });
});
afterEach(() => cluster[Symbol.asyncDispose]());

const folder = (): string => join(cluster.dataDir, 'placement');

function admin(...args: string[]): Promise<Finished> {
  return robustmq(...args, '--placement', cluster.role('placement').address('grpc'));
}

function rebuild(...args: string[]): Promise<Finished> {
  const journal = cluster.role('journal-1').address('grpc');
  return robustmq('placement', 'rebuild', '--data-dir', folder(), '--journal', journal, ...args);
}

/** Asks until placement knows of nothing that is wrong, but for copies that a slow follower lacks. */
async function allWell(): Promise<void> {
  const problems = async (): Promise<unknown> => {
    const { stdout } = await admin('status', '--json');
    const { problems: found } = JSON.parse(stdout) as { problems: string[] };
    return found.filter((problem) => !problem.includes('fewer'));
  };
  await expect.poll(problems, { timeout: 30_000, interval: 200 }).toEqual([]);
}

/** A durable session that is away and has subscribed to everything below two topics. */
async function leaveSession(): Promise<void> {
  const client = await connectMqtt(cluster.mqtt('broker-1'), session);
  await client.subscribeAsync(['plant/#', 'else/#'], { qos: 1 });
  await client.endAsync();
}

const session = {
  clientId: 'reader',
  protocolVersion: 5,
  clean: false,
  properties: { sessionExpiryInterval: 3_600 },
} as const;

/** Publishes with acknowledgement; returns what was. */
async function publish(from: number, count: number, broker = 'broker-2'): Promise<string[]> {
  const client = await connectMqtt(cluster.mqtt(broker), { protocolVersion: 5 });
  const payloads = Array.from({ length: count }, (_, at) => `${from + at}`);
  for (const payload of payloads) {
    const topic = Number(payload) % 2 === 0 ? 'plant/x' : `else/${Number(payload) % 5}`;
    await client.publishAsync(topic, payload, { qos: 1 });
  }
  await client.endAsync();
  return payloads;
}

/** What the session gets when it comes back, in each topic's order. */
async function received(count: number): Promise<string[]> {
  // Listened to before anything can come.
  const client = connect({ ...cluster.mqtt('broker-2'), ...session, reconnectPeriod: 0 });
  const inbox = new Inbox(client);
  const messages = await inbox.waitFor(count);
  await client.endAsync();
  return messages.map(({ payload }) => payload);
}

describe('robustmq placement rebuild', { timeout: 120_000 }, () => {
  it('after the folder was lost: topics, records and sessions are as they were', async () => {
    expect(await admin('topic', 'create', 'plant', '--set', 'segment.bytes=65536')).toMatchObject({
      code: 0,
    });
    await leaveSession();
    const before = await publish(0, 40);
    expect(await admin('shard', 'seal', 'plant/0')).toMatchObject({ code: 0 });
    const retained = await connectMqtt(cluster.mqtt('broker-1'));
    await retained.publishAsync('plant/state', 'on', { qos: 1, retain: true });
    await cluster.role('placement').kill();
    rmSync(folder(), { recursive: true });
    // What is open goes on.
    const during = await publish(100, 20);

    const dry = await rebuild('--dry-run');
    expect(dry.code).toBe(1);
    expect(dry.stderr).toContain('3 journals answer (journal-1, journal-2, journal-3)');
    expect(dry.stderr).toContain('nothing was changed');
    expect(existsSync(folder())).toBe(false);
    const rebuilt = await rebuild();
    expect(rebuilt).toMatchObject({ code: 0, stdout: expect.stringContaining('rebuilt') });
    await cluster.restart('placement');
    await allWell();

    const listed = await admin('topic', 'describe', 'plant', '--json');
    expect(JSON.parse(listed.stdout)).toMatchObject({
      partitions: 1,
      config: { 'segment.bytes': '65536', 'mqtt.prefix': 'plant' },
    });
    const after = await publish(200, 20);
    const got = await received(before.length + during.length + after.length + 1);
    expect(new Set(got)).toEqual(new Set([...before, ...during, ...after, 'on']));
    expect(new Set(got).size).toBe(got.length);
    const inbox = new Inbox(retained);
    await retained.subscribeAsync('plant/state', { qos: 1 });
    expect(await inbox.waitFor(1)).toMatchObject([{ payload: 'on' }]);
    await retained.endAsync();
    expect(await admin('topic', 'create', 'new')).toMatchObject({ code: 0 });
  });

  it('after an old copy was restored, which nobody obeys: nothing since is lost', async () => {
    await leaveSession();
    const before = await publish(0, 10);
    await cluster.role('placement').stop();
    const backup = join(cluster.dataDir, 'backup');
    cpSync(folder(), backup, { recursive: true });
    await cluster.restart('placement');
    await allWell();
    expect(await admin('topic', 'create', 'plant')).toMatchObject({ code: 0 });
    const since = await publish(100, 30);

    await cluster.role('placement').kill();
    rmSync(folder(), { recursive: true });
    cpSync(backup, folder(), { recursive: true });
    await cluster.restart('placement');
    const ready = async (): Promise<string> => {
      const page = await fetch(`http://${cluster.role('placement').address('http')}/health/ready`);
      return page.text();
    };
    await expect.poll(ready, { timeout: 20_000 }).toContain('robustmq placement rebuild');
    expect(await admin('topic', 'create', 'lost')).toMatchObject({ code: 1 });

    const inUse = await rebuild('--force');
    expect(inUse).toMatchObject({ code: 1, stderr: expect.stringContaining('in use') });
    await cluster.role('placement').kill();
    const refused = await rebuild();
    expect(refused).toMatchObject({ code: 1, stderr: expect.stringContaining('--force') });
    expect(await rebuild('--force')).toMatchObject({ code: 0 });
    expect(readdirSync(cluster.dataDir).some((name) => name.includes('before-epoch'))).toBe(true);
    await cluster.restart('placement');
    await allWell();

    const after = await publish(200, 10);
    const all = [...before, ...since, ...after];
    const got = await received(all.length);
    expect(new Set(got)).toEqual(new Set(all));
    expect(got.length).toBe(all.length);
  });

  it('without a journal it is refused, unless the journal is given up', async () => {
    const before = await publish(0, 20);
    await cluster.role('placement').kill();
    await cluster.role('journal-3').kill();
    rmSync(folder(), { recursive: true });
    const refused = await rebuild();
    expect(refused).toMatchObject({
      code: 1,
      stderr: expect.stringContaining('journal-3 (no answer'),
    });
    expect(refused.stderr).toContain('--allow-missing journal-3');
    expect(existsSync(folder())).toBe(false);
    const unknown = await rebuild('--allow-missing', 'journal-9');
    expect(unknown).toMatchObject({ code: 1, stderr: expect.stringContaining('journal-9') });

    const done = await rebuild('--allow-missing', 'journal-3', '--yes');
    expect(done).toMatchObject({ code: 0, stderr: expect.stringContaining('missing: journal-3') });
    await cluster.restart('placement');
    const client = await connectMqtt(cluster.mqtt('broker-1'), session);
    const inbox = new Inbox(client);
    await client.subscribeAsync(['plant/#', 'else/#'], { qos: 1 });
    const after = await publish(100, 10);
    expect((await inbox.waitFor(10)).map(({ payload }) => payload).toSorted()).toEqual(
      after.toSorted(),
    );
    await client.endAsync();
    const ends = JSON.parse((await admin('topic', 'list', '--json')).stdout) as unknown[];
    expect(ends.length).toBeGreaterThan(0);
    const status = JSON.parse((await admin('status', '--json')).stdout) as {
      shards: { records: number | null }[];
    };
    const records = status.shards.reduce((sum, shard) => sum + (shard.records ?? 0), 0);
    expect(records).toBe(before.length + after.length);
  });
});
