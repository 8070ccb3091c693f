import type { FakeJournal } from '@robustmq/testkit';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { chainOf, Cluster } from './cluster.fixture.ts';

describe('journals that are cut off from one another and heard here', () => {
  let cluster: Cluster;
  let shardId: number;
  beforeEach(async () => {
    cluster = await Cluster.start();
    for (const name of ['j1', 'j2', 'j3']) await cluster.journal(name);
    [shardId = 0] = await cluster.topic('t');
    await cluster.client.openSegments(shardId);
  });
  afterEach(() => cluster[Symbol.asyncDispose]());

  const openSegment = async () => (await cluster.client.openSegments(shardId)).segments.at(-1);
  const named = (nodeId: string | undefined): FakeJournal => {
    const journal = cluster.journals.find((one) => one.nodeId === nodeId);
    if (journal === undefined) throw new Error(`${nodeId} is there`);
    return journal;
  };
  /** One record that only the leader has; another one that all have. */
  async function written(): Promise<{ leader: FakeJournal; followers: FakeJournal[] }> {
    const segment = await openSegment();
    const leader = named(segment?.leaderNodeId);
    for (const { replicas } of cluster.journals) {
      for (const replica of replicas.values()) replica.length = 1;
    }
    leader.append(shardId, 1);
    return { leader, followers: cluster.journals.filter((one) => one !== leader) };
  }
  type Silence = readonly [journal: FakeJournal, peers: readonly FakeJournal[]];
  /** Heartbeats of journals whose peers owe them answers for `ms` in the end. */
  async function tell(silences: readonly Silence[], ms = 2_000): Promise<void> {
    for (let silentMs = 500; silentMs <= ms; silentMs += 500) {
      for (const [journal, peers] of silences) {
        const followers = peers.map(({ nodeId }) => {
          return { nodeId, records: 1, behindMs: silentMs, silentMs };
        });
        journal.registration?.update({ ...journal.health, followers });
      }
      await cluster.settle(500);
    }
  }

  it('a leader that gets no answers is sealed without what only it has, and another leads', async () => {
    const { leader, followers } = await written();
    await tell([[leader, followers]]);
    expect(chainOf(await cluster.shard(shardId))).toBe('0-1');
    expect([...leader.replicas.values()][0]?.role).toBe('closed');
    const next = await openSegment();
    expect(next?.leaderNodeId).not.toBe(leader.nodeId);
    expect(next?.replicaNodeIds).toEqual(expect.not.arrayContaining([leader.nodeId]));
    // It is not moved on while the cut lasts, and gets all its replicas when it is over.
    await tell([[leader, followers]], 5_000);
    expect(chainOf(await cluster.shard(shardId))).toBe('0-1 1-open');
    leader.registration?.update(leader.health);
    await cluster.settle(5_000);
    expect((await openSegment())?.replicaNodeIds).toHaveLength(3);
  });

  it('so is one whose followers say so', async () => {
    const { leader, followers } = await written();
    await tell(followers.map((follower) => [follower, [leader]]));
    expect(chainOf(await cluster.shard(shardId))).toBe('0-1');
  });

  it('one that brokers get no answer from is sealed, and leads nothing new', async () => {
    const { leader } = await written();
    await cluster.broker('b1');
    const client = await cluster.newClient('b1');
    await client.reportUnreachable(leader.nodeId, 2, true);
    await cluster.client.reportUnreachable(leader.nodeId, 1, true);
    await cluster.settle(2_000);
    // Another incarnation, and somebody who is no broker.
    expect(chainOf(await cluster.shard(shardId))).toBe('0-open');
    await client.reportUnreachable(leader.nodeId, 1, true);
    await cluster.settle(0);
    expect(chainOf(await cluster.shard(shardId))).toBe('0-2');
    for (let times = 0; times < 5; times++) {
      expect((await openSegment())?.leaderNodeId).not.toBe(leader.nodeId);
      await cluster.client.reportUnreachable(leader.nodeId, 1, true);
    }
  });

  it('one that says that it leads the segment no more is sealed', async () => {
    const { leader } = await written();
    const closedSegments = [...leader.replicas.keys()].map((hex) => Buffer.from(hex, 'hex'));
    leader.registration?.update({ ...leader.health, closedSegments: [Buffer.alloc(16)] });
    await cluster.settle(2_000);
    expect(chainOf(await cluster.shard(shardId))).toBe('0-open');
    leader.registration?.update({ ...leader.health, closedSegments });
    await cluster.settle(2_000);
    expect(chainOf(await cluster.shard(shardId))).toBe('0-2');
  });

  it('brokers that reach no journal move nothing', async () => {
    await written();
    await cluster.broker('b1');
    const client = await cluster.newClient('b1');
    for (const { nodeId } of cluster.journals) await client.reportUnreachable(nodeId, 1, true);
    await cluster.settle(2_000);
    const leads = chainOf(await cluster.shard(shardId));
    for (const { nodeId } of cluster.journals) await client.reportUnreachable(nodeId, 1, true);
    await cluster.settle(1_000);
    expect(chainOf(await cluster.shard(shardId))).toBe(leads);
  });

  it('one silent follower moves nothing', async () => {
    const { leader, followers } = await written();
    await tell([[leader, followers.slice(1)]], 5_000);
    expect(chainOf(await cluster.shard(shardId))).toBe('0-open');
  });

  it('nothing moves while nobody could do better', async () => {
    const { leader, followers } = await written();
    const [first, second] = followers;
    if (first === undefined || second === undefined) throw new Error('there are two');
    const silences: Silence[] = [
      [first, [second]],
      [leader, followers],
    ];
    await tell(silences, 5_000);
    expect(chainOf(await cluster.shard(shardId))).toBe('0-open');
  });

  it('a journal that hangs while its segment is fenced holds the seal up no longer than the others need', async () => {
    const { leader, followers } = await written();
    leader.onOrder = (order) =>
      order === 'fence' ? new Promise<void>(() => undefined) : undefined;
    await tell([[leader, followers]], 1_000);
    await cluster.settle(1_000);
    expect(chainOf(await cluster.shard(shardId))).toBe('0-1');
  });
});
