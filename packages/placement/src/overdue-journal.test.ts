import { FakeJournal, VirtualClock } from '@robustmq/testkit';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { chainOf, Cluster, placementAddress } from './cluster.fixture.ts';

describe('a journal that is stopped', () => {
  let cluster: Cluster;
  /** Its own time, which stands still: it sends no heartbeats. */
  let clock: VirtualClock;
  let stopped: FakeJournal;
  let goesOn: PromiseWithResolvers<void>;
  beforeEach(async () => {
    goesOn = Promise.withResolvers();
    cluster = await Cluster.start({ virtualCalls: true, config: { auditEachMs: 10 ** 9 } });
  });
  afterEach(async () => {
    goesOn.resolve();
    await cluster[Symbol.asyncDispose]();
  });

  /** These journals and the one that stops; the shard of a topic. */
  async function start(...others: string[]): Promise<number> {
    for (const name of others) await cluster.journal(name);
    clock = new VirtualClock();
    const { transport } = cluster;
    const placement = [placementAddress];
    stopped = new FakeJournal({ transport, clock, placement, nodeId: 'stopped' });
    cluster.journals.push(stopped);
    await stopped.start();
    const [shardId = 0] = await cluster.topic('t');
    stopped.onOrder = () => goesOn.promise;
    return shardId;
  }

  /** Opens a segment; whether that was answered within so many ms, and its replicas and ack quorum then. */
  async function open(shardId: number, ms: number): Promise<[string[], number] | undefined> {
    let opened: [string[], number] | undefined;
    void (async () => {
      const segment = (await cluster.client.openSegments(shardId)).segments.at(-1);
      opened = [segment?.replicaNodeIds.toSorted() ?? [], segment?.ackQuorum ?? 0];
    })();
    for (let passed = 0; passed < ms; passed += 100) await cluster.settle(100);
    await cluster.settle();
    return opened;
  }

  it('gets no replica once two heartbeats are missing, and the ack quorum is the same', async () => {
    const shardId = await start('j1', 'j2');
    await cluster.settle(1_100);
    expect(await open(shardId, 0)).toEqual([['j1', 'j2'], 2]);
  });

  it('is waited for until then, not longer', async () => {
    const shardId = await start('j1', 'j2');
    expect(await open(shardId, 800)).toBeUndefined();
    expect(await open(shardId, 400)).toEqual([['j1', 'j2'], 2]);
    // What it was to prepare goes when it is back.
    goesOn.resolve();
    await clock.advance(600);
    await cluster.settle(600);
    expect(stopped.replicas.size).toBe(0);
  });

  it('is waited for longer when its disk is slow: heartbeats come', async () => {
    const shardId = await start('j1', 'j2');
    const beats = (async () => {
      for (let at = 0; at < 3; at++) {
        await clock.advance(500);
        await cluster.settle(500);
      }
    })();
    const opening = cluster.client.openSegments(shardId);
    await beats;
    goesOn.resolve();
    expect((await opening).segments[0]?.replicaNodeIds).toHaveLength(3);
  });

  it('is waited for when the ack quorum would be lower without it', async () => {
    const shardId = await start('j1');
    await cluster.settle(1_100);
    expect(await open(shardId, 500)).toBeUndefined();
    goesOn.resolve();
    expect(await open(shardId, 100)).toEqual([['j1', 'stopped'], 2]);
  });

  it('ends no segment while it is silent, and is brought in when it is back', async () => {
    const shardId = await start('j1', 'j2');
    await cluster.settle(1_100);
    expect(await open(shardId, 0)).toEqual([['j1', 'j2'], 2]);
    for (const { replicas } of cluster.journals) {
      for (const replica of replicas.values()) replica.length = 3;
    }
    await cluster.settle(1_200);
    expect(chainOf(await cluster.shard(shardId))).toBe('0-open');
    goesOn.resolve();
    for (let at = 0; at < 8; at++) {
      await clock.advance(500);
      await cluster.settle(500);
    }
    expect(chainOf(await cluster.shard(shardId))).toBe('0-3');
    expect(await open(shardId, 0)).toEqual([['j1', 'j2', 'stopped'], 2]);
  });

  it('leads nothing new once it was given up and came back soon, until it was well for a minute', async () => {
    const shardId = await start('j1', 'j2');
    goesOn.resolve();
    await cluster.settle(3_000);
    for (let at = 0; at < 8; at++) {
      await clock.advance(500);
      await cluster.settle(500);
    }
    const opened = await cluster.client.openSegments(shardId);
    expect(opened.segments.at(-1)?.replicaNodeIds.toSorted()).toEqual(['j1', 'j2', 'stopped']);
    const led = async (topic: string): Promise<string[]> => {
      const shardIds = await cluster.topic(topic, 6);
      const leaders: string[] = [];
      for (const id of shardIds) {
        const { segments } = await cluster.client.openSegments(id);
        leaders.push(segments.at(-1)?.leaderNodeId ?? '');
      }
      return leaders;
    };
    expect(await led('u')).not.toContain('stopped');
    for (let at = 0; at < 130; at++) {
      await clock.advance(500);
      await cluster.settle(500);
    }
    expect(await led('v')).toContain('stopped');
  });
});
