import { OperatingError } from '@robustmq/core';
import { RollSegment, type Segment } from '@robustmq/rpc';
import type { FakeJournal } from '@robustmq/testkit';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { Cluster } from './cluster.fixture.ts';

describe('the audit of sealed segments (docs/journal.md 2.10)', () => {
  let cluster: Cluster;
  let shardId: number;
  beforeEach(async () => {
    cluster = await Cluster.start({ config: { downGraceMs: 60_000 } });
    for (const name of ['j1', 'j2', 'j3']) await cluster.journal(name);
    [shardId = 0] = await cluster.topic('t');
    await cluster.client.openSegments(shardId);
  });
  afterEach(() => cluster[Symbol.asyncDispose]());

  const first = async (): Promise<Segment> => {
    const [segment] = (await cluster.shard(shardId)).segments;
    if (segment === undefined) throw new Error('the shard has a segment');
    return segment;
  };
  const journal = (nodeId = ''): FakeJournal => {
    const found = cluster.journals.find((one) => one.nodeId === nodeId);
    if (found === undefined) throw new Error(`there is a journal ${nodeId}`);
    return found;
  };
  const replica = (nodeId: string, { segmentId }: Segment) =>
    journal(nodeId).replicas.get(segmentId.toString('hex'));

  /** Ends the segment with 10 records; the first `full` members have them, the others one less. */
  async function roll(full: number): Promise<Segment> {
    const segment = await first();
    segment.replicaNodeIds.forEach((nodeId, at) => {
      Object.assign(replica(nodeId, segment) ?? {}, { length: at < full ? 10 : 9 });
    });
    const { segmentId, epoch, leaderNodeId, leaderIncarnation, replicaNodeIds } = segment;
    const item = { segmentId, shardId, epoch, endOffset: 10, sizeBytes: 1_000 };
    const order = RollSegment.create({ ...item, fullNodeIds: replicaNodeIds.slice(0, full) });
    const request = { nodeId: leaderNodeId, incarnation: leaderIncarnation, segments: [order] };
    await cluster.client.rollSegments(request);
    return segment;
  }
  const metric = async (name: string): Promise<number | undefined> =>
    (await cluster.registry.getSingleMetric(`robustmq_placement_${name}`)?.get())?.values[0]?.value;

  it('completes a replica that was behind when its segment was rolled', async () => {
    const segment = await roll(2);
    const [, , behind = ''] = segment.replicaNodeIds;
    // What a journal does with an end that it does not reach.
    Object.assign(replica(behind, segment) ?? {}, { length: 9, sealed: false });
    expect((await first()).fullNodeIds).toHaveLength(2);
    expect(await metric('segments_to_repair')).toBe(1);
    await cluster.settle(3_000);
    expect(new Set((await first()).fullNodeIds)).toEqual(new Set(segment.replicaNodeIds));
    expect(replica(behind, segment)).toMatchObject({ length: 10, sealed: true });
    expect(await metric('segments_to_repair')).toBe(0);
    expect(await metric('replicas_repaired_total')).toBe(1);
  });

  it('copies nothing while everything is there', async () => {
    await roll(3);
    await cluster.settle(10_000);
    for (const { obeyed } of cluster.journals) expect(obeyed.get('recover')).toBeUndefined();
  });

  it('copies what a journal has lost that comes back without its disk', async () => {
    const segment = await roll(3);
    const [, follower = ''] = segment.replicaNodeIds;
    await journal(follower).kill();
    journal(follower).replicas.clear();
    await cluster.settle(3_000);
    await journal(follower).start();
    await cluster.settle();
    expect((await first()).fullNodeIds).not.toContain(follower);
    await cluster.settle(3_000);
    expect(new Set((await first()).fullNodeIds)).toEqual(new Set(segment.replicaNodeIds));
    expect(replica(follower, segment)).toMatchObject({ length: 10, baseOffset: 0 });
  });

  it('copies what a journal had lost of an open segment, which its leader took for full when it rolled', async () => {
    const [, follower = ''] = (await first()).replicaNodeIds;
    await journal(follower).kill();
    journal(follower).replicas.clear();
    await journal(follower).start();
    await cluster.settle(3_000);
    const segment = await roll(3);
    expect(segment.replicaNodeIds).toContain(follower);
    await cluster.settle(5_000);
    expect(new Set((await first()).fullNodeIds)).toEqual(new Set(segment.replicaNodeIds));
    expect(replica(follower, segment)).toMatchObject({ length: 10, baseOffset: 0 });
  });

  it('asks a journal again that did not say what it has when it came', async () => {
    const segment = await roll(3);
    const [, follower = ''] = segment.replicaNodeIds;
    await journal(follower).kill();
    journal(follower).replicas.clear();
    let asked = 0;
    journal(follower).onOrder = (order) => {
      // The first is for what was never opened, the second for what is not full.
      if (order === 'inventory' && ++asked === 2) throw new OperatingError('UNAVAILABLE', 'busy');
    };
    await journal(follower).start();
    await cluster.settle(5_000);
    expect(asked).toBeGreaterThan(2);
    expect(replica(follower, segment)).toMatchObject({ length: 10, baseOffset: 0 });
  });

  it('gives the replica of a journal that is away to a spare one, after the grace and not before', async () => {
    const segment = await roll(3);
    const [, gone = ''] = segment.replicaNodeIds;
    await journal(gone).kill();
    await cluster.journal('j4');
    await cluster.settle(50_000);
    expect((await first()).replicaNodeIds).toEqual(segment.replicaNodeIds);
    expect(journal('j4').replicas.size).toBe(0);
    await cluster.settle(20_000);
    const { replicaNodeIds, fullNodeIds } = await first();
    expect(replicaNodeIds).toEqual(segment.replicaNodeIds.map((id) => (id === gone ? 'j4' : id)));
    expect(new Set(fullNodeIds)).toEqual(new Set(replicaNodeIds));
    expect(replica('j4', segment)).toMatchObject({ length: 10 });
  });

  it('waits for no grace while fewer than the ack quorum have everything', async () => {
    const segment = await roll(3);
    const [full = '', ...lost] = segment.replicaNodeIds;
    for (const name of lost) {
      await journal(name).kill();
      journal(name).replicas.clear();
      journal(name).onOrder = (order) => {
        if (order === 'recover') throw new OperatingError('DISK_FULL', 'no room');
      };
      await journal(name).start();
      await cluster.settle(3_000);
    }
    expect((await first()).fullNodeIds).toEqual([full]);
    for (const name of lost) await journal(name).kill();
    await cluster.journal('j4');
    await cluster.settle(30_000);
    const { replicaNodeIds, fullNodeIds } = await first();
    expect(new Set(fullNodeIds)).toEqual(new Set([full, 'j4']));
    expect(replicaNodeIds).toContain('j4');
    expect(replicaNodeIds).toHaveLength(3);
  });

  it('has a damaged replica replaced on its own journal, at the second attempt, too', async () => {
    const segment = await roll(2);
    const [, , damaged = ''] = segment.replicaNodeIds;
    Object.assign(replica(damaged, segment) ?? {}, { damaged: true });
    journal(damaged).replacesDamaged = false;
    await cluster.settle(5_000);
    expect((await first()).fullNodeIds).not.toContain(damaged);
    journal(damaged).replacesDamaged = true;
    await cluster.settle(60_000);
    const { replicaNodeIds, fullNodeIds } = await first();
    expect(replicaNodeIds).toEqual(segment.replicaNodeIds);
    expect(new Set(fullNodeIds)).toEqual(new Set(replicaNodeIds));
    expect(replica(damaged, segment)).toMatchObject({ length: 10, sealed: true });
    expect(await metric('segments_to_repair')).toBe(0);
  });

  it('gives a damaged replica that cannot be replaced where it is to a spare journal', async () => {
    const segment = await roll(2);
    const [, , damaged = ''] = segment.replicaNodeIds;
    Object.assign(replica(damaged, segment) ?? {}, { damaged: true });
    journal(damaged).replacesDamaged = false;
    await cluster.settle(3_000);
    expect((await first()).fullNodeIds).not.toContain(damaged);
    await cluster.journal('j4');
    await cluster.settle(120_000);
    const { replicaNodeIds, fullNodeIds } = await first();
    expect(replicaNodeIds).toContain('j4');
    expect(replicaNodeIds).not.toContain(damaged);
    expect(fullNodeIds).toHaveLength(3);
    // What nobody needs any more is deleted on order, then and not before.
    await cluster.settle(5_000);
    expect(replica(damaged, segment)).toBeUndefined();
  });

  it('has what a journal kept deleted when it is back and another one has taken its place', async () => {
    const segment = await roll(3);
    const [, gone = '', third = ''] = segment.replicaNodeIds;
    await journal(gone).kill();
    await cluster.journal('j4');
    await cluster.settle(70_000);
    expect((await first()).fullNodeIds).toContain('j4');
    // One copy less than there should be: nothing is deleted.
    await journal(third).kill();
    journal(third).replicas.clear();
    await cluster.settle(3_000);
    await journal(third).start();
    journal(third).onOrder = (order) => {
      if (order === 'recover') throw new OperatingError('DISK_FULL', 'no room');
    };
    await cluster.settle(3_000);
    await journal(gone).start();
    await cluster.settle(5_000);
    expect(replica(gone, segment)).toMatchObject({ length: 10 });
    journal(third).onOrder = undefined;
    await cluster.settle(60_000);
    const { replicaNodeIds, fullNodeIds } = await first();
    expect(fullNodeIds).toHaveLength(3);
    const others = cluster.journals.filter(({ nodeId }) => !replicaNodeIds.includes(nodeId));
    for (const { nodeId } of others) expect(replica(nodeId, segment)).toBeUndefined();
    for (const nodeId of replicaNodeIds) expect(replica(nodeId, segment)?.length).toBe(10);
  });

  it('learns of damage that a journal finds while it runs', async () => {
    const segment = await roll(3);
    const [, follower = ''] = segment.replicaNodeIds;
    await cluster.settle(3_000);
    const health = (damagesFound: number): void => {
      journal(follower).registration?.update({ ...journal(follower).health, damagesFound });
    };
    health(0);
    await cluster.settle(2_000);
    Object.assign(replica(follower, segment) ?? {}, { damaged: true });
    await cluster.settle(5_000);
    expect((await first()).fullNodeIds).toContain(follower);
    expect(journal(follower).obeyed.get('recover')).toBeUndefined();
    health(1);
    await cluster.settle(15_000);
    expect(journal(follower).obeyed.get('recover')).toBe(1);
    expect((await first()).fullNodeIds).toContain(follower);
    expect(replica(follower, segment)?.damaged).toBeUndefined();
  });

  it.each(['lost', 'away'] as const)(
    'counts a member that comes back with all records although all full replicas are %s',
    async (what) => {
      const { replicaNodeIds } = await first();
      const [back = ''] = replicaNodeIds.slice(2);
      await journal(back).kill();
      const segment = await roll(2);
      expect((await first()).fullNodeIds).toEqual(replicaNodeIds.slice(0, 2));
      // It has everything, and was not there to say so when the segment was sealed.
      Object.assign(replica(back, segment) ?? {}, { length: 10, baseOffset: 0 });
      for (const name of replicaNodeIds.slice(0, 2)) {
        await journal(name).kill();
        if (what === 'lost') journal(name).replicas.clear();
      }
      await cluster.settle(5_000);
      await journal(back).start();
      await cluster.settle(5_000);
      expect((await first()).fullNodeIds).toContain(back);
      for (const name of replicaNodeIds.slice(0, 2)) await journal(name).start();
      await cluster.settle(60_000);
      expect(new Set((await first()).fullNodeIds)).toEqual(new Set(replicaNodeIds));
      for (const name of replicaNodeIds) expect(replica(name, segment)?.length).toBe(10);
    },
  );

  it('keeps the last full one that is not removed, whatever it says', async () => {
    const segment = await roll(3);
    const [one = '', other = '', removed = ''] = segment.replicaNodeIds;
    await journal(removed).kill();
    await cluster.settle(3_000);
    await cluster.client.removeNode(removed);
    for (const nodeId of [one, other]) {
      await journal(nodeId).kill();
      journal(nodeId).replicas.clear();
    }
    await cluster.settle(3_000);
    for (const nodeId of [one, other]) await journal(nodeId).start();
    await cluster.settle();
    const { fullNodeIds } = await first();
    expect(fullNodeIds.filter((nodeId) => nodeId !== removed)).toHaveLength(1);
  });

  it('does not count what a journal says that differs from the others', async () => {
    const segment = await roll(2);
    const [, , other = ''] = segment.replicaNodeIds;
    journal(other).onOrder = () => {
      // As long as the end, and then some: the chain of a fake journal is its length.
      Object.assign(replica(other, segment) ?? {}, { length: 12 });
    };
    await cluster.settle(5_000);
    expect((await first()).fullNodeIds).not.toContain(other);
  });
});
