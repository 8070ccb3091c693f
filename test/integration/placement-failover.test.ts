import { setTimeout as pause } from 'node:timers/promises';

import { etcdMissing, EtcdProcess } from '@robustmq/testkit';
import type { MqttClient } from 'mqtt';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import { Cluster } from '../harness/cluster.ts';
import { robustmq } from './command.ts';
import { connectMqtt } from './mqtt-client.ts';

/** How long etcd is away; `ROBUSTMQ_ETCD_AWAY_MS=600000` for the ten minutes of the promise. */
const awayMs = Number(process.env['ROBUSTMQ_ETCD_AWAY_MS'] ?? 10_000);
const names = ['placement-1', 'placement-2', 'placement-3'];

const reason = etcdMissing();
if (reason !== undefined) console.warn(`the failover of placement is not tried: ${reason}`);
const title = `several placements on etcd${reason === undefined ? '' : ` (skipped: ${reason})`}`;

interface Status {
  readonly placementEpoch: number;
  readonly placement: readonly { readonly address: string; readonly state: string }[];
  readonly problems: readonly string[];
}

/** Publishes at QoS 1, one after the other, until it is stopped; each has to be acknowledged. */
class Publisher {
  published = 0;
  readonly failures: unknown[] = [];
  readonly #client: MqttClient;
  readonly #topic: string;
  #stopped = false;
  readonly #running: Promise<void>;

  constructor(client: MqttClient, topic: string) {
    this.#client = client;
    this.#topic = topic;
    this.#running = this.#run();
  }

  /** Resolves when `count` more are acknowledged. */
  async more(count: number): Promise<void> {
    const wanted = this.published + count;
    while (this.published < wanted) await pause(5);
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    await this.#running;
    await this.#client.endAsync();
  }

  async #run(): Promise<void> {
    while (!this.#stopped) {
      try {
        await this.#client.publishAsync(this.#topic, `${this.published}`, { qos: 1 });
        this.published++;
      } catch (thrown) {
        this.failures.push(thrown);
        return;
      }
      await pause(2);
    }
  }
}

describe.skipIf(reason !== undefined)(title, () => {
  let etcd: EtcdProcess;
  let cluster: Cluster;
  let topics = 0;
  beforeAll(async () => {
    etcd = await EtcdProcess.start();
    cluster = await Cluster.start({
      placements: names.length,
      placementArgs: ['--store', 'etcd', '--etcd-endpoints', etcd.endpoint],
      journals: 3,
      brokers: 2,
    });
  });
  afterAll(async () => {
    await cluster[Symbol.asyncDispose]();
    await etcd[Symbol.asyncDispose]();
  });

  const placement = (): string[] => ['--placement', cluster.placement()];

  /** What placement says of itself; undefined while nobody decides. */
  async function status(): Promise<Status | undefined> {
    const { code, stdout } = await robustmq('status', '--json', ...placement());
    return code === 0 ? (JSON.parse(stdout) as Status) : undefined;
  }

  async function leader(): Promise<string> {
    const known = await status();
    const address = known?.placement.find(({ state }) => state === 'leads')?.address;
    const name = names.find((each) => cluster.role(each).address('grpc') === address);
    if (name === undefined) throw new Error('no placement leads');
    return name;
  }

  /** Waits until one decides, all nodes are there and nothing is wrong; its epoch. */
  async function allWell(): Promise<number> {
    let epoch = 0;
    const problems = async (): Promise<unknown> => {
      const known = await status();
      epoch = known?.placementEpoch ?? 0;
      return known?.problems;
    };
    await expect.poll(problems, { timeout: 30_000, interval: 200 }).toEqual([]);
    return epoch;
  }

  /** A topic and its first segment are made, which only a placement that decides can. */
  async function makeAndWrite(broker: string): Promise<void> {
    const name = `made-${topics++}`;
    const create = async (): Promise<unknown> =>
      (await robustmq('topic', 'create', name, ...placement())).code;
    await expect.poll(create, { timeout: 20_000, interval: 100 }).toBe(0);
    const client = await connectMqtt(cluster.mqtt(broker));
    await client.publishAsync(`${name}/x`, 'first', { qos: 1 });
    await client.endAsync();
  }

  async function publishers(): Promise<Publisher[]> {
    const clients = await Promise.all(
      ['broker-1', 'broker-2'].map((name) => connectMqtt(cluster.mqtt(name))),
    );
    const started = clients.map((client, at) => new Publisher(client, `flow/${at}`));
    await Promise.all(started.map((publisher) => publisher.more(20)));
    return started;
  }

  /** None has failed, and they still get on. */
  async function expectUnharmed(running: Publisher[]): Promise<void> {
    await Promise.all(running.map((publisher) => publisher.more(20)));
    await Promise.all(running.map((publisher) => publisher.stop()));
    expect(running.flatMap(({ failures }) => failures)).toEqual([]);
  }

  it('status says who decides', async () => {
    await allWell();
    const known = await status();
    expect(known?.placement.map(({ state }) => state).toSorted()).toEqual([
      'leads',
      'stands by',
      'stands by',
    ]);
    const { stdout } = await robustmq('status', ...placement());
    expect(stdout).toMatch(/^placement: 127\.0\.0\.1:\d+ leads, /m);
  });

  it('SIGKILL of the one that decides: no append fails, and another decides', async () => {
    const before = await allWell();
    const victim = await leader();
    const running = await publishers();
    await cluster.role(victim).kill();
    await makeAndWrite('broker-1');
    await expectUnharmed(running);
    expect(await leader()).not.toBe(victim);
    await cluster.restart(victim);
    expect(await allWell()).toBeGreaterThan(before);
  });

  it('SIGSTOP of the one that decides: another does; when it wakes it does no harm', async () => {
    const before = await allWell();
    const victim = await leader();
    const running = await publishers();
    cluster.role(victim).signal('SIGSTOP');
    try {
      await makeAndWrite('broker-2');
      expect(await leader()).not.toBe(victim);
    } finally {
      cluster.role(victim).signal('SIGCONT');
    }
    const after = await allWell();
    expect(after).toBeGreaterThan(before);
    await makeAndWrite('broker-1');
    await expectUnharmed(running);
    expect(await leader()).not.toBe(victim);
    expect((await status())?.placementEpoch).toBe(after);
  });

  it('etcd starts again: no append fails, and everything goes on', async () => {
    await allWell();
    const running = await publishers();
    await etcd.kill();
    await etcd.restart();
    await makeAndWrite('broker-1');
    await expectUnharmed(running);
    await allWell();
  });

  it(
    `etcd is away for ${awayMs} ms: no append fails, and it recovers by itself`,
    async () => {
      await allWell();
      const running = await publishers();
      await etcd.kill();
      await pause(awayMs);
      await Promise.all(running.map((publisher) => publisher.more(20)));
      await etcd.restart();
      await makeAndWrite('broker-2');
      await expectUnharmed(running);
      await allWell();
    },
    awayMs + 60_000,
  );
});
