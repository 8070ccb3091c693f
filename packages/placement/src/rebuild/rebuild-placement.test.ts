import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { journalControlMethods } from '@robustmq/rpc';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { chainOf, Cluster } from '../cluster.fixture.ts';
import { SqliteStore } from '../store/sqlite-store.ts';
import { folderTarget } from './folder-target.ts';
import { rebuildPlacement, type RebuildOptions } from './rebuild-placement.ts';

describe('rebuildPlacement', () => {
  let cluster: Cluster;
  let folder: string;
  let store: SqliteStore | undefined;
  beforeEach(async () => {
    cluster = await Cluster.start();
    folder = mkdtempSync(join(tmpdir(), 'robustmq-rebuild-'));
  });
  afterEach(async () => {
    await cluster[Symbol.asyncDispose]();
    await store?.[Symbol.asyncDispose]();
    store = undefined;
    rmSync(folder, { recursive: true });
  });

  function options(change: Partial<RebuildOptions> = {}): RebuildOptions {
    return {
      target: folderTarget(join(folder, 'placement'), false),
      journals: cluster.journals.slice(0, 1).map(({ address }) => address),
      allowMissing: [],
      acceptLoss: false,
      orderedBy: 'test',
      transport: cluster.transport,
      clock: cluster.clock,
      onPlan: () => {},
      ...change,
    };
  }

  /** A replica that a placement prepared and did not live to record. */
  async function prepareOnly(
    shardId: number,
    epoch: number,
    replicaNodeIds?: string[],
    ackQuorum = 1,
  ): Promise<string> {
    const segmentId = Buffer.alloc(16, 9);
    const [journal] = cluster.journals;
    if (journal === undefined) throw new Error('there is a journal');
    await using client = cluster.transport.connect(journal.address, 'control');
    const clusterId = cluster.placement.clusterId ?? '';
    const authority = { clusterId, placementEpoch: 1, lineage: [] };
    const replicas = [
      { segmentId, shardId, epoch, replicaNodeIds: replicaNodeIds ?? [journal.nodeId], ackQuorum },
    ];
    await client.call(journalControlMethods.prepare, { authority, replicas });
    return segmentId.toString('hex');
  }

  async function startRebuilt(): Promise<void> {
    store = SqliteStore.open({ dataDir: join(folder, 'placement') });
    await cluster.startPlacement(store);
    await cluster.settle(5_000);
  }

  it('finds the other journals, and leaves out what was only prepared, fenced', async () => {
    for (const name of ['j1', 'j2']) await cluster.journal(name);
    const [a = 0, b = 0] = await cluster.topic('t', 2, { 'replication.factor': '1' });
    await cluster.client.openSegments(a);
    for (const journal of cluster.journals) journal.append(a, 3);
    const prepared = await prepareOnly(b, 1);
    await cluster.settle(11_000);
    const { clusterId } = cluster.placement;
    await cluster.placement[Symbol.asyncDispose]();

    const rebuilt = await rebuildPlacement(options());
    expect(rebuilt).toMatchObject({
      clusterId,
      placementEpoch: 101,
      journals: ['j1', 'j2'],
      topics: 2,
      unsealedSegments: 1,
      losses: [],
      replaced: undefined,
    });
    expect(cluster.journals[0]?.replicas.get(prepared)?.fencedEpoch).toBe(2);
    await startRebuilt();
    expect(chainOf(await cluster.shard(a))).toBe('0-3');
    expect(chainOf(await cluster.client.openSegments(a))).toBe('0-3 3-open');
    expect(cluster.journals[0]?.replicas.has(prepared)).toBe(false);
    const ids = await cluster.client.allocateProducerIds(10);
    expect(ids.first).toBeGreaterThanOrEqual(2 ** 33);
  });

  it('knows that a segment is empty which one of its three journals was prepared for', async () => {
    for (const name of ['j1', 'j2', 'j3']) await cluster.journal(name);
    const [shardId = 0] = await cluster.topic('t', 1, { 'replication.factor': '3' });
    await prepareOnly(shardId, 1, ['j1', 'j2', 'j3'], 2);
    await cluster.settle(11_000);
    await cluster.placement[Symbol.asyncDispose]();
    // The others answer from the disks that the copies name: what was committed one of them would have.
    expect((await rebuildPlacement(options())).losses).toEqual([]);
  });

  it('plans again when an order that was under way makes a segment used', async () => {
    const journal = await cluster.journal('j1');
    const [shardId = 0] = await cluster.topic('t', 1, { 'replication.factor': '1' });
    const prepared = await prepareOnly(shardId, 1);
    await cluster.settle(11_000);
    await cluster.placement[Symbol.asyncDispose]();
    journal.onOrder = (order) => {
      const replica = journal.replicas.get(prepared);
      if (order !== 'fence' || replica?.role !== 'prepared') return;
      Object.assign(replica, { role: 'leader', baseOffset: 0, length: 2 });
    };
    await rebuildPlacement(options());
    await startRebuilt();
    expect(chainOf(await cluster.shard(shardId))).toBe('0-2');
  });

  it('says what is missing, and begins behind it only when that is accepted', async () => {
    const journal = await cluster.journal('j1');
    const [shardId = 0] = await cluster.topic('t', 1, { 'replication.factor': '1' });
    for (let at = 0; at < 3; at++) {
      await cluster.client.openSegments(shardId);
      journal.append(shardId, 5);
      await journal.kill();
      await journal.start();
      await cluster.settle(3_000);
    }
    expect(chainOf(await cluster.shard(shardId))).toBe('5-10 10-15');
    await cluster.settle(11_000);
    await cluster.placement[Symbol.asyncDispose]();
    for (const [id, replica] of journal.replicas) {
      if (replica.baseOffset === 5) journal.replicas.delete(id);
    }
    await expect(rebuildPlacement(options())).rejects.toMatchObject({
      code: 'DAMAGED',
      message: expect.stringContaining('t/0: nobody has the records from 5 to 10'),
    });
    const losses: string[] = [];
    const onPlan = (report: { losses: readonly string[] }): void => {
      losses.push(...report.losses);
    };
    await rebuildPlacement(options({ acceptLoss: true, onPlan }));
    expect(losses).toHaveLength(1);
    await startRebuilt();
    const shard = await cluster.shard(shardId);
    expect([chainOf(shard), shard.trimOffset]).toEqual(['10-15', 10]);
  });
});
