import { NodeState } from '@robustmq/rpc';
import { type FakeJournal, turns } from '@robustmq/testkit';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { chainOf, Cluster } from './cluster.fixture.ts';

describe('drains', () => {
  let cluster: Cluster;
  let journals: FakeJournal[];
  beforeEach(async () => {
    // Nothing is copied, but where a test says so.
    cluster = await Cluster.start({ config: { auditEachMs: 10 ** 9 } });
    journals = [];
    for (const name of ['j1', 'j2', 'j3', 'j4']) journals.push(await cluster.journal(name));
  });
  afterEach(() => cluster[Symbol.asyncDispose]());

  const stateOf = (nodeId: string): number | undefined =>
    cluster.client.catalog.node(nodeId)?.state;
  const drainOf = async (nodeId: string) =>
    (await cluster.client.describeCluster()).drains.find((drain) => drain.nodeId === nodeId);

  /** Shards with one record on all replicas of their open segment. */
  async function written(
    partitions: number,
    config: Record<string, string> = {},
  ): Promise<number[]> {
    const shardIds = await cluster.topic('t', partitions, config);
    await Promise.all(shardIds.map((shardId) => cluster.client.openSegments(shardId)));
    for (const { replicas } of journals) {
      for (const replica of replicas.values()) replica.length = 1;
    }
    return shardIds;
  }

  async function openOn(nodeId: string, shardIds: readonly number[]): Promise<number> {
    const open = await Promise.all(
      shardIds.map(async (shardId) => {
        const shard = await cluster.client.openSegments(shardId);
        return shard.segments.at(-1)?.replicaNodeIds.includes(nodeId) === true;
      }),
    );
    return open.filter(Boolean).length;
  }

  it('ends what is open on the journal, some at a time, and opens nothing there', async () => {
    const shardIds = await written(400);
    const before = await openOn('j1', shardIds);
    expect(before).toBeGreaterThan(200);
    await cluster.client.drainNode('j1');
    await cluster.settle();
    expect(stateOf('j1')).toBe(NodeState.DRAINING);
    await cluster.settle(1_000);
    expect((await drainOf('j1'))?.openSegments).toBe(before - 200);
    await cluster.settle(2_000);
    expect(await openOn('j1', shardIds)).toBe(0);
    expect(chainOf(await cluster.shard(shardIds[0] ?? 0))).toMatch(/^0-1 1-open$|^0-open$/);
  });

  it('is drained once everything has enough full copies elsewhere, and stays so over restarts', async () => {
    await written(20, { 'replication.factor': '2' });
    await cluster.client.drainNode('j1');
    await cluster.settle(20_000);
    // One copy elsewhere, two are wanted: the auditor has to make one.
    const drain = await drainOf('j1');
    expect(drain).toMatchObject({ openSegments: 0, counted: true, done: false });
    expect(drain?.uncopiedSegments).toBeGreaterThan(5);
    expect(stateOf('j1')).toBe(NodeState.DRAINING);
    // One copy would be left, where the ack quorum of two is promised.
    await expect(cluster.client.removeNode('j1')).rejects.toMatchObject({
      code: 'CONFLICT',
      message: expect.stringContaining('with too few full copies elsewhere') as string,
    });

    await cluster.client.drainNode('j1', true);
    await cluster.settle();
    expect(stateOf('j1')).toBe(NodeState.UP);
    expect(await drainOf('j1')).toBeUndefined();

    await cluster.client.deleteTopics(['t']);
    await cluster.settle(5_000);
    await cluster.client.drainNode('j1');
    await cluster.settle(10_000);
    expect(stateOf('j1')).toBe(NodeState.DRAINED);
    await cluster.restartPlacement();
    await journals[0]?.kill();
    await journals[0]?.start();
    await cluster.settle(1_000);
    expect(stateOf('j1')).toBe(NodeState.DRAINED);
  });

  it('is drained when the auditor has made full copies elsewhere, and still has what it had', async () => {
    await cluster.placement[Symbol.asyncDispose]();
    await cluster.startPlacement(cluster.store, { auditEachMs: 1_000 });
    await cluster.settle(2_000);
    await written(20, { 'replication.factor': '2' });
    const had = journals[0]?.replicas.size ?? 0;
    expect(had).toBeGreaterThan(5);
    await cluster.client.drainNode('j1');
    await cluster.settle(20_000);
    expect(await drainOf('j1')).toMatchObject({ openSegments: 0, uncopiedSegments: 0, done: true });
    expect(stateOf('j1')).toBe(NodeState.DRAINED);
    expect(journals[0]?.replicas.size).toBe(had);
    await cluster.client.removeNode('j1');
  });

  it('a journal is removed only while nothing is only there, and its id is burnt', async () => {
    const shardIds = await written(12, { 'replication.factor': '1' });
    await expect(cluster.client.removeNode('j1')).rejects.toMatchObject({
      code: 'INVALID_ARGUMENT',
      message: 'journal j1 is up: drain it first',
    });
    await cluster.client.drainNode('j1');
    await expect(cluster.client.removeNode('j1')).rejects.toMatchObject({
      code: 'CONFLICT',
      message: expect.stringMatching(
        /it has replicas of \d segments that are not sealed/,
      ) as string,
    });
    await cluster.settle(10_000);
    await expect(cluster.client.removeNode('j1')).rejects.toMatchObject({
      code: 'CONFLICT',
      message: expect.stringMatching(
        /it has \d segments with too few full copies elsewhere/,
      ) as string,
    });
    expect(shardIds).toHaveLength(12);

    await cluster.client.deleteTopics(['t']);
    await cluster.settle(5_000);
    await cluster.client.removeNode('j1');
    await cluster.settle(1_000);
    expect(cluster.client.catalog.node('j1')).toBeUndefined();
    await cluster.restartPlacement();
    await journals[0]?.kill();
    await journals[0]?.start();
    expect(journals[0]?.refusals.at(-1)).toMatchObject({
      code: 'FENCED',
      message: expect.stringContaining('node j1 was removed') as string,
    });
    expect(cluster.client.catalog.node('j1')).toBeUndefined();
  });

  it('nothing is opened on a journal while it is removed (simulation seed 22064080)', async () => {
    const [shardId = 0] = await cluster.topic('one', 1, { 'replication.factor': '1' });
    const prepared = Promise.withResolvers<void>();
    let victim = '';
    for (const journal of journals) {
      journal.onOrder = async (order) => {
        if (order !== 'prepare' || victim !== '') return;
        victim = journal.nodeId;
        await prepared.promise;
      };
    }
    // It may have to be asked for again.
    const opening = cluster.client.openSegments(shardId).catch(() => undefined);
    await turns(200);
    await cluster.client.drainNode(victim);
    // The removal looks at all segments, which takes a while; what was prepared is ready meanwhile.
    const counted = Promise.withResolvers<void>();
    const range = cluster.store.range.bind(cluster.store);
    Object.assign(cluster.store, {
      range: async (...args: Parameters<typeof range>) => {
        if (args[0] === 'seg/') await counted.promise;
        return range(...args);
      },
    });
    const removing = cluster.client.removeNode(victim);
    await turns(200);
    prepared.resolve();
    await turns(200);
    counted.resolve();
    await removing;
    await opening;
    const { segments } = await cluster.client.openSegments(shardId);
    expect(segments.map(({ replicaNodeIds }) => replicaNodeIds)).not.toContainEqual([victim]);
    expect(segments).toHaveLength(1);
  });

  it('a journal that is down for good is removed when others have all it had; nobody waits for it', async () => {
    const [shardId = 0] = await written(1);
    const segment = (await cluster.shard(shardId)).segments[0];
    const nodeId = segment?.leaderNodeId ?? '';
    const lost = journals.find((journal) => journal.nodeId === nodeId);
    await lost?.kill();
    await cluster.client.reportUnreachable(nodeId, 1);
    await cluster.settle(1_000);
    expect(chainOf(await cluster.shard(shardId))).toBe('0-1');
    await cluster.client.removeNode(nodeId);
    await cluster.client.deleteTopics(['t']);
    await cluster.settle(40_000);
    const text = await cluster.registry.metrics();
    expect(text).toContain('robustmq_placement_segments_deleting 0');
  });

  it('refuses what makes no sense', async () => {
    await cluster.broker('b1');
    const { client } = cluster;
    await expect(client.drainNode('nobody')).rejects.toMatchObject({ code: 'NOT_FOUND' });
    await expect(client.removeNode('nobody')).rejects.toMatchObject({ code: 'NOT_FOUND' });
    await expect(client.drainNode('b1')).rejects.toMatchObject({ code: 'INVALID_ARGUMENT' });
    for (const nodeId of ['j1', 'j2', 'j3']) await client.drainNode(nodeId);
    await expect(client.drainNode('j4')).rejects.toMatchObject({
      code: 'INVALID_ARGUMENT',
      message: 'no other journal is up to take over from j4: start one first',
    });
  });
});
