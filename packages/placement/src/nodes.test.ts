import { OperatingError, seededRandom, silentLogger } from '@robustmq/core';
import { NodeRegistration } from '@robustmq/placement-client';
import {
  Coordinator,
  HeartbeatRequest,
  journalControlMethods,
  Node,
  NodeRole,
  NodeState,
  placementNodeMethods,
} from '@robustmq/rpc';
import { FakeJournal, VirtualClock } from '@robustmq/testkit';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { chainOf, Cluster, placementAddress } from './cluster.fixture.ts';

describe('nodes', () => {
  let cluster: Cluster;
  /** Why nodes were taken for down. */
  let lines: string[];
  beforeEach(async () => {
    lines = [];
    const warn = (fields: object): void => void lines.push(JSON.stringify(fields));
    cluster = await Cluster.start({ logger: { ...silentLogger(), warn } });
  });
  afterEach(() => cluster[Symbol.asyncDispose]());

  const stateOf = (nodeId: string): number | undefined =>
    cluster.client.catalog.node(nodeId)?.state;

  /** A journal whose own time stands still: it never renews, but its address answers. */
  async function silentJournal(): Promise<FakeJournal> {
    const { transport } = cluster;
    const placement = [placementAddress];
    const clock = new VirtualClock();
    const journal = new FakeJournal({ transport, clock, placement, nodeId: 'j1' });
    cluster.journals.push(journal);
    await journal.start();
    return journal;
  }

  it('keeps a lease that is renewed', async () => {
    await cluster.journal('j1');
    await cluster.settle(20_000);
    expect(stateOf('j1')).toBe(NodeState.UP);
  });

  it('ends the lease of a node that is silent for 2.5 s, not earlier', async () => {
    await silentJournal();
    await cluster.settle(2_400);
    expect(stateOf('j1')).toBe(NodeState.UP);
    await cluster.settle(200);
    expect(stateOf('j1')).toBe(NodeState.DOWN);
  });

  it('adds its own pause to every lease', async () => {
    await silentJournal();
    await cluster.settle(500);
    await cluster.clock.skip(60_000);
    await cluster.settle(1_000);
    expect(stateOf('j1')).toBe(NodeState.UP);
    await cluster.settle(1_500);
    expect(stateOf('j1')).toBe(NodeState.DOWN);
  });

  it('on a full disk it goes on, and ends later what ended meanwhile', async () => {
    await silentJournal();
    const leaving = await cluster.journal('j2');
    const { store } = cluster;
    const transact = store.transact.bind(store);
    store.transact = () => Promise.reject(new OperatingError('DISK_FULL', 'no space'));
    await leaving[Symbol.asyncDispose]();
    await cluster.settle(8_000);
    expect([stateOf('j1'), stateOf('j2')]).toEqual([NodeState.UP, NodeState.UP]);
    store.transact = transact;
    await cluster.settle(4_000);
    expect([stateOf('j1'), stateOf('j2')]).toEqual([NodeState.DOWN, NodeState.DOWN]);
  });

  it('grants a full lease after its own restart to nodes that it believed alive', async () => {
    await silentJournal();
    await cluster.settle(2_000);
    await cluster.placement[Symbol.asyncDispose]();
    await cluster.startPlacement();
    await cluster.settle(2_000);
    expect(stateOf('j1')).toBe(NodeState.UP);
    await cluster.settle(1_000);
    expect(stateOf('j1')).toBe(NodeState.DOWN);
  });

  it('takes back a node whose lease had ended, with what it leads', async () => {
    const { transport } = cluster;
    const clock = new VirtualClock();
    const journal = new FakeJournal({
      transport,
      clock,
      placement: [placementAddress],
      nodeId: 'j1',
    });
    cluster.journals.push(journal);
    await journal.start();
    await cluster.settle();
    const [shardId = 0] = await cluster.topic('t');
    await cluster.client.openSegments(shardId);
    await cluster.settle(5_000);
    expect(stateOf('j1')).toBe(NodeState.DOWN);
    await clock.advance(1_000);
    await cluster.settle();
    expect(stateOf('j1')).toBe(NodeState.UP);
    expect(chainOf(await cluster.shard(shardId))).toBe('0-open');
    expect(journal.led()).toEqual([shardId]);
  });

  it('a journal whose disk hangs counts as down and is told of, its shards go on elsewhere', async () => {
    const journals = new Map<string, FakeJournal>();
    for (const name of ['j1', 'j2', 'j3']) journals.set(name, await cluster.journal(name));
    const [shardId = 0] = await cluster.topic('t');
    const [segment] = (await cluster.client.openSegments(shardId)).segments;
    const leader = journals.get(segment?.leaderNodeId ?? '');
    if (leader === undefined) throw new Error('somebody leads');
    leader.append(shardId, 3);
    for (let syncAgeMs = 100; syncAgeMs < 4_000; syncAgeMs += 500) {
      leader.registration?.update({ ...leader.health, syncAgeMs });
      await cluster.settle(500);
    }
    expect(stateOf(leader.nodeId)).toBe(NodeState.DOWN);
    expect(lines.at(-1)).toMatch(/its disk hangs: a sync is under way for 2\d\d\d ms/);
    const next = await cluster.client.openSegments(shardId);
    expect(next.segments.at(-1)?.replicaNodeIds).not.toContain(leader.nodeId);
    leader.registration?.update(leader.health);
    await cluster.settle(500);
    expect(stateOf(leader.nodeId)).toBe(NodeState.UP);
  });

  it('ends the lease at once when the node leaves, and when its address refuses', async () => {
    const journal = await cluster.journal('j1');
    await journal.registration?.[Symbol.asyncDispose]();
    await cluster.settle();
    expect(stateOf('j1')).toBe(NodeState.DOWN);
    const silent = await cluster.journal('j2');
    await silent.kill();
    await cluster.client.reportUnreachable('j2', 1);
    await cluster.settle();
    expect(stateOf('j2')).toBe(NodeState.DOWN);
  });

  it('asks the address of a node whose stream breaks, and believes a refusal', async () => {
    const { transport } = cluster;
    const beat = (nodeId: string): void => {
      const node = Node.create({
        nodeId,
        role: NodeRole.JOURNAL,
        address: `${nodeId}:1`,
        incarnation: 1,
      });
      const stream = transport
        .connect(placementAddress, 'control')
        .open(placementNodeMethods.heartbeat, { message: () => stream.cancel(), closed() {} });
      stream.send(HeartbeatRequest.create({ node }));
    };
    await using _ = await transport.listen('j2:1', (registry) =>
      registry.unary(journalControlMethods.probe, () => ({ nodeId: 'j2', incarnation: 1 })),
    );
    await using _other = await transport.listen('j3:1', (registry) =>
      registry.unary(journalControlMethods.probe, () => ({ nodeId: 'j3', incarnation: 2 })),
    );
    for (const nodeId of ['j1', 'j2', 'j3']) beat(nodeId);
    await cluster.settle();
    expect([stateOf('j1'), stateOf('j2'), stateOf('j3')]).toEqual([
      NodeState.DOWN,
      NodeState.UP,
      NodeState.DOWN,
    ]);
  });

  it('asks the address of a node whose stream ends without its having said that it leaves', async () => {
    const journal = await cluster.journal('j1');
    const { transport } = cluster;
    const stream = transport
      .connect(placementAddress, 'control')
      .open(placementNodeMethods.heartbeat, { message: () => stream.end(), closed() {} });
    stream.send(HeartbeatRequest.create({ node: journal.node() }));
    await cluster.settle();
    expect(stateOf('j1')).toBe(NodeState.UP);
  });

  it('does not believe that a node which answers is gone', async () => {
    await cluster.journal('j1');
    await cluster.client.reportUnreachable('j1', 1);
    await cluster.client.reportUnreachable('j1', 7);
    await cluster.client.reportUnreachable('nobody', 7);
    await cluster.settle();
    expect(stateOf('j1')).toBe(NodeState.UP);
  });

  it('refuses an older incarnation, and a name in use by another role', async () => {
    await cluster.broker('n1', [], 5);
    const refusals: string[] = [];
    const register = async (role: NodeRole, incarnation: number): Promise<void> => {
      const { transport, clock } = cluster;
      const node = Node.create({ nodeId: 'n1', role, address: 'x:1', incarnation });
      await using registration = new NodeRegistration({
        placement: [placementAddress],
        transport,
        clock,
        random: seededRandom(1),
        node,
        clusterId: '',
        placementEpoch: 0,
        onRefused: (error) => refusals.push(error.code),
      });
      registration.start();
      await cluster.settle();
    };
    await register(NodeRole.BROKER, 4);
    await register(NodeRole.JOURNAL, 6);
    expect(refusals).toEqual(['FENCED', 'ALREADY_EXISTS']);
    expect(stateOf('n1')).toBe(NodeState.UP);
  });

  describe('another disk under the id of a journal', () => {
    const known = () => cluster.client.catalog.node('j1');

    it('is a new incarnation above all that were accepted, and so is the old one when it comes back', async () => {
      const journal = await cluster.journal('j1');
      for (let life = 0; life < 4; life++) {
        await journal.kill();
        await journal.start();
      }
      expect(known()).toMatchObject({ incarnation: 5, diskUuid: 'disk-of-j1' });
      await journal.kill();
      Object.assign(journal, { incarnation: 0, diskUuid: 'new disk' });
      await journal.start();
      await cluster.settle(5_000);
      expect(journal.registered).toBe(true);
      expect(known()).toMatchObject({ incarnation: 6, diskUuid: 'new disk' });
      expect(stateOf('j1')).toBe(NodeState.UP);
      await journal.kill();
      Object.assign(journal, { incarnation: 5, diskUuid: 'disk-of-j1' });
      await journal.start();
      await cluster.settle(5_000);
      expect(known()).toMatchObject({ incarnation: 7, diskUuid: 'disk-of-j1' });
      expect(stateOf('j1')).toBe(NodeState.UP);
    });

    it('with the same incarnation is not taken for the one that is known', async () => {
      const journal = await cluster.journal('j1');
      await journal.kill();
      Object.assign(journal, { incarnation: 0, diskUuid: 'new disk' });
      await journal.start();
      await cluster.settle(5_000);
      expect(known()).toMatchObject({ incarnation: 2, diskUuid: 'new disk' });
    });

    it('waits while the known one is up, however high its incarnation is', async () => {
      const journal = await cluster.journal('j1');
      const { transport, clock } = cluster;
      const refusals: string[] = [];
      const node = Node.create({ ...journal.node(), incarnation: 9, diskUuid: 'new disk' });
      await using registration = new NodeRegistration({
        placement: [placementAddress],
        transport,
        clock,
        random: seededRandom(1),
        node: { ...node, address: 'elsewhere:1' },
        clusterId: '',
        placementEpoch: 0,
        onRefused: (error) => refusals.push(error.code),
      });
      registration.start();
      await cluster.settle(5_000);
      expect(new Set(refusals)).toEqual(new Set(['CONFLICT']));
      expect(known()).toMatchObject({ incarnation: 1, state: NodeState.UP });
      await journal.kill();
      await cluster.settle(10_000);
      expect(registration.registered).toBe(true);
      expect(known()).toMatchObject({ incarnation: 9, diskUuid: 'new disk' });
    });
  });

  it('refuses a node of another cluster, and one that has seen a newer placement', async () => {
    const { transport, clock } = cluster;
    const refusals: string[] = [];
    for (const known of [
      { clusterId: 'another', placementEpoch: 0 },
      { clusterId: cluster.placement.clusterId ?? '', placementEpoch: 99 },
    ]) {
      await using registration = new NodeRegistration({
        placement: [placementAddress],
        transport,
        clock,
        random: seededRandom(1),
        node: Node.create({
          nodeId: 'n1',
          role: NodeRole.BROKER,
          address: 'x:1',
          incarnation: 1,
        }),
        onRefused: (error) => refusals.push(error.code),
        ...known,
      });
      registration.start();
      await cluster.settle();
    }
    expect(refusals).toEqual(['WRONG_CLUSTER', 'CONFLICT']);
  });

  it('gives a draining or read-only journal nothing new', async () => {
    const draining = await cluster.journal('j1');
    await cluster.journal('j2');
    const readOnly = await cluster.journal('j3');
    draining.registration?.drain();
    readOnly.registration?.update({ ...readOnly.health, readOnly: true });
    await cluster.settle(1_000);
    expect(stateOf('j1')).toBe(NodeState.DRAINING);
    const shardIds = await cluster.topic('t', 10, { 'replication.factor': '1' });
    for (const shardId of shardIds) {
      const shard = await cluster.client.openSegments(shardId);
      expect(shard.segments[0]?.leaderNodeId).toBe('j2');
    }
  });

  describe('coordinators', () => {
    const kinds = [{ kind: 'mqtt-session', shards: 8 }];
    const owners = (): Record<string, number> => {
      const counts: Record<string, number> = {};
      for (const { ownerNodeId } of cluster.client.catalog.coordinators('mqtt-session')) {
        counts[ownerNodeId] = (counts[ownerNodeId] ?? 0) + 1;
      }
      return counts;
    };

    it('makes the internal topic when a broker announces the kind first', async () => {
      await cluster.broker('b1', kinds);
      await cluster.settle();
      const topic = cluster.client.catalog.topic('$mqtt-session');
      expect(topic?.shardIds).toHaveLength(8);
      expect(owners()).toEqual({ b1: 8 });
      const found = cluster.client.catalog.coordinator('mqtt-session', 3);
      expect(found).toEqual(
        Coordinator.create({
          kind: 'mqtt-session',
          index: 3,
          shardId: topic?.shardIds[3] ?? 0,
          ownerNodeId: 'b1',
          ownerIncarnation: 1,
          epoch: 1,
        }),
      );
      // The number of shards is fixed by the first.
      await cluster.broker('b2', [{ kind: 'mqtt-session', shards: 99 }]);
      await cluster.settle();
      expect(cluster.client.catalog.coordinators('mqtt-session')).toHaveLength(8);
    });

    it('gives those of a killed broker to another at once', async () => {
      const first = await cluster.broker('b1', kinds);
      await cluster.broker('b2', kinds);
      await first.kill();
      await cluster.settle();
      expect(owners()).toEqual({ b2: 8 });
      expect(cluster.client.catalog.coordinator('mqtt-session', 0)?.epoch).toBe(2);
    });

    it('evens out when a broker has joined, one pass later', async () => {
      await cluster.broker('b1', kinds);
      await cluster.broker('b2', kinds);
      await cluster.settle(5_000);
      expect(owners()).toEqual({ b1: 8 });
      await cluster.settle(5_000);
      expect(owners()).toEqual({ b1: 4, b2: 4 });
    });

    it('takes those of a broker that drains', async () => {
      const first = await cluster.broker('b1', kinds);
      await cluster.broker('b2', kinds);
      first.registration.drain();
      await cluster.settle(0);
      expect(owners()).toEqual({ b2: 8 });
    });

    it('keeps owners over a restart of placement', async () => {
      await cluster.broker('b1', kinds);
      await cluster.settle();
      await cluster.restartPlacement();
      await cluster.settle(10_000);
      expect(owners()).toEqual({ b1: 8 });
      expect(cluster.client.catalog.coordinator('mqtt-session', 0)?.epoch).toBe(1);
    });
  });
});
