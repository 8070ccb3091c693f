import { OperatingError } from '@robustmq/core';
import { errorOfStatus, placementAdminMethods, RollSegment, type UnsafeSeal } from '@robustmq/rpc';
import { type FakeJournal, turns } from '@robustmq/testkit';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { chainOf, Cluster, placementAddress } from './cluster.fixture.ts';

describe('failover', () => {
  let cluster: Cluster;
  beforeEach(async () => {
    cluster = await Cluster.start();
    for (const name of ['j1', 'j2', 'j3', 'j4']) await cluster.journal(name);
  });
  afterEach(() => cluster[Symbol.asyncDispose]());

  async function opened(partitions: number): Promise<number[]> {
    const shardIds = await cluster.topic('t', partitions);
    await Promise.all(shardIds.map((shardId) => cluster.client.openSegments(shardId)));
    // Each has one record, on all its replicas.
    for (const { replicas } of cluster.journals) {
      for (const replica of replicas.values()) replica.length = 1;
    }
    return shardIds;
  }
  const leaderOf = (shardId: number) => {
    const segment = cluster.client.catalog.shard(shardId)?.segments.at(-1);
    return cluster.journals.find(({ nodeId }) => nodeId === segment?.leaderNodeId);
  };

  it('seals at once what a journal led when somebody reports that it refuses, without any time going by', async () => {
    const [shardId = 0] = await opened(1);
    const leader = leaderOf(shardId);
    await leader?.kill();
    await cluster.client.reportUnreachable(leader?.nodeId ?? '', 1);
    await turns(200);
    expect(chainOf(await cluster.shard(shardId))).toBe('0-1');
  });

  it('seals at once what a journal led when it is back as a new incarnation', async () => {
    const [shardId = 0] = await opened(1);
    const leader = leaderOf(shardId);
    await leader?.kill();
    await leader?.start();
    await turns(200);
    expect(chainOf(await cluster.shard(shardId))).toBe('0-1');
  });

  it('has others lead for 5 s what it opens beside a journal that was just started', async () => {
    await cluster.settle(5_000);
    const [restarted] = cluster.journals;
    await restarted?.kill();
    await restarted?.start();
    await turns(200);
    const leadersOf = async (name: string): Promise<(string | undefined)[]> => {
      const shardIds = await cluster.topic(name, 12, { 'replication.factor': '4' });
      await Promise.all(shardIds.map((shardId) => cluster.client.openSegments(shardId)));
      return shardIds.map((shardId) => leaderOf(shardId)?.nodeId);
    };
    const early = await leadersOf('early');
    expect(new Set(early)).toEqual(new Set(['j2', 'j3', 'j4']));
    await cluster.settle(5_000);
    expect(await leadersOf('late')).toContain('j1');
  });

  it('believes no answer of a journal that has lost its disk before the end is recorded', async () => {
    const [shardId = 0] = await cluster.topic('two', 1, {
      'replication.factor': '2',
      'min.insync.replicas': '2',
    });
    const [segment] = (await cluster.client.openSegments(shardId)).segments;
    const one = leaderOf(shardId);
    const other = cluster.journals.find(
      (journal) => journal !== one && segment?.replicaNodeIds.includes(journal.nodeId) === true,
    );
    if (segment === undefined || one === undefined || other === undefined) throw new Error('led');
    const hex = segment.segmentId.toString('hex');
    Object.assign(one.replicas.get(hex) ?? {}, { length: 10 });
    Object.assign(other.replicas.get(hex) ?? {}, { length: 5 });
    const goesOn = Promise.withResolvers<void>();
    other.onOrder = async (order) => {
      if (order !== 'fence') return;
      await goesOn.promise;
      throw new OperatingError('UNAVAILABLE', 'the answer is lost');
    };
    const operator = cluster.transport.connect(placementAddress, 'control');
    const request = { shardId, unsafe: undefined };
    const sealing = operator.call(placementAdminMethods.sealShard, request).catch(() => undefined);
    await turns(200);
    expect(one.obeyed.get('fence')).toBe(1);
    await one.kill();
    one.replicas.clear();
    await one.start();
    await turns(200);
    goesOn.resolve();
    await turns(200);
    other.onOrder = undefined;
    await sealing;
    await cluster.settle(5_000);
    expect(chainOf(await cluster.shard(shardId))).toBe('0-5');
  });

  it('gives up what nobody has an intact replica of, when an operator insists and all have said so', async () => {
    const [shardId = 0] = await opened(1);
    const [segment] = (await cluster.shard(shardId)).segments;
    const members = cluster.journals.filter(({ nodeId }) =>
      segment?.replicaNodeIds.includes(nodeId),
    );
    for (const { replicas } of members) for (const one of replicas.values()) one.damaged = true;
    const operator = cluster.transport.connect(placementAddress, 'control');
    const unsafe = { endOffsetMin: 0, orderedBy: 'operator' };
    const seal = async (order: UnsafeSeal | undefined): Promise<string | undefined> => {
      const request = { shardId, unsafe: order };
      const sealing = operator.call(placementAdminMethods.sealShard, request);
      await cluster.settle(5_000);
      const { status } = await sealing;
      return status && errorOfStatus(status).code;
    };
    const [absent] = members;
    await absent?.kill();
    await cluster.client.reportUnreachable(absent?.nodeId ?? '', 1);
    await turns(200);
    expect(await seal(unsafe)).toBe('UNAVAILABLE');
    await absent?.start();
    await turns(200);
    expect(await seal(undefined)).toBe('UNAVAILABLE');
    expect(await seal(unsafe)).toBeUndefined();
    const { segments, endOffset } = await cluster.shard(shardId);
    expect({ segments, endOffset }).toEqual({ segments: [], endOffset: 0 });
    const next = await cluster.client.openSegments(shardId);
    expect(next.segments).toMatchObject([{ baseOffset: 0 }]);
  });

  it('fails over what a journal led in few orders and transactions', async () => {
    const shardIds = await opened(2_000);
    const victim = cluster.journals[0];
    const led = new Set(shardIds.filter((shardId) => leaderOf(shardId) === victim));
    expect(led.size).toBeGreaterThan(450);
    const fences: number[] = [];
    for (const journal of cluster.journals) {
      journal.onOrder = (order, items) => {
        if (order === 'fence') fences.push(items);
      };
    }
    await victim?.kill();
    await cluster.client.reportUnreachable('j1', 1);
    await turns(2_000);
    for (const shardId of led) expect(chainOf(await cluster.shard(shardId))).toBe('0-1');
    expect(fences.length).toBeLessThanOrEqual(3);
  });

  it('has who has everything lead after it, although another one leads less', async () => {
    const shardIds = await opened(24);
    const lost = shardIds.filter((shardId) => leaderOf(shardId)?.nodeId === 'j1');
    expect(lost.length).toBeGreaterThan(0);
    const members = lost.map((shardId) => {
      return cluster.client.catalog.shard(shardId)?.segments.at(-1)?.replicaNodeIds;
    });
    await cluster.journals[0]?.kill();
    await cluster.client.reportUnreachable('j1', 1);
    await turns(200);
    await Promise.all(lost.map((shardId) => cluster.client.openSegments(shardId)));
    for (const [at, shardId] of lost.entries()) {
      expect(members[at]).toContain(leaderOf(shardId)?.nodeId);
    }
  });

  it('replaces a leader that refuses although too few journals were there to seal when it did', async () => {
    const [shardId = 0] = await cluster.topic('t');
    const refusing: FakeJournal[] = [];
    for (const journal of cluster.journals) {
      journal.onOrder = async (order) => {
        if (order !== 'activate' || (refusing.length > 0 && refusing[0] !== journal)) return;
        if (refusing.length === 0) await killOthers(journal);
        refusing.push(journal);
        throw new OperatingError('CONFLICT', 'it will not lead');
      };
    }
    const killOthers = async (journal: FakeJournal): Promise<void> => {
      for (const other of cluster.journals) {
        if (other === journal) continue;
        await other.kill();
        await cluster.client.reportUnreachable(other.nodeId, 1);
      }
    };
    await cluster.client.openSegments(shardId);
    const [leader] = refusing;
    expect(cluster.journals.flatMap((journal) => journal.led())).toEqual([]);
    for (const other of cluster.journals) if (other !== leader) await other.start();
    await cluster.settle(10_000);
    await cluster.client.openSegments(shardId);
    await cluster.settle(10_000);
    await cluster.client.openSegments(shardId);
    expect(cluster.journals.flatMap((journal) => journal.led())).toEqual([shardId]);
    expect(leader?.led()).toEqual([]);
  });
});

describe('a journal that is added', () => {
  it('has its share of the new segments once the old ones have rolled, and nothing was moved', async () => {
    await using cluster = await Cluster.start();
    for (const name of ['j1', 'j2', 'j3']) await cluster.journal(name);
    const shardIds = await cluster.topic('t', 60);
    await Promise.all(shardIds.map((shardId) => cluster.client.openSegments(shardId)));
    const added = await cluster.journal('j4');
    await cluster.settle(5_000);
    // They have their replicas: nothing ends because another journal is there.
    expect(added.replicas.size).toBe(0);

    for (const leader of cluster.journals) {
      const segments = shardIds.flatMap((shardId) => rollOf(cluster, leader, shardId));
      const { nodeId, incarnation } = leader;
      await cluster.client.rollSegments({ nodeId, incarnation, segments });
    }
    const open = shardIds.map((shardId) => cluster.client.catalog.shard(shardId)?.segments.at(-1));
    const replicas = open.filter((segment) => segment?.replicaNodeIds.includes('j4')).length;
    const led = open.filter((segment) => segment?.leaderNodeId === 'j4').length;
    // A fair share is 45 of 180 replicas, and 15 of 60 leaders.
    expect(replicas).toBeGreaterThanOrEqual(0.8 * 45);
    expect(led).toBeGreaterThanOrEqual(0.8 * 15);
    for (const journal of cluster.journals) {
      expect([journal.obeyed.get('recover'), journal.obeyed.get('fence')]).toEqual([
        undefined,
        undefined,
      ]);
    }
  });

  /** What the leader asks when the segment has grown old; nothing when another leads. */
  function rollOf(cluster: Cluster, leader: FakeJournal, shardId: number): RollSegment[] {
    const segment = cluster.client.catalog.shard(shardId)?.segments.at(-1);
    if (segment?.leaderNodeId !== leader.nodeId || segment.baseOffset > 0) return [];
    const { segmentId, epoch, replicaNodeIds } = segment;
    return [
      RollSegment.create({
        segmentId,
        shardId,
        epoch,
        endOffset: 5,
        fullNodeIds: replicaNodeIds,
        openNext: true,
      }),
    ];
  }
});
