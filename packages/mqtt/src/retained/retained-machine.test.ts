import { offset, shardId } from '@robustmq/core';
import { encodeReservedHeader } from '@robustmq/kernel';
import { afterEach, describe, expect, it } from 'vitest';
import type {
  RetainedMessage,
  RetainedPage,
  RetainedPlace,
  ShardPosition,
} from '../session/session-gateway.ts';
import { sharedShard, type TestBroker, TestCluster } from '../session/test-cluster.ts';
import { CoordinatorRetainedGateway } from './coordinator-retained-gateway.ts';
import { createRetainedKind, retainedKind, type RetainedLimits } from './retained-machine.ts';
import { RetainedStats } from './retained-room.ts';
import { appendRecords, TestFanOut } from './test-fan-out.ts';

const retain = { name: 'mqtt.retain', value: encodeReservedHeader('mqtt.retain', 1) };

class RetainedCluster {
  readonly fanOuts: TestFanOut[] = [];
  readonly stats = new RetainedStats();
  readonly cluster: TestCluster;
  owner: TestBroker | undefined;
  gateway: CoordinatorRetainedGateway | undefined;

  constructor(limits: Partial<RetainedLimits>) {
    this.cluster = new TestCluster({
      kind: retainedKind,
      create: ({ catalog, cluster }) => {
        const fanOut = new TestFanOut(cluster.logs);
        this.fanOuts.push(fanOut);
        const { stats } = this;
        return createRetainedKind({ catalog, fanOut, placement: cluster, limits, stats });
      },
    });
  }

  async start(): Promise<void> {
    const { calls, catalog } = await this.cluster.broker();
    for (let i = 0; i < 16; i++) {
      const shard = {
        ...this.cluster.shard(),
        topic: 'mqtt',
        partition: i,
        shardId: sharedShard + i,
      };
      catalog.applyShard(shard);
    }
    this.gateway = new CoordinatorRetainedGateway({ calls, catalog, clock: this.cluster.clock });
    await this.elect();
  }

  async elect(): Promise<void> {
    this.owner?.kill();
    this.owner = await this.cluster.broker();
    this.cluster.assign(this.owner);
    await this.cluster.clock.advance(100);
  }

  put(partition: number, key: string, value: string | null, atMs = 0): void {
    const record = { key, value, headers: [retain] };
    appendRecords(this.cluster.logs.log(sharedShard + partition), [record], atMs);
  }

  pump(batches?: number): void {
    for (const fanOut of this.fanOuts) fanOut.pump(batches);
  }

  at(partition: number, position: number): ShardPosition {
    return { shardId: shardId(sharedShard + partition), offset: offset(position) };
  }

  /** Asks for all pages. */
  begin(
    filter: string,
    reached: readonly ShardPosition[],
  ): { found: RetainedMessage[]; done: Promise<void>; batches: number[] } {
    const found: RetainedMessage[] = [];
    const batches: number[] = [];
    const { gateway } = this;
    if (gateway === undefined) throw new Error('start comes first');
    const ask = async (): Promise<void> => {
      let from: RetainedPlace | undefined;
      do {
        const page = await gateway.page(filter, reached, { from, limit: 0 });
        found.push(...page.messages);
        batches.push(page.messages.length);
        from = page.next;
      } while (from !== undefined);
    };
    return { found, done: ask(), batches };
  }

  page(
    filter: string,
    reached: readonly ShardPosition[],
    at: { from: RetainedPlace | undefined; limit: number },
  ): Promise<RetainedPage> {
    const { gateway } = this;
    if (gateway === undefined) throw new Error('start comes first');
    return this.cluster.settle(gateway.page(filter, reached, at));
  }

  async lookup(filter: string, reached: readonly ShardPosition[]): Promise<string[]> {
    const { found, done } = this.begin(filter, reached);
    await this.cluster.settle(done);
    return found.map(({ topic, value }) => `${topic}=${value.toString()}`);
  }
}

const clusters: RetainedCluster[] = [];
afterEach(() => {
  for (const { cluster } of clusters.splice(0)) for (const broker of cluster.brokers) broker.kill();
});

async function start(limits: Partial<RetainedLimits> = {}): Promise<RetainedCluster> {
  const made = new RetainedCluster(limits);
  clusters.push(made);
  await made.start();
  return made;
}

describe('retained messages', () => {
  it('are found by exact filters and wildcards', async () => {
    const retained = await start();
    retained.put(0, 'a/b', 'one');
    retained.put(0, 'a/c', 'two');
    retained.put(1, 'a/d', 'three');
    retained.pump();
    expect(await retained.lookup('a/b', [retained.at(0, 2)])).toEqual(['a/b=one']);
    const found = await retained.lookup('a/+', [retained.at(0, 2), retained.at(1, 1)]);
    expect(found.toSorted((a, b) => a.localeCompare(b))).toEqual([
      'a/b=one',
      'a/c=two',
      'a/d=three',
    ]);
    expect(await retained.lookup('x/#', [retained.at(0, 2)])).toEqual([]);
  });

  it('are looked up once the fold has reached the offset', async () => {
    const retained = await start();
    retained.put(0, 'a', 'one');
    retained.put(0, 'a', 'two');
    retained.pump(1);
    const { found, done } = retained.begin('#', [retained.at(0, 2)]);
    await retained.cluster.clock.advance(1000);
    expect(found).toEqual([]);
    retained.pump();
    await retained.cluster.settle(done);
    expect(found.map(({ value }) => value.toString())).toEqual(['two']);
  });

  it('that cannot be reached in time are reported', async () => {
    const retained = await start();
    retained.put(0, 'a', 'one');
    retained.pump();
    const { done } = retained.begin('#', [retained.at(0, 9)]);
    await expect(retained.cluster.settle(done)).rejects.toMatchObject({ code: 'UNAVAILABLE' });
  });

  it('come in pages, each message once', async () => {
    const retained = await start();
    const value = 'x'.repeat(2000);
    for (let i = 0; i < 500; i++) retained.put(i % 2, `n/${i}`, value);
    retained.pump();
    const reached = [retained.at(0, 250), retained.at(1, 250)];
    const { found, done, batches } = retained.begin('n/#', reached);
    await retained.cluster.settle(done);
    expect(batches.length).toBeGreaterThan(2);
    expect(new Set(found.map(({ topic }) => topic)).size).toBe(500);
    expect(found).toHaveLength(500);
  });

  it('are listed page by page, whoever owns the coordinator then', async () => {
    const retained = await start();
    const names = Array.from({ length: 20 }, (_, index) => `n/${index}`);
    for (const [index, name] of names.entries()) retained.put(index % 2, name, 'v');
    retained.pump();
    const reached = [retained.at(0, 10), retained.at(1, 10)];
    const found: string[] = [];
    let from: RetainedPlace | undefined;
    let pages = 0;
    do {
      const page = await retained.page('n/+', reached, { from, limit: 3 });
      expect(page.messages.length).toBeLessThanOrEqual(3);
      found.push(...page.messages.map(({ topic }) => topic));
      from = page.next;
      // What is next may be gone by then.
      if (++pages === 2) retained.put(0, from?.name ?? '', null);
      await retained.elect();
      retained.pump();
    } while (from !== undefined);
    expect(pages).toBeGreaterThan(6);
    expect(new Set(found).size).toBe(found.length);
    expect(found).toHaveLength(names.length - 1);
  });

  it('say when their coordinator is full, and when it is not any more', async () => {
    const retained = await start({ bytesMax: 20_000 });
    const { clock } = retained.cluster;
    const [{ shardId: shard }] = [retained.at(0, 0)];
    const hasRoom = (): boolean | undefined => retained.gateway?.hasRoom(shard);
    for (let i = 0; i < 3; i++) retained.put(0, `n/${i}`, 'x'.repeat(7_000));
    retained.pump();
    // Nobody was asked before.
    expect(hasRoom()).toBe(true);
    await clock.advance(1_100);
    expect(hasRoom()).toBe(false);
    expect(retained.stats).toMatchObject({ messages: 3, full: 1, refusals: 0 });
    // What comes before the brokers know has a quarter more, and not more than that.
    retained.put(0, 'n/3', 'x'.repeat(1_000));
    retained.put(0, 'n/4', 'x'.repeat(7_000));
    retained.pump();
    expect(retained.stats).toMatchObject({ messages: 4, refusals: 1 });
    await clock.advance(1_100);
    expect(hasRoom()).toBe(false);
    retained.put(0, 'n/0', null);
    retained.put(0, 'n/1', null);
    retained.pump();
    await clock.advance(1_100);
    expect(hasRoom()).toBe(true);
    // Those who do not ask cost nothing.
    await clock.advance(2_000);
    const before = clock.pending;
    await clock.advance(20_000);
    expect(clock.pending).toBeLessThanOrEqual(before);
  });

  it('survive failovers: from the beginning, and from a snapshot', async () => {
    const retained = await start();
    retained.put(0, 'a', 'one');
    retained.pump();
    await retained.elect();
    retained.pump();
    expect(await retained.lookup('#', [retained.at(0, 1)])).toEqual(['a=one']);
    expect(retained.cluster.holds.get(`${retainedKind}/0 ${sharedShard}`)).toBe(0);
    await retained.cluster.clock.advance(80_000);
    expect(
      retained.cluster.holds.get(`${retainedKind}/0 ${sharedShard}`),
      'a snapshot holds its position',
    ).toBe(1);
    // What the snapshot has is not read again: it may be trimmed.
    const log = retained.cluster.logs.log(sharedShard);
    log.trimOffset = 1;
    retained.put(0, 'b', 'two');
    retained.put(0, 'a', null);
    retained.put(0, 'c', 'three');
    await retained.elect();
    retained.pump();
    expect(await retained.lookup('#', [retained.at(0, 4)])).toEqual(['b=two', 'c=three']);
  });

  it('go on behind a gap that retention has left', async () => {
    const retained = await start();
    retained.put(0, 'a', 'one');
    retained.put(0, 'b', 'two');
    retained.cluster.logs.log(sharedShard).trimOffset = 1;
    retained.pump();
    retained.pump();
    expect(await retained.lookup('#', [retained.at(0, 2)])).toEqual(['b=two']);
  });

  it('of partitions that MQTT cannot write are not asked for', async () => {
    const retained = await start();
    const { cluster } = retained;
    cluster.addTopic({ name: 'kafka', topicId: Buffer.alloc(16), shardIds: [50], config: {} });
    const shard = { ...cluster.shard(), topic: 'kafka', partition: 0, shardId: 50 };
    cluster.brokers[0]?.catalog.applyShard(shard);
    const position = { shardId: shardId(50), offset: offset(7) };
    expect(await retained.lookup('#', [position, retained.at(0, 0)])).toEqual([]);
  });

  it('of a topic with a prefix have its names', async () => {
    const retained = await start();
    const config = { 'mqtt.prefix': 'factory/line1' };
    retained.cluster.addTopic({ name: 'f', topicId: Buffer.alloc(16), shardIds: [60], config });
    appendRecords(retained.cluster.logs.log(60), [
      { key: 'temp', value: '20', headers: [retain] },
      { key: null, value: 'self', headers: [retain] },
    ]);
    retained.pump();
    const found = await retained.lookup('factory/#', [{ shardId: shardId(60), offset: offset(2) }]);
    expect(found).toEqual(['factory/line1=self', 'factory/line1/temp=20']);
  });

  it('are forgotten with their topic', async () => {
    const retained = await start();
    const config = { 'mqtt.prefix': 'p' };
    retained.cluster.addTopic({ name: 'p', topicId: Buffer.alloc(16), shardIds: [60], config });
    retained.pump();
    const holds = (): number | undefined => retained.cluster.holds.get(`${retainedKind}/0 60`);
    expect(holds()).toBe(0);
    const topic = { removal: { $case: 'topic' as const, value: 'p' } };
    retained.owner?.catalog.apply({
      revision: 1000,
      fullListBegins: false,
      entries: [],
      removals: [topic],
      placementEpoch: 1,
    });
    expect(holds()).toBeUndefined();
  });
});
