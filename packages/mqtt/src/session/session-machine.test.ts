import { offset, OperatingError, shardId } from '@robustmq/core';
import { describe, expect, it } from 'vitest';

import {
  never,
  newCluster,
  Client,
  grant,
  message,
  will,
  subscription,
  refusal,
  start,
  failOver,
  whole,
  values,
} from './session-cluster.fixture.ts';
import type { SessionGrant, SessionGranted } from './session-gateway.ts';
import type { TestBroker } from './test-cluster.ts';
import { sessionKind } from './session-machine.ts';

describe('a session', () => {
  it('is not there at first, and is there again after a disconnect [MQTT5-3.1.2-4, -5, -6]', async () => {
    const { a, b } = await start();
    const first = await a.connect();
    expect(first.present).toBe(false);
    await a.settle(a.gateway.subscribe(grant(first.epoch), [subscription('x/#')]));
    const progress = {
      positions: [{ shardId: shardId(100), offset: offset(9) }],
      window: [
        { packetId: 3, shardId: shardId(100), offset: offset(7), qos: 2, state: 'released' },
        { packetId: 1, shardId: shardId(100), offset: offset(8), qos: 1, state: 'sent' },
      ],
    } as const;
    const told = { ...progress, complete: false, trimmed: undefined, replays: [] };
    await a.settle(a.gateway.progress(grant(first.epoch), told));
    await a.disconnect(first.epoch);
    const second = await b.connect();
    expect(second).toMatchObject({ present: true, ...progress, inboundPacketIds: [] });
    expect(second.subscriptions).toEqual([subscription('x/#')]);
    expect(second.epoch).toBeGreaterThan(first.epoch);
    await b.disconnect(second.epoch);
    const clean = await b.connect({ cleanStart: true });
    expect(clean).toMatchObject({ present: false, subscriptions: [], positions: [], window: [] });
  });

  it('is granted once for a repeated CONNECT of one connection', async () => {
    const { a } = await start();
    const first = await a.connect({ connectionId: 'same', cleanStart: true });
    const again = await a.connect({ connectionId: 'same', cleanStart: true });
    expect(again.epoch).toBe(first.epoch);
    expect(a.revoked).toEqual([]);
  });

  it('has one holder: the old one is told and refused [MQTT5-3.1.4-3]', async () => {
    const { a, b } = await start();
    const first = await a.connect();
    const second = await b.connect();
    expect(second.present).toBe(true);
    expect(await refusal(a.settle(a.gateway.subscribe(grant(first.epoch), [])))).toBe('FENCED');
    expect(a.revoked).toEqual([`c/${first.epoch}/taken-over`]);
    expect(await refusal(a.disconnect(first.epoch))).toBe('FENCED');
    expect(await refusal(b.disconnect(second.epoch))).toBe('none');
    expect(await refusal(b.disconnect(second.epoch))).toBe('none');
  });

  it('a CONNECT that has lost its session already is refused when it is repeated', async () => {
    const { a, b } = await start();
    await a.connect({ connectionId: 'first' });
    await b.connect({ connectionId: 'second' });
    expect(await refusal(a.connect({ connectionId: 'first' }))).toBe('FENCED');
  });

  it('ends with its connection when its expiry is 0 [MQTT5-4.1.0-2, MQTT-3.1.2-6]', async () => {
    const { cluster, a } = await start();
    const first = await a.connect({ expirySeconds: 0 });
    await a.disconnect(first.epoch);
    expect((await a.connect()).present).toBe(false);
    expect(cluster.logs.log(7).batches.length).toBeLessThan(6);
  });

  it('ends after its expiry, never before; DISCONNECT may change it [MQTT5-4.1.0-2, -3.1.2-23]', async () => {
    const { cluster, a } = await start();
    const connect = async (): Promise<SessionGranted> => await a.connect({ expirySeconds: 100 });
    await a.disconnect((await connect()).epoch);
    await cluster.clock.advance(99_000);
    const resumed = await connect();
    expect(resumed.present).toBe(true);
    await a.disconnect(resumed.epoch, { expirySeconds: 10 });
    await cluster.clock.advance(10_100);
    const anew = await connect();
    expect(anew.present).toBe(false);
    await a.disconnect(anew.epoch, { expirySeconds: 0 });
    expect((await connect()).present).toBe(false);
  });

  it('expires under the next owner, at the same time', async () => {
    const { cluster, owner, a } = await start();
    await a.disconnect((await a.connect({ expirySeconds: 100 })).epoch);
    await cluster.clock.advance(50_000);
    const next = await failOver(cluster, owner);
    await cluster.clock.advance(45_000);
    const resumed = await a.connect({ expirySeconds: 100 });
    expect(resumed.present).toBe(true);
    await a.disconnect(resumed.epoch);
    await cluster.clock.advance(60_000);
    await failOver(cluster, next);
    await cluster.clock.advance(45_000);
    expect((await a.connect()).present).toBe(false);
  });

  it('does not expire early when the wall clock jumps', async () => {
    const { cluster, a } = await start();
    await a.disconnect((await a.connect({ expirySeconds: 100 })).epoch);
    cluster.clock.jumpWall(1_000_000);
    await cluster.clock.advance(90_000);
    expect((await a.connect()).present).toBe(true);
  });

  it('keeps subscriptions, window and stored publishes over failovers and snapshots', async () => {
    const cluster = newCluster();
    let owner = await cluster.broker({ snapshotBytes: 2000 });
    const a = new Client(await cluster.broker());
    cluster.assign(owner);
    const { epoch } = await a.connect();
    for (let i = 0; i < 50; i++) {
      await a.settle(a.gateway.subscribe(grant(epoch), [subscription(`f/${i}`, i)]));
      await a.settle(a.gateway.storeInbound(grant(epoch), i + 1, message(`m${i}`)));
      if (i % 10 === 9) {
        owner.kill();
        owner = await cluster.broker({ snapshotBytes: 2000 });
        cluster.assign(owner);
      }
    }
    await a.settle(a.gateway.unsubscribe(grant(epoch), ['f/0', 'unknown']));
    await cluster.clock.advance(1000);
    expect(cluster.logs.log(7).trimOffset).toBeGreaterThan(0);
    await failOver(cluster, owner);
    const resumed = await a.connect();
    const filters = Array.from({ length: 49 }, (_, i) => `f/${i + 1}`);
    expect(resumed.subscriptions.map(({ filter }) => filter)).toEqual(filters);
    expect(resumed.subscriptions.at(-1)).toEqual(subscription('f/49', 49));
    expect(resumed.inboundPacketIds.toSorted((x, y) => x - y)).toHaveLength(50);
  });

  it('keeps the replays that it owes until they are over, through a failover', async () => {
    const { cluster, owner, a, b } = await start();
    const { epoch } = await a.connect();
    const all = ['x/#', 'y', 'z'].map((filter) => subscription(filter));
    await a.settle(a.gateway.subscribe(grant(epoch), all, ['x/#', 'y']));
    const from = { coordinator: 3, shardId: 104, name: 'x/m' };
    const progress = { positions: [], window: [], ...whole };
    // What does not know of all of them says nothing of them.
    await a.settle(a.gateway.progress(grant(epoch), { ...progress, complete: false }));
    const replays = [
      { filter: 'x/#', from },
      { filter: 'not subscribed', from },
    ];
    await a.settle(a.gateway.progress(grant(epoch), { ...progress, replays }));
    // One that replaces another has its rest.
    await a.settle(a.gateway.subscribe(grant(epoch), [subscription('x/#')]));
    await a.disconnect(epoch);
    await failOver(cluster, owner);
    const second = await b.connect();
    expect(second.replays).toEqual([{ filter: 'x/#', from }]);
    await b.settle(b.gateway.subscribe(grant(second.epoch), all, ['x/#']));
    await b.settle(b.gateway.subscribe(grant(second.epoch), [], []));
    await b.disconnect(second.epoch);
    const third = await a.connect();
    expect(third.replays).toEqual([{ filter: 'x/#', from: undefined }]);
    await a.settle(a.gateway.unsubscribe(grant(third.epoch), ['x/#']));
    await a.disconnect(third.epoch);
    expect((await b.connect()).replays).toEqual([]);
  });

  it('is restored from a snapshot that cuts it into several chunks', async () => {
    const cluster = newCluster();
    const owner = await cluster.broker({ snapshotBytes: 100_000 });
    const a = new Client(await cluster.broker());
    cluster.assign(owner);
    const { epoch } = await a.connect();
    const large = 'x'.repeat(1_300_000);
    await a.settle(a.gateway.storeInbound(grant(epoch), 1, message(large)));
    await a.settle(a.gateway.storeInbound(grant(epoch), 2, message('small')));
    await cluster.clock.advance(1000);
    expect(cluster.logs.log(7).trimOffset).toBeGreaterThan(0);
    await failOver(cluster, owner);
    const resumed = await a.connect();
    expect(await a.settle(a.gateway.releaseInbound(grant(resumed.epoch), 1))).toBe(true);
    expect(values(cluster)).toEqual([large]);
  });

  it('is refused when the coordinator has as many as it may', async () => {
    const { a } = await start({ sessionsMax: 1 });
    await a.connect();
    expect(await refusal(a.connect({ clientId: 'other' }))).toBe('RESOURCE_EXHAUSTED');
    expect(await refusal(a.connect())).toBe('none');
  });
});

describe('a CONNECT that is refused while its grant is not committed', () => {
  /** The owner's log takes nothing until it is released. */
  function stall({ logClient }: TestBroker): () => void {
    const append = logClient.appendBatch.bind(logClient);
    const stalled: (() => void)[] = [];
    logClient.appendBatch = (batch) =>
      new Promise((resolve) => stalled.push(() => resolve(append(batch))));
    return () => {
      logClient.appendBatch = append;
      for (const resume of stalled) resume();
    };
  }

  async function connectOther({ gateway, broker }: Client): Promise<void> {
    const client = { clientId: 'other', connectionId: 'other', cleanStart: true };
    const granted = gateway.connect({ ...client, expirySeconds: 0, will: undefined });
    const { epoch } = await broker.cluster.settle(granted);
    const end = { publishWill: false, expirySeconds: 0, progress: undefined };
    await broker.cluster.settle(gateway.disconnect({ clientId: 'other', epoch }, end));
  }

  /** A cluster whose owner has taken over already. */
  async function startServing(limits?: Parameters<typeof newCluster>[0]) {
    const started = await start(limits);
    await connectOther(started.b);
    await started.cluster.clock.advance(2000); // A fresh proof would grant a transient session at once.
    return started;
  }

  it.each([
    { expirySeconds: never, will: undefined },
    { expirySeconds: never, will: will('w') },
    { expirySeconds: 0, will: will('w') },
    { expirySeconds: 0, will: undefined },
  ])('leaves no session behind: %o [MQTT5-3.2.2-4]', async (request) => {
    const { cluster, owner, a, b } = await startServing({ sessionsMax: 1 });
    const resume = stall(owner);
    expect(await refusal(a.connect(request))).toBe('UNAVAILABLE');
    resume();
    await cluster.clock.advance(1000);
    await connectOther(b); // It counts no more.
    expect((await b.connect()).present).toBe(false);
    expect(values(cluster)).toEqual([]);
  });

  it('ends its connection and not the session that was there; its will is not published', async () => {
    const { cluster, owner, a, b } = await startServing();
    const first = await a.connect({ expirySeconds: 100 });
    await a.settle(a.gateway.subscribe(grant(first.epoch), [subscription('x')]));
    await a.disconnect(first.epoch);
    const resume = stall(owner);
    const refused = a.connect({ expirySeconds: 100, will: will('w', 1) });
    expect(await refusal(refused)).toBe('UNAVAILABLE');
    resume();
    await cluster.clock.advance(50_000);
    const resumed = await b.connect({ expirySeconds: 100 });
    expect(resumed).toMatchObject({ present: true, subscriptions: [subscription('x')] });
    await b.disconnect(resumed.epoch);
    const again = stall(owner);
    expect(await refusal(a.connect({ expirySeconds: 100 }))).toBe('UNAVAILABLE');
    again();
    await cluster.clock.advance(101_000);
    expect((await b.connect()).present).toBe(false);
    expect(values(cluster)).toEqual([]);
  });

  it('is abandoned before the next one of the client, however long the log stalls', async () => {
    const { cluster, owner, a } = await startServing();
    const resume = stall(owner);
    for (let i = 0; i < 3; i++) expect(await refusal(a.connect())).toBe('UNAVAILABLE');
    const next = a.connect();
    await cluster.clock.advance(5000);
    const last = a.connect();
    resume();
    await refusal(next);
    expect((await last).present).toBe(false);
    await cluster.clock.advance(20_000);
    expect((await a.connect()).present).toBe(true);
  });

  it('is abandoned at the next owner when its own is lost', async () => {
    const { cluster, owner, a, b } = await startServing();
    const append = owner.logClient.appendBatch.bind(owner.logClient);
    // The grant is committed, and the owner never hears of it.
    owner.logClient.appendBatch = (batch) => {
      owner.logClient.appendBatch = () => new Promise(() => {});
      return append(batch).then(() => new Promise(() => {}));
    };
    expect(await refusal(a.connect())).toBe('UNAVAILABLE');
    await failOver(cluster, owner);
    await cluster.clock.advance(1000);
    expect((await b.connect()).present).toBe(false);
  });
});

describe('retention', () => {
  it('waits for the slowest session that reads at QoS 1 or 2, also under the next owner', async () => {
    const { cluster, owner, a } = await start();
    const held = (shard: number): number | undefined =>
      cluster.holds.get(`${sessionKind}/0 ${shard}`);
    const subscribe = async (clientId: string, at: number): Promise<SessionGrant> => {
      const { epoch } = await a.connect({ clientId });
      await a.settle(a.gateway.subscribe({ clientId, epoch }, [subscription('f', at)]));
      return { clientId, epoch };
    };
    await subscribe('c', 20);
    const slow = await subscribe('d', 10);
    await cluster.clock.advance(31_000);
    expect(held(100)).toBe(10);
    const positions = [{ shardId: shardId(100), offset: offset(30) }];
    const entry = { packetId: 1, shardId: shardId(100), offset: offset(15), qos: 1 } as const;
    const window = [{ ...entry, state: 'sent' as const }];
    await a.settle(a.gateway.progress(slow, { ...whole, positions, window }));
    await cluster.clock.advance(31_000);
    expect(held(100)).toBe(15);
    await a.settle(a.gateway.progress(slow, { ...whole, positions, window: [] }));
    await failOver(cluster, owner);
    await cluster.clock.advance(35_000);
    expect(held(100)).toBe(20);
    for (const clientId of ['c', 'd']) {
      const { epoch } = await a.connect({ clientId, cleanStart: true });
      const silent = { ...subscription('g', 3), qos: 0 } as const;
      await a.settle(a.gateway.subscribe({ clientId, epoch }, [silent]));
    }
    await cluster.clock.advance(31_000);
    expect(held(100)).toBeUndefined();
  });
});

describe('a session without a log', () => {
  it('is announced to the next owner, and taken over there', async () => {
    const { cluster, owner, a, b } = await start();
    const { epoch } = await a.connect({ expirySeconds: 0, connectionId: 'x' });
    a.announced = [{ clientId: 'c', connectionId: 'x', epoch }];
    await failOver(cluster, owner);
    await cluster.clock.advance(1000);
    const second = await b.connect({ expirySeconds: 0 });
    expect(second.epoch).toBeGreaterThan(epoch);
    await cluster.clock.advance(100);
    expect(a.revoked).toEqual([`c/${epoch}/taken-over`]);
  });

  it('loses to a CONNECT that reaches the next owner before its announcement', async () => {
    const { cluster, owner, a, b } = await start();
    const { epoch } = await a.connect({ expirySeconds: 0, connectionId: 'x' });
    await failOver(cluster, owner);
    await b.connect();
    expect(a.revoked).toEqual([]);
    a.announced = [{ clientId: 'c', connectionId: 'x', epoch }];
    await cluster.clock.advance(30_100); // The next round of announcements.
    expect(a.revoked).toEqual([`c/${epoch}/taken-over`]);
    expect(b.revoked).toEqual([]);
  });

  it('is ended when its broker is taken for dead', async () => {
    const { cluster, a, b } = await start();
    const { epoch } = await a.connect({ expirySeconds: 0 });
    cluster.gone(a.broker);
    await cluster.clock.advance(100);
    expect(a.revoked).toEqual([`c/${epoch}/administrative`]);
    await b.connect({ expirySeconds: 0 });
    expect(a.revoked).toHaveLength(1);
  });

  it('stores no publishes', async () => {
    const { a } = await start();
    const { epoch } = await a.connect({ expirySeconds: 0 });
    const stored = a.gateway.storeInbound(grant(epoch), 1, message('m'));
    expect(await refusal(a.settle(stored))).toBe('INVALID_ARGUMENT');
    expect(await a.settle(a.gateway.releaseInbound(grant(epoch), 1))).toBe(false);
  });
});

describe('a QoS 2 publish', () => {
  it('is stored once and published once, in the order of the releases [MQTT5-4.3.3-10]', async () => {
    const { cluster, a } = await start();
    const { epoch } = await a.connect();
    const store = (packetId: number, value: string) =>
      a.gateway.storeInbound(grant(epoch), packetId, message(value));
    await a.settle(Promise.all([store(1, 'one'), store(2, 'two'), store(1, 'repeated')]));
    expect(values(cluster)).toEqual([]);
    const releases = [2, 1, 9].map((packetId) => a.gateway.releaseInbound(grant(epoch), packetId));
    expect(await a.settle(Promise.all(releases))).toEqual([true, true, false]);
    expect(values(cluster)).toEqual(['two', 'one']);
    await a.settle(store(2, 'again'));
    expect(await a.settle(a.gateway.releaseInbound(grant(epoch), 2))).toBe(true);
    expect(values(cluster)).toEqual(['two', 'one', 'again']);
  });

  it('is finished by another broker after a failover', async () => {
    const { cluster, owner, a, b } = await start();
    const { epoch } = await a.connect();
    await a.settle(a.gateway.storeInbound(grant(epoch), 1, message('m')));
    await failOver(cluster, owner);
    const resumed = await b.connect();
    expect(resumed.inboundPacketIds).toEqual([1]);
    expect(await b.settle(b.gateway.releaseInbound(grant(resumed.epoch), 1))).toBe(true);
    expect(values(cluster)).toEqual(['m']);
    expect((await b.connect()).inboundPacketIds).toEqual([]);
  });

  it('is refused when the session stores too much', async () => {
    const { a } = await start({ inboundBytesMax: 100 });
    const { epoch } = await a.connect();
    const store = (packetId: number) =>
      a.settle(a.gateway.storeInbound(grant(epoch), packetId, message('x'.repeat(60))));
    await store(1);
    expect(await refusal(store(2))).toBe('RESOURCE_EXHAUSTED');
    await a.settle(a.gateway.releaseInbound(grant(epoch), 1));
    expect(await refusal(store(2))).toBe('none');
  });

  it('waits for its topic without holding up others', async () => {
    const { cluster, a } = await start();
    const { epoch } = await a.connect();
    await a.settle(a.gateway.storeInbound(grant(epoch), 1, message('m')));
    const targets = Array.from({ length: 16 }, (_, i) => cluster.logs.log(100 + i));
    for (const log of targets) log.refusal = new OperatingError('UNAVAILABLE', 'away');
    let isReleased = false;
    const released = a.gateway.releaseInbound(grant(epoch), 1).then(() => (isReleased = true));
    await a.settle(a.gateway.subscribe(grant(epoch), [subscription('x')]));
    expect(isReleased).toBe(false);
    for (const log of targets) log.refusal = undefined;
    await a.settle(released);
    expect(values(cluster)).toEqual(['m']);
  });
});

describe('a will', () => {
  it('is discarded by an orderly DISCONNECT [MQTT5-3.14.4-3]', async () => {
    const { cluster, a } = await start();
    const { epoch } = await a.connect({ will: will('w', 5) });
    await a.disconnect(epoch);
    await cluster.clock.advance(10_000);
    expect(values(cluster)).toEqual([]);
  });

  it('is published when the connection is lost, after its delay and not before [MQTT5-3.1.2-8]', async () => {
    const { cluster, a } = await start();
    const { epoch } = await a.connect({ will: will('w', 5) });
    await a.disconnect(epoch, { publishWill: true });
    const endMs = cluster.clock.wallMs();
    await cluster.clock.advance(4900);
    expect(values(cluster)).toEqual([]);
    await cluster.clock.advance(200);
    expect(values(cluster)).toEqual(['w']);
    expect(cluster.published()[0]?.timestampMs).toBeGreaterThanOrEqual(endMs + 4900);
    await cluster.clock.advance(100_000);
    expect(values(cluster)).toEqual(['w']);
    expect((await a.connect()).present).toBe(true);
  });

  it('is published when the session ends before its delay does [MQTT5-3.1.2-8]', async () => {
    const { cluster, a } = await start();
    const short = await a.connect({ will: will('w', 60), expirySeconds: 3 });
    await a.disconnect(short.epoch, { publishWill: true });
    await cluster.clock.advance(3100);
    expect(values(cluster)).toEqual(['w']);
    expect((await a.connect({ expirySeconds: 3 })).present).toBe(false);
    const none = await a.connect({ will: will('v', 60), expirySeconds: 0, cleanStart: true });
    await a.disconnect(none.epoch, { publishWill: true });
    await cluster.clock.advance(100);
    expect(values(cluster)).toEqual(['w', 'v']);
  });

  it('is not published when the session is resumed before its delay [MQTT5-3.1.3-9]', async () => {
    const { cluster, a } = await start();
    const { epoch } = await a.connect({ will: will('w', 5) });
    await a.disconnect(epoch, { publishWill: true });
    await cluster.clock.advance(3000);
    await a.connect();
    await cluster.clock.advance(10_000);
    expect(values(cluster)).toEqual([]);
  });

  it.each([
    { delaySeconds: 0, cleanStart: false, fires: true },
    { delaySeconds: 5, cleanStart: false, fires: false },
    { delaySeconds: 5, cleanStart: true, fires: true },
    { delaySeconds: 0, cleanStart: true, fires: true },
  ])('of a connection that is taken over: %o [MQTT5-3.1.3-9]', async (row) => {
    const { cluster, a, b } = await start();
    await a.connect({ will: will('w', row.delaySeconds) });
    await b.connect({ cleanStart: row.cleanStart });
    await cluster.clock.advance(10_000);
    expect(values(cluster)).toEqual(row.fires ? ['w'] : []);
  });

  it('is published when the broker of the connection dies', async () => {
    const { cluster, a } = await start();
    await a.connect({ will: will('w', 0) });
    await a.connect({ clientId: 'd', will: will('v', 5) });
    cluster.gone(a.broker);
    await cluster.clock.advance(100);
    expect(values(cluster)).toEqual(['w']);
    await cluster.clock.advance(5100);
    expect(values(cluster)).toEqual(['w', 'v']);
  });

  it('is published once when broker and coordinator die together', async () => {
    const { cluster, owner, a, b } = await start();
    await a.connect({ will: will('w', 1) });
    cluster.gone(a.broker);
    owner.kill();
    const next = await failOver(cluster, owner);
    await cluster.clock.advance(10_000);
    expect(values(cluster)).toEqual(['w']);
    await failOver(cluster, next);
    await cluster.clock.advance(10_000);
    expect(values(cluster)).toEqual(['w']);
    expect((await b.connect()).present).toBe(true);
  });

  it('of a session that ends with its connection outlives both brokers', async () => {
    const { cluster, owner, a } = await start();
    await a.connect({ will: will('w', 1), expirySeconds: 0 });
    await failOver(cluster, owner);
    cluster.gone(a.broker);
    await cluster.clock.advance(10_000);
    expect(values(cluster)).toEqual(['w']);
  });

  it('waits for the catalog to show its topic, and is not lost', async () => {
    const cluster = newCluster();
    cluster.topics.pop();
    const owner = await cluster.broker();
    const a = new Client(await cluster.broker());
    cluster.assign(owner);
    const { epoch } = await a.connect({ will: will('w'), expirySeconds: 0 });
    await a.disconnect(epoch, { publishWill: true });
    await cluster.clock.advance(5000);
    const shardIds = Array.from({ length: 16 }, (_, i) => 100 + i);
    cluster.addTopic({ name: 'mqtt', topicId: Buffer.alloc(16), shardIds, config: {} });
    await cluster.clock.advance(2000);
    expect(values(cluster)).toEqual(['w']);
    expect((await a.connect()).present).toBe(false);
  });
});
