import { OperatingError } from '@robustmq/core';
import { PrepareRoll, RollSegment, type Segment } from '@robustmq/rpc';
import type { FakeJournal } from '@robustmq/testkit';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { chainOf, Cluster } from './cluster.fixture.ts';

describe('rolls that are prepared (docs/journal.md 2.6)', () => {
  let cluster: Cluster;
  let goesOn: PromiseWithResolvers<void>;
  beforeEach(async () => {
    goesOn = Promise.withResolvers();
    // Nothing is copied.
    cluster = await Cluster.start({ virtualCalls: true, config: { auditEachMs: 10 ** 9 } });
    for (const name of ['j1', 'j2', 'j3', 'j4']) await cluster.journal(name);
  });
  afterEach(async () => {
    goesOn.resolve();
    await cluster[Symbol.asyncDispose]();
  });

  async function openSegment(shardId: number): Promise<Segment> {
    const segment = (await cluster.client.openSegments(shardId)).segments.at(-1);
    if (segment === undefined) throw new Error('it was opened');
    return segment;
  }
  const journal = (nodeId: string): FakeJournal => {
    const found = cluster.journals.find((one) => one.nodeId === nodeId);
    if (found === undefined) throw new Error(`${nodeId} is there`);
    return found;
  };
  /** Asks as the leader of these segments; the outcomes, by code. */
  async function prepare(segments: readonly Segment[]): Promise<string[]> {
    const outcomes = await cluster.client.prepareRolls({
      nodeId: segments[0]?.leaderNodeId ?? '',
      incarnation: segments[0]?.leaderIncarnation ?? 0,
      segments: segments.map((segment) =>
        PrepareRoll.create({ ...segment, fullNodeIds: segment.replicaNodeIds }),
      ),
    });
    return outcomes.map((error) => error?.code ?? 'OK');
  }
  async function roll(
    segments: readonly Segment[],
    fullNodeIds = segments[0]?.replicaNodeIds ?? [],
  ): Promise<string[]> {
    const outcomes = await cluster.client.rollSegments({
      nodeId: segments[0]?.leaderNodeId ?? '',
      incarnation: segments[0]?.leaderIncarnation ?? 0,
      segments: segments.map(({ segmentId, shardId, epoch }) =>
        RollSegment.create({
          segmentId,
          shardId,
          epoch,
          endOffset: 10,
          fullNodeIds,
          openNext: true,
        }),
      ),
    });
    return outcomes.map((one) => (one instanceof OperatingError ? one.code : chainOf(one)));
  }
  /** Each replica on a live journal, as `node segment`. */
  const replicas = (): string[] =>
    cluster.journals
      .flatMap(({ nodeId, replicas: there }) => [...there.keys()].map((hex) => `${nodeId} ${hex}`))
      .toSorted();
  const prepares = (): number =>
    cluster.journals.reduce((sum, { obeyed }) => sum + (obeyed.get('prepare') ?? 0), 0);
  /** Nothing is anywhere but what the chain of the shard names. */
  async function expectNoLeftovers(shardId: number): Promise<void> {
    await cluster.settle(1_000);
    const { segments } = await cluster.shard(shardId);
    const named = segments.flatMap(({ segmentId, replicaNodeIds }) =>
      replicaNodeIds.map((nodeId) => `${nodeId} ${segmentId.toString('hex')}`),
    );
    expect(replicas()).toEqual(named.toSorted());
  }

  it('use what is prepared, and ask no journal any more but the leader', async () => {
    const [shardId = 0] = await cluster.topic('t');
    const segment = await openSegment(shardId);
    expect(await prepare([segment])).toEqual(['OK']);
    // Asking again prepares nothing more.
    expect(await prepare([segment])).toEqual(['OK']);
    expect([prepares(), replicas().length]).toEqual([6, 6]);
    for (const one of cluster.journals) {
      one.onOrder = (order) =>
        order === 'prepare' || order === 'storeCatalog' ? goesOn.promise : undefined;
    }
    expect(await roll([segment])).toEqual(['0-10 10-open']);
    expect(prepares()).toBe(6);
    expect(journal((await openSegment(shardId)).leaderNodeId).led()).toContain(shardId);
    await expectNoLeftovers(shardId);
  });

  it('use what is prepared although a journal has come since that would be in it', async () => {
    for (const name of ['j3', 'j4']) await journal(name).kill();
    await cluster.settle(3_000);
    const [shardId = 0] = await cluster.topic('t');
    const segment = await openSegment(shardId);
    expect(await prepare([segment])).toEqual(['OK']);
    await journal('j3').start();
    await cluster.settle(600);
    journal('j3').onOrder = () => goesOn.promise;
    expect(await roll([segment])).toEqual(['0-10 10-open']);
    expect((await openSegment(shardId)).replicaNodeIds).toHaveLength(2);
    await expectNoLeftovers(shardId);
  });

  it('that never come leave nothing, and come late all the same', async () => {
    const [shardId = 0] = await cluster.topic('t');
    const segment = await openSegment(shardId);
    await prepare([segment]);
    await cluster.settle(9_000);
    expect(replicas()).toHaveLength(6);
    await cluster.settle(3_000);
    expect(replicas()).toHaveLength(3);
    expect(await roll([segment])).toEqual(['0-10 10-open']);
    expect(prepares()).toBe(9);
    await expectNoLeftovers(shardId);
  });

  it('are lost with their placement; the next one prepares and deletes', async () => {
    const [shardId = 0] = await cluster.topic('t');
    const segment = await openSegment(shardId);
    await prepare([segment]);
    await cluster.restartPlacement();
    expect(await roll([segment])).toEqual(['0-10 10-open']);
    expect(prepares()).toBe(9);
    await expectNoLeftovers(shardId);
  });

  it('under way when their placement ends disturb nobody', async () => {
    const [shardId = 0] = await cluster.topic('t');
    const segment = await openSegment(shardId);
    // It ends while a journal is given the copy of the catalog that comes before the order.
    for (const one of cluster.journals) {
      one.onOrder = (order) => (order === 'storeCatalog' ? goesOn.promise : undefined);
    }
    const altered = cluster.client.alterTopic({ name: 't', set: { 'retention.ms': '100000' } });
    await cluster.settle(1_100);
    await altered;
    const asked = prepare([segment]).catch(() => ['ended']);
    await cluster.turns(10);
    const restarted = cluster.restartPlacement();
    await cluster.settle(1_000);
    for (const one of cluster.journals) one.onOrder = undefined;
    await restarted;
    expect(await asked).not.toEqual(['OK']);
    goesOn.resolve();
    await cluster.settle(3_000);
    expect(await roll([segment])).toEqual(['0-10 10-open']);
    await expectNoLeftovers(shardId);
  });

  it('are abandoned when the leader dies in between', async () => {
    const [shardId = 0] = await cluster.topic('t');
    const segment = await openSegment(shardId);
    await prepare([segment]);
    for (const one of cluster.journals) {
      for (const replica of one.replicas.values()) {
        if (replica.order.segmentId.equals(segment.segmentId)) replica.length = 10;
      }
    }
    const leader = journal(segment.leaderNodeId);
    await leader.kill();
    await cluster.settle(2_000);
    expect(chainOf(await cluster.client.openSegments(shardId))).toBe('0-10 10-open');
    expect(await roll([segment])).toEqual(['0-10 10-open']);
    await leader.start();
    await expectNoLeftovers(shardId);
  });

  it('do not use a journal that is drained, removed, read-only or started anew since', async () => {
    const changes: ((one: FakeJournal) => Promise<void>)[] = [
      (one) => cluster.client.drainNode(one.nodeId),
      async (one) => {
        await one.kill();
        await cluster.settle(100);
        await one.start();
      },
      async (one) => one.registration?.update({ ...one.health, readOnly: true }),
    ];
    const name = ['drained', 'anew', 'full'];
    for (const [at, change] of changes.entries()) {
      const [shardId = 0] = await cluster.topic(`t-${name[at]}`, 1, { 'replication.factor': '2' });
      const segment = await openSegment(shardId);
      const before = new Set(replicas());
      await prepare([segment]);
      const prepared = replicas().filter((one) => !before.has(one));
      const victim = prepared
        .map((one) => one.split(' ')[0] ?? '')
        .find((nodeId) => !segment.replicaNodeIds.includes(nodeId));
      const chosen = prepared.map((one) => one.split(' ')[1] ?? '')[0];
      // By load the other two are chosen.
      if (victim === undefined) throw new Error('another journal gets a replica');
      await change(journal(victim));
      await cluster.settle(600);
      expect(await roll([segment])).toEqual(['0-10 10-open']);
      const next = await openSegment(shardId);
      expect(next.segmentId.toString('hex')).not.toBe(chosen);
      if (at !== 1) expect(next.replicaNodeIds).not.toContain(victim);
    }
  });

  it('are led by another member when the chosen leader lacks the end', async () => {
    const [shardId = 0] = await cluster.topic('t', 1, { 'replication.factor': '4' });
    let segment = await openSegment(shardId);
    const { replicaNodeIds } = segment;
    await prepare([segment]);
    // Whoever was chosen to lead: two that have everything, one after the other.
    for (const full of [replicaNodeIds.slice(0, 3), replicaNodeIds.slice(1)]) {
      const before = prepares();
      expect((await roll([segment], full))[0]).toMatch(/10-open$/);
      expect(prepares()).toBe(before);
      segment = await openSegment(shardId);
      expect(full).toContain(segment.leaderNodeId);
      await prepare([segment]);
    }
  });

  it('of many segments: a journal that hangs delays only what was to be there', async () => {
    const shardIds = await cluster.topic('t', 40, { 'replication.factor': '1' });
    const all = await Promise.all(shardIds.map((shardId) => openSegment(shardId)));
    const segments = all.filter(({ leaderNodeId }) => leaderNodeId === 'j1');
    expect(segments.length).toBeGreaterThan(4);
    journal('j2').onOrder = (order) => (order === 'prepare' ? goesOn.promise : undefined);
    const asked = prepare(segments);
    await cluster.settle(600);
    const outcomes = await asked;
    const ready = segments.filter((_, at) => outcomes[at] === 'OK');
    const waiting = segments.filter((_, at) => outcomes[at] === 'UNAVAILABLE');
    expect([ready.length > 0, waiting.length > 0]).toEqual([true, true]);
    expect(new Set(await roll(ready, ['j1']))).toEqual(new Set(['0-10 10-open']));
    // Meanwhile others were chosen for the rest.
    await cluster.settle(2_000);
    expect(new Set(await prepare(waiting))).toEqual(new Set(['OK']));
    expect(new Set(await roll(waiting, ['j1']))).toEqual(new Set(['0-10 10-open']));
  });

  it('name the leader that asks first of those that have everything', async () => {
    const [shardId = 0] = await cluster.topic('t');
    const segment = await openSegment(shardId);
    await prepare([segment]);
    await roll([segment], segment.replicaNodeIds.toReversed());
    const [sealed] = (await cluster.shard(shardId)).segments;
    expect(sealed?.fullNodeIds[0]).toBe(segment.leaderNodeId);
    expect(sealed?.fullNodeIds.toSorted()).toEqual(segment.replicaNodeIds.toSorted());
  });

  it('that no journal can take are refused, and not to be asked for again soon', async () => {
    const [shardId = 0] = await cluster.topic('t', 1, { 'min.insync.replicas': '3' });
    const { segmentId, epoch, leaderNodeId } = await openSegment(shardId);
    for (const one of cluster.journals) {
      if (one.nodeId !== leaderNodeId) await cluster.client.drainNode(one.nodeId);
    }
    const item = PrepareRoll.create({ segmentId, shardId, epoch });
    const order = { nodeId: leaderNodeId, incarnation: 1, segments: [item] };
    const [error] = await cluster.client.prepareRolls(order);
    expect(error?.code).toBe('NOT_ENOUGH_REPLICAS');
    expect(error?.hint.retryAfterMs).toBeUndefined();
  });

  it('are refused to whoever does not lead the segment', async () => {
    const [shardId = 0] = await cluster.topic('t');
    const segment = await openSegment(shardId);
    const before = prepares();
    expect(await prepare([{ ...segment, leaderIncarnation: 9 }])).toEqual(['NOT_LEADER']);
    expect(await prepare([{ ...segment, epoch: 9 }])).toEqual(['NOT_LEADER']);
    expect(prepares()).toBe(before);
  });
});
