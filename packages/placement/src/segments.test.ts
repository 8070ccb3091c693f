import { OperatingError } from '@robustmq/core';
import { RollSegment } from '@robustmq/rpc';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { chainOf, Cluster } from './cluster.fixture.ts';
import { describeOnStores, type TestStore } from './store-kinds.fixture.ts';

describeOnStores('segments', (stores) => {
  let store: TestStore;
  let cluster: Cluster;
  beforeEach(async () => {
    store = stores.open();
    cluster = await Cluster.start({ store, turns: (count) => store.turns(count) });
  });
  afterEach(async () => {
    await cluster[Symbol.asyncDispose]();
    await store[Symbol.asyncDispose]();
  });

  it('begins with the topic mqtt of 16 partitions and no segment', async () => {
    expect(cluster.client.catalog.topic('mqtt')?.shardIds).toHaveLength(16);
    const { shards } = await cluster.client.describeCluster();
    expect(shards.map(chainOf)).toEqual(Array.from({ length: 16 }, () => ''));
  });

  it('opens a segment on demand: prepared, recorded, led', async () => {
    const journal = await cluster.journal('j1');
    const [shardId = 0] = await cluster.topic('t');
    const shard = await cluster.client.openSegments(shardId);
    expect(chainOf(shard)).toBe('0-open');
    expect(shard.segments[0]).toMatchObject({
      epoch: 1,
      leaderNodeId: 'j1',
      leaderIncarnation: 1,
      replicaNodeIds: ['j1'],
      ackQuorum: 1,
    });
    expect(journal.led()).toEqual([shardId]);
    expect(cluster.client.catalog.shard(shardId)).toEqual(shard);
  });

  it('has the replicas that its topic wants, as far as there are journals', async () => {
    for (const name of ['j1', 'j2', 'j3', 'j4']) await cluster.journal(name);
    const sets: [string, number, number][] = [];
    for (const wanted of ['1', '2', '3', '5']) {
      const [shardId = 0] = await cluster.topic(`t${wanted}`, 1, { 'replication.factor': wanted });
      const [segment] = (await cluster.client.openSegments(shardId)).segments;
      const replicas = new Set(segment?.replicaNodeIds).size;
      sets.push([wanted, replicas, segment?.ackQuorum ?? 0]);
    }
    expect(sets).toEqual([
      ['1', 1, 1],
      ['2', 2, 2],
      ['3', 3, 2],
      ['5', 4, 3],
    ]);
  });

  it('has the ack quorum that min.insync.replicas raises, and is not opened with fewer journals', async () => {
    for (const name of ['j1', 'j2']) await cluster.journal(name);
    const config = { 'min.insync.replicas': '3' };
    const [shardId = 0] = await cluster.topic('t', 1, config);
    const refusal = cluster.client.openSegments(shardId);
    await expect(refusal).rejects.toMatchObject({
      code: 'NOT_ENOUGH_REPLICAS',
      message: expect.stringContaining('2 journals take new segments, 3 are needed') as string,
    });
    await cluster.journal('j3');
    const [first] = (await cluster.client.openSegments(shardId)).segments;
    expect([first?.replicaNodeIds.length, first?.ackQuorum]).toEqual([3, 3]);
    await cluster.client.alterTopic({ name: 't', remove: ['min.insync.replicas'] });
    const [still] = (await cluster.client.openSegments(shardId)).segments;
    expect(still?.ackQuorum).toBe(3);
  });

  it('ends when there are journals for more replicas, and its successor has them', async () => {
    const journal = await cluster.journal('j1');
    const [shardId = 0] = await cluster.topic('t');
    await cluster.client.openSegments(shardId);
    journal.append(shardId, 4);
    for (const name of ['j2', 'j3']) await cluster.journal(name);
    await cluster.settle(3_000);
    expect(chainOf(await cluster.shard(shardId))).toBe('0-4');
    const opened = await cluster.client.openSegments(shardId);
    expect(chainOf(opened)).toBe('0-4 4-open');
    expect(opened.segments[1]?.replicaNodeIds).toHaveLength(3);
    await cluster.settle(5_000);
    expect(chainOf(await cluster.shard(shardId))).toBe('0-4 4-open');
  });

  it('is not ended by a journal that comes and goes', async () => {
    await cluster.journal('j1');
    const [shardId = 0] = await cluster.topic('t');
    await cluster.client.openSegments(shardId);
    const fickle = await cluster.journal('j2');
    await fickle.kill();
    await cluster.settle(3_000);
    expect(chainOf(await cluster.shard(shardId))).toBe('0-open');
  });

  it('ends when too few replicas are there to commit anything, and goes on with those', async () => {
    for (const name of ['j1', 'j2']) await cluster.journal(name);
    const [shardId = 0] = await cluster.topic('t');
    const [segment] = (await cluster.client.openSegments(shardId)).segments;
    expect(segment?.ackQuorum).toBe(2);
    for (const journal of cluster.journals) journal.append(shardId, 3);
    const follower = cluster.journals.find(({ nodeId }) => nodeId !== segment?.leaderNodeId);
    await follower?.kill();
    await cluster.settle(5_000);
    const opened = await cluster.client.openSegments(shardId);
    expect(chainOf(opened)).toBe('0-3 3-open');
    expect(opened.segments[1]?.replicaNodeIds).toEqual([segment?.leaderNodeId]);
  });

  it('shares one attempt between many that ask, and leaves an open segment alone', async () => {
    const journal = await cluster.journal('j1');
    const [shardId = 0] = await cluster.topic('t');
    const other = await cluster.newClient('other');
    const shards = await Promise.all([
      cluster.client.openSegments(shardId),
      other.openSegments(shardId),
      other.openSegments(shardId),
    ]);
    expect(new Set(shards.map(chainOf))).toEqual(new Set(['0-open']));
    expect(journal.obeyed.get('prepare')).toBe(1);
    expect(chainOf(await cluster.client.openSegments(shardId))).toBe('0-open');
    expect(journal.obeyed.get('prepare')).toBe(1);
  });

  it('says why when no journal is there, and for a shard that is not', async () => {
    const [shardId = 0] = await cluster.topic('t');
    await expect(cluster.client.openSegments(shardId)).rejects.toMatchObject({
      code: 'UNAVAILABLE',
      message: expect.stringContaining('0 journals take new segments'),
    });
    await expect(cluster.client.openSegments(9_999)).rejects.toMatchObject({ code: 'NOT_FOUND' });
  });

  it('takes as many replicas as there are, up to the wanted, on different journals', async () => {
    for (const name of ['j1', 'j2', 'j3', 'j4']) await cluster.journal(name);
    const [shardId = 0] = await cluster.topic('t');
    const [segment] = (await cluster.client.openSegments(shardId)).segments;
    expect(new Set(segment?.replicaNodeIds).size).toBe(3);
    expect(segment?.ackQuorum).toBe(2);
    expect(segment?.replicaNodeIds).toContain(segment?.leaderNodeId);
  });

  it('takes another journal when one refuses its replica, and deletes what was prepared', async () => {
    const bad = await cluster.journal('j1', {
      onOrder: (order) => {
        if (order === 'prepare') throw new OperatingError('DISK_FULL', 'no space');
      },
    });
    const [shardId = 0] = await cluster.topic('t', 1, { 'replication.factor': '1' });
    await expect(cluster.client.openSegments(shardId)).rejects.toMatchObject({ code: 'DISK_FULL' });
    const good = await cluster.journal('j2');
    for (let at = 0; at < 4; at++) {
      const [id = 0] = await cluster.topic(`t${at}`, 1, { 'replication.factor': '1' });
      const shard = await cluster.client.openSegments(id);
      expect(shard.segments[0]?.leaderNodeId).toBe('j2');
    }
    expect(bad.replicas.size).toBe(0);
    expect(good.replicas.size).toBe(4);
  });

  it('tells who opens to try again when a journal is broken', async () => {
    const broken = await cluster.journal('j1', {
      onOrder: (order) => {
        if (order === 'prepare') throw new Error('a bug');
      },
    });
    const [shardId = 0] = await cluster.topic('t');
    const refused = { code: 'UNAVAILABLE', message: expect.stringContaining('a bug') };
    await expect(cluster.client.openSegments(shardId)).rejects.toMatchObject(refused);
    broken.onOrder = undefined;
    expect(chainOf(await cluster.client.openSegments(shardId))).toBe('0-open');
  });

  it('seals what a restarted journal led, and opens nothing until the next append', async () => {
    const journal = await cluster.journal('j1');
    const [a = 0, b = 0] = await cluster.topic('t', 2);
    await cluster.client.openSegments(a);
    await cluster.client.openSegments(b);
    journal.append(a, 5);
    await journal.kill();
    await cluster.settle();
    expect(cluster.client.catalog.node('j1')?.state).toBe(3);
    await journal.start();
    await cluster.settle();
    expect(chainOf(await cluster.shard(a))).toBe('0-5');
    // The empty one has left its chain, and its replica is gone.
    expect(chainOf(await cluster.shard(b))).toBe('');
    expect(journal.replicas.size).toBe(1);
    const opened = await cluster.client.openSegments(a);
    expect(chainOf(opened)).toBe('0-5 5-open');
    expect([...journal.replicas.values()].at(-1)).toMatchObject({
      role: 'leader',
      previousSegmentId: opened.segments[0]?.segmentId.toString('hex'),
    });
  });

  it('a second restart adds no segment to an idle shard', async () => {
    const journal = await cluster.journal('j1');
    const [shardId = 0] = await cluster.topic('t');
    await cluster.client.openSegments(shardId);
    journal.append(shardId, 3);
    for (let restart = 0; restart < 3; restart++) {
      await journal.kill();
      await journal.start();
      await cluster.settle(1_500);
      expect(chainOf(await cluster.shard(shardId))).toBe('0-3');
    }
    expect(journal.replicas.size).toBe(1);
  });

  it('seals on demand once the leader is back', async () => {
    const journal = await cluster.journal('j1');
    const [shardId = 0] = await cluster.topic('t');
    await cluster.client.openSegments(shardId);
    journal.append(shardId, 2);
    await journal.kill();
    await cluster.client.reportUnreachable('j1', 1);
    await cluster.settle();
    await expect(cluster.client.openSegments(shardId)).rejects.toMatchObject({
      code: 'UNAVAILABLE',
      message: expect.stringContaining('j1'),
    });
    await journal.start();
    expect(chainOf(await cluster.client.openSegments(shardId))).toBe('0-2 2-open');
  });

  it('seals with three replicas when the leader is gone', async () => {
    for (const name of ['j1', 'j2', 'j3']) await cluster.journal(name);
    const [shardId = 0] = await cluster.topic('t');
    const [segment] = (await cluster.client.openSegments(shardId)).segments;
    // Everything is on all three.
    for (const journal of cluster.journals) {
      for (const replica of journal.replicas.values()) replica.length = 7;
    }
    const leader = cluster.journals.find((journal) => journal.nodeId === segment?.leaderNodeId);
    await leader?.kill();
    await cluster.settle();
    const shard = await cluster.client.openSegments(shardId);
    expect(chainOf(shard)).toBe('0-7 7-open');
    expect(shard.segments[0]?.fullNodeIds).toHaveLength(2);
    expect(shard.segments[1]?.replicaNodeIds).not.toContain(leader?.nodeId);
  });

  describe('with replicas of different lengths', () => {
    let refusesCopies = false;

    /** Three replicas with 7, 6 and 5 records; the leader, which has most, is gone. */
    async function unequal(): Promise<number> {
      const onOrder = (order: string): void => {
        if (order === 'recover' && refusesCopies) throw new OperatingError('DISK_FULL', 'no room');
      };
      for (const name of ['j1', 'j2', 'j3']) await cluster.journal(name, { onOrder });
      const [shardId = 0] = await cluster.topic('t');
      const [segment] = (await cluster.client.openSegments(shardId)).segments;
      const [first = '', ...followers] = segment?.replicaNodeIds ?? [];
      [first, ...followers].forEach((nodeId, at) => {
        const journal = cluster.journals.find((one) => one.nodeId === nodeId);
        for (const replica of journal?.replicas.values() ?? []) replica.length = 7 - at;
      });
      await cluster.journals.find(({ nodeId }) => nodeId === first)?.kill();
      return shardId;
    }

    it('copies to the ack quorum before the end is recorded', async () => {
      const shardId = await unequal();
      await cluster.settle();
      const shard = await cluster.client.openSegments(shardId);
      expect(chainOf(shard)).toBe('0-6 6-open');
      expect(shard.segments[0]?.fullNodeIds).toHaveLength(2);
      const recovered = cluster.journals.map(({ obeyed }) => obeyed.get('recover') ?? 0);
      expect(recovered.filter((count) => count > 0)).toEqual([1]);
    });

    it('leaves the segment sealing while a copy fails, and goes on when it does not', async () => {
      refusesCopies = true;
      const shardId = await unequal();
      await cluster.settle();
      await expect(cluster.client.openSegments(shardId)).rejects.toMatchObject({
        code: 'UNAVAILABLE',
        message: expect.stringContaining('copies are needed'),
      });
      expect(chainOf(await cluster.shard(shardId))).toBe('0-sealing');
      refusesCopies = false;
      expect(chainOf(await cluster.client.openSegments(shardId))).toBe('0-6 6-open');
    });
  });

  describe('roll', () => {
    async function open(): Promise<{ shardId: number; item: RollSegment }> {
      const [shardId = 0] = await cluster.topic('t');
      const [segment] = (await cluster.client.openSegments(shardId)).segments;
      const item = RollSegment.create({
        segmentId: segment?.segmentId ?? Buffer.alloc(0),
        shardId,
        epoch: segment?.epoch ?? 0,
        endOffset: 10,
        fullNodeIds: ['j1'],
        openNext: true,
        sizeBytes: 1_000,
        maxTimestampMs: 5,
      });
      return { shardId, item };
    }

    it('seals at the end that the leader knows, and opens the next', async () => {
      const journal = await cluster.journal('j1');
      const { shardId, item } = await open();
      const order = { nodeId: 'j1', incarnation: 1, segments: [item] };
      const [shard] = await cluster.client.rollSegments(order);
      expect(shard).not.toBeInstanceOf(OperatingError);
      expect(chainOf(await cluster.shard(shardId))).toBe('0-10 10-open');
      expect(journal.led()).toContain(shardId);
      const [sealed] = (await cluster.shard(shardId)).segments;
      expect(sealed).toMatchObject({ fullNodeIds: ['j1'], sizeBytes: 1_000, maxTimestampMs: 5 });
      // The answer was lost: asking again changes nothing.
      const again = await cluster.client.rollSegments(order);
      expect(again[0]).not.toBeInstanceOf(OperatingError);
      expect(chainOf(await cluster.shard(shardId))).toBe('0-10 10-open');
      await cluster.settle();
      expect(journal.obeyed.get('sealNotify')).toBe(1);
    });

    it('opens nothing when the leader drains', async () => {
      await cluster.journal('j1');
      const { shardId, item } = await open();
      const segments = [{ ...item, openNext: false }];
      await cluster.client.rollSegments({ nodeId: 'j1', incarnation: 1, segments });
      expect(chainOf(await cluster.shard(shardId))).toBe('0-10');
    });

    it('removes an empty segment', async () => {
      const journal = await cluster.journal('j1');
      const { shardId, item } = await open();
      const segments = [{ ...item, openNext: false, endOffset: 0, sizeBytes: 0 }];
      const order = { nodeId: 'j1', incarnation: 1, segments };
      expect((await cluster.client.rollSegments(order))[0]).not.toBeInstanceOf(OperatingError);
      expect((await cluster.client.rollSegments(order))[0]).not.toBeInstanceOf(OperatingError);
      expect(chainOf(await cluster.shard(shardId))).toBe('');
      await cluster.settle();
      expect(journal.replicas.size).toBe(0);
    });

    it.each([
      ['another node', { nodeId: 'j2' }, {}, 'NOT_LEADER'],
      ['an old incarnation', { incarnation: 7 }, {}, 'NOT_LEADER'],
      ['another epoch', {}, { epoch: 5 }, 'NOT_LEADER'],
      ['another segment', {}, { segmentId: Buffer.alloc(16, 1) }, 'NOT_LEADER'],
      ['no full replica', {}, { fullNodeIds: ['j9'] }, 'INVALID_ARGUMENT'],
    ])('refuses %s', async (_, order, change, code) => {
      await cluster.journal('j1');
      const { shardId, item } = await open();
      const segments = [{ ...item, ...change }];
      const [outcome] = await cluster.client.rollSegments({
        nodeId: 'j1',
        incarnation: 1,
        segments,
        ...order,
      });
      expect(outcome).toMatchObject({ code });
      expect(chainOf(await cluster.shard(shardId))).toBe('0-open');
    });
  });

  it('tells older segments by range', async () => {
    await cluster.journal('j1');
    const [shardId = 0] = await cluster.topic('t');
    let shard = await cluster.client.openSegments(shardId);
    for (let end = 10; end <= 50; end += 10) {
      const open = shard.segments.at(-1);
      const item = RollSegment.create({
        segmentId: open?.segmentId ?? Buffer.alloc(0),
        shardId,
        epoch: open?.epoch ?? 0,
        endOffset: end,
        fullNodeIds: ['j1'],
        openNext: true,
      });
      await cluster.client.rollSegments({ nodeId: 'j1', incarnation: 1, segments: [item] });
      shard = await cluster.shard(shardId);
    }
    expect(chainOf(shard)).toBe('30-40 40-50 50-open');
    const bases = async (from: number, limit?: number): Promise<number[]> =>
      (await cluster.client.listSegments(shardId, from, limit)).map((found) => found.baseOffset);
    expect(await bases(0)).toEqual([0, 10, 20, 30, 40, 50]);
    expect(await bases(9)).toEqual([0, 10, 20, 30, 40, 50]);
    expect(await bases(10, 2)).toEqual([10, 20]);
    expect(await bases(49)).toEqual([40, 50]);
    expect(await bases(1_000)).toEqual([50]);
  });

  it('opens and seals 5,000 shards in few orders and transactions', async () => {
    const journal = await cluster.journal('j1');
    const shardIds = await cluster.topic('big', 5_000, { 'replication.factor': '1' });
    await Promise.all(shardIds.map((shardId) => cluster.client.openSegments(shardId)));
    expect(journal.led()).toHaveLength(5_000);
    for (const shardId of shardIds) journal.append(shardId, 1);
    await journal.kill();
    await journal.start();
    await cluster.turns(600);
    const states = (await Promise.all(shardIds.map((id) => cluster.shard(id)))).map(chainOf);
    expect(new Set(states)).toEqual(new Set(['0-1']));
    // 26 to make the shards, then per 5,000: 25 to open, 25 to begin the seal, 50 to end it.
    expect(store.transactions).toBeLessThan((150 * 200) / store.operationsMax);
    expect(journal.obeyed.get('fence')).toBe(5_000);
  });
});
