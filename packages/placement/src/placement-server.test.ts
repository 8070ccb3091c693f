import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { silentLogger, systemClock, systemRandom } from '@robustmq/core';
import { PlacementClient } from '@robustmq/placement-client';
import { grpcTransport, type Transport } from '@robustmq/rpc';
import { FakeJournal } from '@robustmq/testkit';
import { Registry } from 'prom-client';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { chainOf } from './cluster.fixture.ts';
import { type PlacementServer, startPlacement } from './placement-server.ts';

describe('placement server, on SQLite and gRPC', () => {
  const shared = { clock: systemClock(), random: systemRandom(), logger: silentLogger() };
  let dataDir: string;
  let transport: Transport;
  beforeEach(() => {
    dataDir = mkdtempSync(join(tmpdir(), 'robustmq-placement-'));
    transport = grpcTransport();
  });
  afterEach(() => rmSync(dataDir, { recursive: true }));

  const start = (listen = '127.0.0.1:0', registry = new Registry()): Promise<PlacementServer> =>
    startPlacement({ ...shared, dataDir, listen, transport, registry });

  it('opens, seals and resumes over its own restart', async () => {
    let placement = await start();
    expect(placement.notReady()).toBeUndefined();
    const { address, clusterId } = placement;
    const journal = new FakeJournal({
      ...shared,
      transport,
      placement: [address],
      nodeId: 'j1',
      listen: '127.0.0.1:0',
    });
    await using client = new PlacementClient({
      ...shared,
      transport,
      placement: [address],
      nodeId: 'test',
    });
    client.start();
    await client.catalog.ready();
    await journal.start();
    const [topic] = await client.createTopics([{ name: 't', partitions: 3, config: {} }]);
    if (topic === undefined || topic instanceof Error) throw topic ?? new Error('no topic');
    const [shardId = 0, second = 0] = topic.shardIds;
    expect(chainOf(await client.openSegments(shardId))).toBe('0-open');
    journal.append(shardId, 3);
    // A frozen cache and a leader go on while placement is away.
    await placement[Symbol.asyncDispose]();
    expect(placement.notReady()).toBe('placement shuts down');
    await expect(client.openSegments(second)).rejects.toMatchObject({ code: 'UNAVAILABLE' });
    expect(client.catalog.shard(shardId)).toBeDefined();
    placement = await start(address);
    expect(placement.clusterId).toBe(clusterId);
    // Whether the journal has heard it is nothing that the catalog tells.
    await expect.poll(() => client.connected && journal.registered, { timeout: 10_000 }).toBe(true);
    expect(chainOf(await client.openSegments(shardId))).toBe('0-open');
    await journal.kill();
    await journal.start();
    const sealed = await client.catalog.waitFor((catalog) => {
      const shard = catalog.shard(shardId);
      return shard?.endOffset === 3 ? shard : undefined;
    });
    expect(chainOf(sealed)).toBe('0-3');
    await journal[Symbol.asyncDispose]();
    await placement[Symbol.asyncDispose]();
  });

  it('says so when its address or its data folder is in use', async () => {
    await using placement = await start();
    await expect(start()).rejects.toMatchObject({ code: 'CONFLICT' });
    const other = join(dataDir, 'other');
    const { address } = placement;
    const registry = new Registry();
    await expect(
      startPlacement({ ...shared, dataDir: other, listen: address, transport, registry }),
    ).rejects.toMatchObject({ code: 'UNAVAILABLE' });
  });

  it('tells its metrics', async () => {
    const registry = new Registry();
    await using _ = await start('127.0.0.1:0', registry);
    const text = await registry.metrics();
    for (const line of [
      'robustmq_placement_topics 1',
      'robustmq_placement_shards 16',
      'robustmq_placement_segments_open 0',
      'robustmq_placement_epoch 1',
      'robustmq_placement_transactions_total{result="committed"} 1',
    ]) {
      expect(text).toContain(line);
    }
  });
});
