import { OperatingError } from '@robustmq/core';
import { RollSegment, StoredShard } from '@robustmq/rpc';
import type { FakeJournal } from '@robustmq/testkit';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { chainOf, Cluster } from './cluster.fixture.ts';
import { segmentsPrefix, shardKey } from './controller/keys.ts';

describe('topics', () => {
  let cluster: Cluster;
  beforeEach(async () => {
    cluster = await Cluster.start();
  });
  afterEach(() => cluster[Symbol.asyncDispose]());

  const create = async (name: string, config: Record<string, string> = {}, partitions = 1) =>
    (await cluster.client.createTopics([{ name, partitions, config }]))[0];

  it('creates topics of one and of thousands of partitions', async () => {
    const config = { 'retention.ms': '1000' };
    const [small, large] = await cluster.client.createTopics([
      { name: 'small', partitions: 0, config },
      { name: 'large', partitions: 1_234, config: {} },
    ]);
    expect(small).toMatchObject({ name: 'small', config });
    if (large === undefined || large instanceof OperatingError) throw new Error('no topic');
    expect(new Set(large.shardIds).size).toBe(1_234);
    for (const [partition, shardId] of [...large.shardIds.entries()].slice(-3)) {
      expect(await cluster.shard(shardId)).toMatchObject({ topic: 'large', partition });
    }
    await cluster.settle();
    expect(cluster.client.catalog.topic('large')).toEqual(large);
  });

  it.each([
    ['a/b', {}, 1, 'INVALID_ARGUMENT'],
    ['$internal', {}, 1, 'INVALID_ARGUMENT'],
    ['mqtt', {}, 1, 'ALREADY_EXISTS'],
    ['t', { nonsense: '1' }, 1, 'INVALID_ARGUMENT'],
    ['t', {}, 10_001, 'INVALID_ARGUMENT'],
  ])('refuses %s %j with %i partitions', async (name, config, partitions, code) => {
    expect(await create(name, config, partitions)).toMatchObject({ code });
  });

  it('lets one topic own an MQTT prefix', async () => {
    await create('a', { 'mqtt.prefix': 'x/y' });
    expect(await create('b', { 'mqtt.prefix': 'x/y' })).toMatchObject({
      code: 'ALREADY_EXISTS',
      message: expect.stringContaining('belongs to topic a'),
    });
    await create('b', { 'mqtt.prefix': 'x' });
    await expect(
      cluster.client.alterTopic({ name: 'b', set: { 'mqtt.prefix': 'x/y' } }),
    ).rejects.toMatchObject({ code: 'ALREADY_EXISTS' });
    await cluster.client.alterTopic({ name: 'a', remove: ['mqtt.prefix'] });
    await cluster.client.alterTopic({ name: 'b', set: { 'mqtt.prefix': 'x/y' } });
    await cluster.client.deleteTopics(['b']);
    expect(await create('c', { 'mqtt.prefix': 'x/y' })).toMatchObject({ name: 'c' });
  });

  it('refuses to need more replicas in sync than a topic has, however that comes about', async () => {
    const refusal = {
      code: 'INVALID_ARGUMENT',
      message: expect.stringContaining('min.insync.replicas: at most replication.factor') as string,
    };
    const bad = [
      { 'min.insync.replicas': '4' },
      { 'replication.factor': '1', 'min.insync.replicas': '2' },
    ];
    for (const config of bad)
      await expect(cluster.topic('t', 1, config)).rejects.toEqual(expect.objectContaining(refusal));
    await cluster.topic('t', 1, { 'min.insync.replicas': '3', 'replication.factor': '5' });
    const change = (set: Record<string, string>, remove: string[] = []): Promise<unknown> =>
      cluster.client.alterTopic({ name: 't', set, remove });
    await expect(change({ 'min.insync.replicas': '6' })).rejects.toMatchObject(refusal);
    await expect(change({ 'replication.factor': '2' })).rejects.toMatchObject(refusal);
    await change({ 'min.insync.replicas': '5' });
    await expect(change({}, ['replication.factor'])).rejects.toMatchObject(refusal);
    await change({ 'min.insync.replicas': '1' }, ['replication.factor']);
  });

  it('checks without creating', async () => {
    const wanted = [{ name: 't', partitions: 3, config: {} }];
    expect((await cluster.client.createTopics(wanted, true))[0]).toMatchObject({ name: 't' });
    const { topics } = await cluster.client.describeCluster();
    expect(topics.map((topic) => topic.name)).toEqual(['mqtt']);
  });

  it('changes settings and adds partitions', async () => {
    const before = await create('t', { 'retention.ms': '5', 'segment.ms': '1000' }, 2);
    if (before === undefined || before instanceof OperatingError) throw new Error('no topic');
    const change = { set: { 'retention.ms': '9' }, remove: ['segment.ms'], partitions: 400 };
    const topic = await cluster.client.alterTopic({ name: 't', ...change });
    expect(topic.config).toEqual({ 'retention.ms': '9' });
    expect(topic.shardIds).toHaveLength(400);
    expect(topic.shardIds.slice(0, 2)).toEqual(before.shardIds);
    for (const [bad, code] of [
      [{ name: 't', partitions: 1 }, 'INVALID_ARGUMENT'],
      [{ name: 't', remove: ['nonsense'] }, 'INVALID_ARGUMENT'],
      [{ name: 'none' }, 'NOT_FOUND'],
    ] as const) {
      await expect(
        cluster.client.alterTopic({ ...bad, remove: [...('remove' in bad ? bad.remove : [])] }),
      ).rejects.toMatchObject({ code });
    }
  });

  it('deletes a topic, its segments and their replicas', async () => {
    const journal = await cluster.journal('j1');
    const [shardId = 0] = await cluster.topic('t');
    await cluster.client.openSegments(shardId);
    journal.append(shardId, 4);
    expect((await cluster.client.deleteTopics(['t', 't', '$x']))[1]).toMatchObject({
      code: 'NOT_FOUND',
    });
    await expect(cluster.client.openSegments(shardId)).rejects.toMatchObject({ code: 'NOT_FOUND' });
    await cluster.settle(1_000);
    expect(journal.replicas.size).toBe(0);
    expect(cluster.client.catalog.topic('t')).toBeUndefined();
    expect(cluster.client.catalog.shard(shardId)).toBeUndefined();
    expect((await cluster.store.range('')).entries.map(({ key }) => key)).not.toContainEqual(
      expect.stringMatching(/^(deleting|topic-deletion|seg)\//),
    );
    // The name is free, for other shards.
    const [next = 0] = await cluster.topic('t');
    expect(next).toBeGreaterThan(shardId);
  });

  it('deletes what a journal has once it is back', async () => {
    const journal = await cluster.journal('j1');
    const [shardId = 0] = await cluster.topic('t');
    await cluster.client.openSegments(shardId);
    journal.append(shardId, 4);
    await journal.kill();
    await cluster.settle();
    await cluster.client.deleteTopics(['t']);
    await cluster.settle(5_000);
    expect(journal.replicas.size).toBe(1);
    await journal.start();
    await cluster.settle(3_000);
    expect(journal.replicas.size).toBe(0);
    expect((await cluster.store.range('topic-deletion/')).entries).toEqual([]);
    expect((await cluster.store.range('deleting/')).entries).toEqual([]);
  });

  it('placement is not ready while its disk is full, and sees by itself when there is space', async () => {
    const { store } = cluster;
    const transact = store.transact.bind(store);
    store.transact = () => Promise.reject(new OperatingError('DISK_FULL', 'no space'));
    await expect(cluster.client.allocateProducerIds(1)).rejects.toMatchObject({
      code: 'DISK_FULL',
    });
    await cluster.settle(2_000);
    expect(cluster.placement.notReady()).toBe('its store takes no changes: no space');
    store.transact = transact;
    await cluster.settle(1_000);
    expect(cluster.placement.notReady()).toBeUndefined();
  });

  it('gives producer ids once', async () => {
    const blocks = await Promise.all(
      [1, 10, 100].map((n) => cluster.client.allocateProducerIds(n)),
    );
    const ids = blocks.flatMap(({ first, count }) =>
      Array.from({ length: count }, (_, at) => first + at),
    );
    expect(new Set(ids).size).toBe(111);
    expect(Math.min(...ids)).toBe(1);
    await expect(cluster.client.allocateProducerIds(0)).rejects.toMatchObject({
      code: 'INVALID_ARGUMENT',
    });
    await cluster.restartPlacement();
    // In the range of its epoch, since a copy of the store may have given the next ones.
    const { first } = await cluster.client.allocateProducerIds(1);
    expect(Math.floor(first / 2 ** 32)).toBe(2);
  });

  describe('retention', () => {
    let journal: FakeJournal;
    beforeEach(async () => {
      journal = await cluster.journal('j1');
    });

    /** Five sealed segments of ten records and 100 bytes, then an open one. */
    async function filled(config: Record<string, string>): Promise<number> {
      const [shardId = 0] = await cluster.topic('t', 1, config);
      await cluster.client.openSegments(shardId);
      for (let end = 10; end <= 50; end += 10) {
        const open = (await cluster.shard(shardId)).segments.at(-1);
        const item = RollSegment.create({
          segmentId: open?.segmentId ?? Buffer.alloc(0),
          shardId,
          epoch: open?.epoch ?? 0,
          endOffset: end,
          fullNodeIds: ['j1'],
          openNext: true,
          sizeBytes: 100,
          maxTimestampMs: cluster.clock.wallMs(),
        });
        await cluster.client.rollSegments({ nodeId: 'j1', incarnation: 1, segments: [item] });
      }
      return shardId;
    }

    const bases = async (shardId: number): Promise<number[]> =>
      (await cluster.client.listSegments(shardId, 0)).map((segment) => segment.baseOffset);

    it('deletes what is too old, and its replicas', async () => {
      const shardId = await filled({ 'retention.ms': '60000' });
      await cluster.settle(59_000);
      expect(await bases(shardId)).toEqual([0, 10, 20, 30, 40, 50]);
      await cluster.settle(60_000);
      expect(await bases(shardId)).toEqual([50]);
      expect(journal.replicas.size).toBe(1);
      expect((await cluster.shard(shardId)).trimOffset).toBe(50);
    });

    it('sees segments that come after a pass has found none', async () => {
      const [shardId = 0] = await cluster.topic('u', 1, { 'retention.ms': '60000' });
      await cluster.settle(31_000);
      await cluster.client.openSegments(shardId);
      journal.append(shardId, 5);
      await journal.kill();
      await journal.start();
      await cluster.settle(31_000);
      expect(chainOf(await cluster.shard(shardId))).toBe('0-5');
      await cluster.settle(62_000);
      expect(chainOf(await cluster.shard(shardId))).toBe('');
      expect(await cluster.shard(shardId)).toMatchObject({ trimOffset: 5, endOffset: 5 });
    });

    it('keeps as many bytes as it should', async () => {
      const shardId = await filled({ 'retention.bytes': '250' });
      await cluster.settle(31_000);
      expect(await bases(shardId)).toEqual([20, 30, 40, 50]);
    });

    it('trims on order, whole segments only', async () => {
      const shardId = await filled({});
      const [trimmed] = await cluster.client.trimShards([{ shardId, offset: 25 }]);
      expect(trimmed).toMatchObject({ trimOffset: 25 });
      expect(await bases(shardId)).toEqual([20, 30, 40, 50]);
      await cluster.settle();
      expect(journal.replicas.size).toBe(4);
      const missing = await cluster.client.trimShards([{ shardId: 9_999, offset: 1 }]);
      expect(missing[0]).toMatchObject({ code: 'NOT_FOUND' });
    });

    it('takes segments off once, also when somebody else has done so since they were read', async () => {
      const shardId = await filled({});
      const { store } = cluster;
      const range = store.range.bind(store);
      const overtaken = Promise.withResolvers<void>();
      const asked = Promise.withResolvers<void>();
      store.range = async (prefix, options) => {
        const found = await range(prefix, options);
        if (prefix !== segmentsPrefix(shardId)) return found;
        store.range = range;
        asked.resolve();
        await overtaken.promise;
        return found;
      };
      const slow = cluster.client.trimShards([{ shardId, offset: 30 }]);
      await asked.promise;
      const [quick] = await cluster.client.trimShards([{ shardId, offset: 50 }]);
      expect(quick).toMatchObject({ trimOffset: 50 });
      overtaken.resolve();
      expect((await slow)[0]).toMatchObject({ trimOffset: 50 });
      expect(await bases(shardId)).toEqual([50]);
      const stored = await store.get(shardKey(shardId));
      expect(stored && StoredShard.decode(stored.value).sealedBytes).toBe(0);
      await cluster.settle();
      expect(journal.replicas.size).toBe(1);
    });

    it('waits for holders, up to a number of bytes', async () => {
      const config = { 'retention.bytes': '0', 'retention.hold.bytes': '350' };
      const shardId = await filled(config);
      await cluster.client.holdShards('mqtt-session/1', [{ shardId, offset: 15 }]);
      await cluster.client.holdShards('mqtt-session/2', [{ shardId, offset: 45 }]);
      await cluster.settle(31_000);
      // 100 bytes lie below the hold; 350 of the 400 above it are respected.
      expect(await bases(shardId)).toEqual([20, 30, 40, 50]);
      const metrics = await cluster.registry.metrics();
      expect(metrics).toMatch(/robustmq_placement_holds_overridden_total [1-9]/);
      await cluster.client.holdShards('mqtt-session/1', [], [shardId]);
      await cluster.settle(31_000);
      expect(await bases(shardId)).toEqual([40, 50]);
      await cluster.client.holdShards('mqtt-session/2', [{ shardId, offset: 50 }]);
      await cluster.settle(31_000);
      expect(await bases(shardId)).toEqual([50]);
      expect(chainOf(await cluster.shard(shardId))).toBe('50-open');
    });

    it('keeps holds over a restart', async () => {
      const shardId = await filled({ 'retention.bytes': '0' });
      await cluster.client.holdShards('a', [{ shardId, offset: 30 }]);
      await cluster.restartPlacement();
      await cluster.settle(31_000);
      expect(await bases(shardId)).toEqual([30, 40, 50]);
    });
  });
});
