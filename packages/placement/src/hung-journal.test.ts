import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { FakeJournal, FakeOrder } from '@robustmq/testkit';
import { Cluster } from './cluster.fixture.ts';

/** What brokers and journals wait for an answer of placement: the transport's default. */
const callerWaitsMs = 10_000;

describe('a journal that takes an order and does not answer', () => {
  let cluster: Cluster;
  let goesOn: PromiseWithResolvers<void>;
  beforeEach(async () => {
    goesOn = Promise.withResolvers();
    cluster = await Cluster.start({ virtualCalls: true });
    for (const name of ['j1', 'j2', 'j3', 'j4']) await cluster.journal(name);
  });
  afterEach(async () => {
    goesOn.resolve();
    await cluster[Symbol.asyncDispose]();
  });

  const hang = (journal: FakeJournal, ...orders: FakeOrder[]): void => {
    journal.onOrder = (order) => (orders.includes(order) ? goesOn.promise : undefined);
  };
  /** Opens segments, which has to be answered before the caller gives up. */
  async function open(shardIds: number[]): Promise<string[]> {
    const opening = Promise.all(shardIds.map((shardId) => cluster.client.openSegments(shardId)));
    const state = { isAnswered: false };
    void (async () => {
      await opening.catch(() => undefined);
      state.isAnswered = true;
    })();
    for (let ms = 0; ms < callerWaitsMs && !state.isAnswered; ms += 100) await cluster.settle(100);
    expect(state.isAnswered).toBe(true);
    return (await opening).map((shard) => shard.segments.at(-1)?.leaderNodeId ?? '');
  }
  const replicasOf = (shardId: number): string[] =>
    cluster.client.catalog.shard(shardId)?.segments.at(-1)?.replicaNodeIds ?? [];

  it('when it is to take a replica: another one gets it', async () => {
    const shardIds = await cluster.topic('t', 8);
    const [hung] = cluster.journals;
    if (hung !== undefined) hang(hung, 'prepare', 'storeCatalog');
    await open(shardIds);
    for (const shardId of shardIds) {
      expect(replicasOf(shardId)).toHaveLength(3);
      expect(replicasOf(shardId)).not.toContain('j1');
    }
  });

  it('when its answer to a fence is needed: the caller is told so, and it goes on when it answers', async () => {
    const shardIds = await cluster.topic('t', 8);
    const leaders = await open(shardIds);
    const [killed, hung] = cluster.journals;
    if (killed === undefined || hung === undefined) throw new Error('both are there');
    const lost = shardIds.filter((shardId, at) => {
      return leaders[at] === 'j1' && replicasOf(shardId).includes('j2');
    });
    expect(lost.length).toBeGreaterThan(0);
    hang(hung, 'fence', 'prepare');
    await killed.kill();
    await cluster.client.reportUnreachable('j1', 1);
    await expect(open(lost)).rejects.toMatchObject({ code: 'UNAVAILABLE' });
    hung.onOrder = undefined;
    goesOn.resolve();
    await cluster.settle(5_000);
    expect(await open(lost)).not.toContain('j1');
  });

  it('when it is to lead: the caller is told who leads, and it leads when it answers', async () => {
    const shardIds = await cluster.topic('t', 8);
    for (const journal of cluster.journals) hang(journal, 'activate');
    await open(shardIds);
    expect(cluster.journals.flatMap((journal) => journal.led())).toEqual([]);
    goesOn.resolve();
    await cluster.settle(0);
    expect(cluster.journals.flatMap((journal) => journal.led())).toHaveLength(8);
    // Ordered once: what was under way was not ordered again.
    const orders = cluster.journals.map((journal) => journal.obeyed.get('activate') ?? 0);
    expect(orders.reduce((sum, each) => sum + each, 0)).toBe(8);
  });
});
