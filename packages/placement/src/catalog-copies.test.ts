import { CatalogCopy } from '@robustmq/rpc';
import { MemoryMetadataStore } from '@robustmq/testkit';
import { describe, expect, it } from 'vitest';
import { chainOf, Cluster } from './cluster.fixture.ts';

/** What is in a store now, in another one. */
async function backupOf(store: MemoryMetadataStore): Promise<MemoryMetadataStore> {
  const backup = new MemoryMetadataStore();
  const { entries } = await store.range('', { limit: 10_000 });
  await backup.transact(
    [],
    entries.map(({ key, value }) => ({ kind: 'put', key, value })),
  );
  return backup;
}

describe('copies of the catalog', () => {
  it('are at every journal once a topic is created, and when a journal comes', async () => {
    await using cluster = await Cluster.start();
    const first = await cluster.journal('j1');
    await cluster.topic('t', 2, { 'mqtt.prefix': 'a/b' });
    const second = await cluster.journal('j2');
    for (const { catalog } of [first, second]) {
      const copy = CatalogCopy.decode(catalog.copy);
      expect(copy.topics.map(({ name }) => name)).toEqual(expect.arrayContaining(['mqtt', 't']));
      expect(copy.topics.find(({ name }) => name === 't')?.config).toEqual({
        'mqtt.prefix': 'a/b',
      });
      expect(copy.shards.map(({ shardId }) => shardId)).toHaveLength(18);
    }
  });

  it('have the topic of a replica before the journal has the replica', async () => {
    await using cluster = await Cluster.start();
    const journal = await cluster.journal('j1');
    const seen: boolean[] = [];
    const [shardId = 0] = await cluster.topic('t');
    journal.catalog = { revision: 0, copy: Buffer.alloc(0) };
    await cluster.restartPlacement();
    journal.onOrder = (order) => {
      if (order !== 'prepare') return;
      const copy = CatalogCopy.decode(journal.catalog.copy);
      seen.push(copy.topics.some(({ shardIds }) => shardIds.includes(shardId)));
    };
    await cluster.client.openSegments(shardId);
    expect(seen).toEqual([true]);
  });

  it('tell where chains end within seconds', async () => {
    await using cluster = await Cluster.start();
    const journal = await cluster.journal('j1');
    const [shardId = 0] = await cluster.topic('t');
    await cluster.client.openSegments(shardId);
    await cluster.settle(11_000);
    const shard = CatalogCopy.decode(journal.catalog.copy).shards.find(
      (s) => s.shardId === shardId,
    );
    expect(shard?.epoch).toBe(1);
  });

  it('end a placement whose store is older: it opens nothing and refuses everybody', async () => {
    const store = new MemoryMetadataStore();
    await using cluster = await Cluster.start({ store });
    const journal = await cluster.journal('j1');
    const [shardId = 0] = await cluster.topic('before');
    const backup = await backupOf(store);
    await cluster.client.openSegments(shardId);
    // What the old store does at its start may bring it further than the copy was.
    for (let at = 0; at < 2; at++) await cluster.topic(`after-${at}`);
    await cluster.placement[Symbol.asyncDispose]();
    await cluster.startPlacement(backup);
    await cluster.settle(3_000);
    await expect(cluster.client.openSegments(shardId)).rejects.toMatchObject({
      code: 'UNAVAILABLE',
    });
    expect(cluster.placement.notReady()).toContain('placement rebuild');
    expect(journal.led()).toEqual([shardId]);
  });

  it('are not needed to find an old store that has a segment open whose end a journal was told', async () => {
    const store = new MemoryMetadataStore();
    await using cluster = await Cluster.start({ store });
    const journal = await cluster.journal('j1');
    const [shardId = 0] = await cluster.topic('t');
    await cluster.client.openSegments(shardId);
    journal.append(shardId, 3);
    const backup = store.clone();
    await journal.kill();
    await journal.start();
    await cluster.settle(3_000);
    expect(chainOf(await cluster.shard(shardId))).toBe('0-3');
    await cluster.placement[Symbol.asyncDispose]();
    journal.catalog = { revision: 0, copy: Buffer.alloc(0) };
    await cluster.startPlacement(backup);
    await cluster.settle(3_000);
    expect(cluster.placement.notReady()).toContain('was told the end of a segment of shard');
  });
});
