import { OperatingError } from '@robustmq/core';
import { RollSegment, SegmentState } from '@robustmq/rpc';
import type { FakeJournal } from '@robustmq/testkit';
import * as fc from 'fast-check';
import { expect, it } from 'vitest';
import { chainOf, Cluster } from './cluster.fixture.ts';
import { describeOnStores, type TestStore } from './store-kinds.fixture.ts';
import type { MetadataStore, TransactionResult } from './store/metadata-store.ts';

/** A store through which one placement works until it is cut off, as by SIGKILL. */
class Tether implements MetadataStore {
  readonly operationsMax: number;
  readonly #store: MetadataStore;
  #stopBefore: ((keys: string[]) => boolean) | undefined;
  #failWhen: (keys: string[]) => boolean = () => false;
  #cut = false;

  constructor(store: MetadataStore) {
    this.#store = store;
    this.operationsMax = store.operationsMax;
  }

  /** Cuts it off just before the next transaction that writes such keys; it never answers again. */
  cutBefore(matches: (keys: string[]) => boolean): void {
    this.#stopBefore = matches;
  }

  /** Refuses such transactions as a full disk does. */
  failWhen(matches: (keys: string[]) => boolean): void {
    this.#failWhen = matches;
  }

  get cut(): boolean {
    return this.#cut;
  }

  get = (key: string): ReturnType<MetadataStore['get']> => this.#store.get(key);
  range: MetadataStore['range'] = (prefix, options) => this.#store.range(prefix, options);
  watch: MetadataStore['watch'] = (after, signal) => this.#store.watch(after, signal);

  transact: MetadataStore['transact'] = (conditions, operations) => {
    const keys = operations.map((operation) => operation.key);
    this.#cut ||= this.#stopBefore?.(keys) === true;
    if (this.#cut) return new Promise<TransactionResult>(() => {});
    if (this.#failWhen(keys)) return Promise.reject(new OperatingError('DISK_FULL', 'no space'));
    return this.#store.transact(conditions, operations);
  };

  // Whoever was killed holds no leadership.
  lead = async (): ReturnType<MetadataStore['lead']> => ({
    lost: new AbortController().signal,
    transact: this.transact,
    [Symbol.asyncDispose]: async () => {},
  });

  async [Symbol.asyncDispose](): Promise<void> {}
}

const writesShard = (keys: string[]): boolean => keys.some((key) => key.startsWith('shard/'));

/** A cluster that works on `data`, through `store`. */
function onStore(data: TestStore, store: MetadataStore = data): Promise<Cluster> {
  return Cluster.start({ store, turns: (count) => data.turns(count) });
}

/** The old one is gone with everything in flight; a new one starts on what the store has. */
async function replace(cluster: Cluster, data: TestStore): Promise<Tether> {
  const old = cluster.placement;
  const next = new Tether(data);
  void old[Symbol.asyncDispose]();
  await cluster.turns(20);
  await cluster.startPlacement(next);
  await cluster.settle(3_000);
  return next;
}

describeOnStores('a placement that is killed', (stores) => {
  async function setUp(): Promise<{ cluster: Cluster; tether: Tether; data: TestStore }> {
    const data = stores.open();
    const tether = new Tether(data);
    return { cluster: await onStore(data, tether), tether, data };
  }

  it('between preparing and recording: the replica goes, the next attempt succeeds', async () => {
    const { cluster, tether, data } = await setUp();
    await using _ = cluster;
    const journal = await cluster.journal('j1');
    const [shardId = 0] = await cluster.topic('t');
    tether.cutBefore(writesShard);
    const lost = cluster.client.openSegments(shardId).catch((error: unknown) => error);
    await cluster.turns(30);
    expect(tether.cut).toBe(true);
    expect(journal.replicas.size).toBe(1);
    await replace(cluster, data);
    expect(await lost).toBeInstanceOf(OperatingError);
    expect(journal.replicas.size).toBe(0);
    expect(chainOf(await cluster.client.openSegments(shardId))).toBe('0-open');
    expect(journal.led()).toEqual([shardId]);
  });

  it('between recording and activating: the next one activates', async () => {
    const { cluster, data } = await setUp();
    await using _ = cluster;
    let isDeaf = true;
    const journal = await cluster.journal('j1', {
      onOrder: (order) =>
        order === 'activate' && isDeaf ? new Promise<void>(() => {}) : undefined,
    });
    const [shardId = 0] = await cluster.topic('t');
    const lost = cluster.client.openSegments(shardId).catch((error: unknown) => error);
    await cluster.turns(30);
    expect(journal.led()).toEqual([]);
    isDeaf = false;
    await replace(cluster, data);
    expect(await lost).toBeInstanceOf(OperatingError);
    expect(journal.led()).toEqual([shardId]);
    expect(chainOf(await cluster.client.openSegments(shardId))).toBe('0-open');
    expect(journal.obeyed.get('prepare')).toBe(1);
  });

  it('in the middle of a seal: the next one begins again, with a higher epoch', async () => {
    const { cluster, tether, data } = await setUp();
    await using _ = cluster;
    const journal = await cluster.journal('j1');
    const [shardId = 0] = await cluster.topic('t');
    await cluster.client.openSegments(shardId);
    journal.append(shardId, 6);
    await journal.kill();
    await cluster.settle();
    // The first write begins the seal, the second would record the end.
    let writes = 0;
    tether.cutBefore((keys) => writesShard(keys) && ++writes === 2);
    await journal.start();
    await cluster.settle();
    expect(tether.cut).toBe(true);
    await replace(cluster, data);
    const shard = await cluster.shard(shardId);
    expect(chainOf(shard)).toBe('0-6');
    expect(shard.segments[0]?.sealEpoch).toBeGreaterThan(2);
    expect(journal.replicas.size).toBe(1);
  });

  it('in the middle of creating a large topic: nothing is left of it', async () => {
    const { cluster, tether, data } = await setUp();
    await using _ = cluster;
    let writes = 0;
    tether.cutBefore((keys) => writesShard(keys) && ++writes === 3);
    void cluster.topic('t', 1_000).catch(() => {});
    await cluster.turns(30);
    expect(tether.cut).toBe(true);
    const before = (await data.range('shard/', { limit: 2_000 })).entries.length;
    expect(before).toBe(16 + 2 * (data.operationsMax - 4));
    await replace(cluster, data);
    expect((await data.range('shard/', { limit: 2_000 })).entries).toHaveLength(16);
    expect(await cluster.topic('t', 1_000)).toHaveLength(1_000);
  });

  it('loses a seal notice, which is made up for', async () => {
    const { cluster, data } = await setUp();
    await using _ = cluster;
    let isDeaf = true;
    const journal = await cluster.journal('j1', {
      onOrder: (order) =>
        order === 'sealNotify' && isDeaf ? new Promise<void>(() => {}) : undefined,
    });
    const [shardId = 0] = await cluster.topic('t');
    await cluster.client.openSegments(shardId);
    journal.append(shardId, 6);
    await journal.kill();
    await journal.start();
    await cluster.settle();
    expect([...journal.replicas.values()][0]?.sealed).toBe(false);
    isDeaf = false;
    await replace(cluster, data);
    expect([...journal.replicas.values()][0]).toMatchObject({ sealed: true, length: 6 });
  });

  it('reports replicas that no chain knows, and never deletes them', async () => {
    const { cluster, data } = await setUp();
    await using _ = cluster;
    const journal = await cluster.journal('j1');
    const [shardId = 0] = await cluster.topic('t');
    await cluster.client.openSegments(shardId);
    journal.append(shardId, 6);
    const [id = '', replica] = [...journal.replicas][0] ?? [];
    if (replica === undefined) throw new Error('no replica');
    const stray = { ...replica, order: { ...replica.order, segmentId: Buffer.alloc(16, 9) } };
    journal.replicas.set(Buffer.alloc(16, 9).toString('hex'), stray);
    await replace(cluster, data);
    expect([...journal.replicas.keys()]).toContain(id);
    expect(journal.replicas.size).toBe(2);
    expect(await cluster.registry.metrics()).toContain(
      'robustmq_placement_unknown_replicas{node="j1"} 1',
    );
  });

  it('grants every lease its full time again, and raises its epoch', async () => {
    const { cluster, data } = await setUp();
    await using _ = cluster;
    const journal = await cluster.journal('j1');
    const [shardId = 0] = await cluster.topic('t');
    await cluster.client.openSegments(shardId);
    await cluster.settle(2_000);
    await replace(cluster, data);
    expect(journal.registered).toBe(true);
    expect(journal.registration?.placementEpoch).toBe(2);
    expect(chainOf(await cluster.shard(shardId))).toBe('0-open');
  });
});

describeOnStores('a store that fails in the middle of a batch', (stores) => {
  /** A store whose disk is full from the n-th transaction that writes shards, until there is space. */
  async function setUp(): Promise<{ cluster: Cluster; fillAfter: (writes: number) => void }> {
    const data = stores.open();
    const tether = new Tether(data);
    let left = Number.POSITIVE_INFINITY;
    tether.failWhen((keys) => writesShard(keys) && left-- <= 0);
    const fillAfter = (writes: number): void => {
      left = writes;
    };
    return { cluster: await onStore(data, tether), fillAfter };
  }
  const outcomes = async (work: Promise<unknown>[]): Promise<Record<string, number>> => {
    const counts: Record<string, number> = {};
    for (const { status } of await Promise.allSettled(work)) {
      counts[status] = (counts[status] ?? 0) + 1;
    }
    return counts;
  };

  it('opens, seals and rolls what was recorded, and nothing else', async () => {
    const { cluster, fillAfter } = await setUp();
    await using _ = cluster;
    const fitting = cluster.store.operationsMax;
    const journal = await cluster.journal('j1');
    const shardIds = await cluster.topic('t', 500);
    fillAfter(1);
    const open = shardIds.map((shardId) => cluster.client.openSegments(shardId));
    expect(await outcomes(open)).toEqual({ fulfilled: fitting, rejected: 500 - fitting });
    // Whoever was told that it is open finds a leader.
    expect(journal.led()).toHaveLength(fitting);
    fillAfter(Number.POSITIVE_INFINITY);
    await Promise.all(shardIds.map((shardId) => cluster.client.openSegments(shardId)));
    expect(journal.led()).toHaveLength(500);
    await cluster.settle(1_000);
    expect(journal.replicas.size).toBe(500);

    const segments = [...journal.replicas.values()].map(({ order }) =>
      RollSegment.create({ ...order, endOffset: 10, fullNodeIds: ['j1'], openNext: true }),
    );
    fillAfter(2);
    const rolled = await cluster.client.rollSegments({ nodeId: 'j1', incarnation: 1, segments });
    const refused = rolled.filter((outcome) => outcome instanceof OperatingError);
    // Two transactions of two operations each.
    const left = 500 - 2 * Math.floor(fitting / 2);
    expect(refused.map(({ code }) => code)).toEqual(
      Array.from({ length: left }, () => 'DISK_FULL'),
    );
    for (const [at, outcome] of rolled.entries()) {
      const shard = await cluster.shard(segments[at]?.shardId ?? 0);
      expect(chainOf(shard)).toBe(outcome instanceof OperatingError ? '0-open' : '0-10 10-open');
    }
    fillAfter(Number.POSITIVE_INFINITY);

    fillAfter(4);
    await journal.kill();
    await journal.start();
    await cluster.settle();
    fillAfter(Number.POSITIVE_INFINITY);
    await cluster.settle(5_000);
    for (const shardId of shardIds) {
      expect(chainOf(await cluster.shard(shardId))).not.toContain('-open');
      expect(chainOf(await cluster.shard(shardId))).not.toContain('-sealing');
    }
  });
});

describeOnStores('whatever is killed when', (stores) => {
  const action = fc.oneof(
    { weight: 4, arbitrary: fc.record({ kind: fc.constant('open' as const), at: fc.nat(2) }) },
    { weight: 4, arbitrary: fc.record({ kind: fc.constant('append' as const), at: fc.nat(2) }) },
    { weight: 2, arbitrary: fc.record({ kind: fc.constant('restart' as const) }) },
    { weight: 1, arbitrary: fc.record({ kind: fc.constant('roll' as const), at: fc.nat(2) }) },
    // Placement dies just before its n-th next transaction.
    { weight: 2, arbitrary: fc.record({ kind: fc.constant('cut' as const), after: fc.nat(6) }) },
    { weight: 2, arbitrary: fc.record({ kind: fc.constant('replace' as const) }) },
  );

  it('every record stays at its offset, and no replica is left over', async () => {
    const property = fc.asyncProperty(fc.array(action, { maxLength: 25 }), async (actions) => {
      const data = stores.open();
      let tether = new Tether(data);
      await using cluster = await onStore(data, tether);
      const journal = await cluster.journal('j1');
      const shardIds = await cluster.topic('t', 3);
      const appended = new Map<number, number>();
      const ask = (work: Promise<unknown>): Promise<unknown> =>
        Promise.race([work.catch(() => undefined), cluster.turns(60)]);
      for (const step of actions) {
        const shardId = 'at' in step ? (shardIds[step.at] ?? 0) : 0;
        if (step.kind === 'open') await ask(cluster.client.openSegments(shardId));
        else if (step.kind === 'append') {
          const done = journal.append(shardId, 2);
          appended.set(shardId, (appended.get(shardId) ?? 0) + (done ? 2 : 0));
        } else if (step.kind === 'restart') {
          await journal.kill();
          await ask(journal.start());
        } else if (step.kind === 'roll') await ask(roll(cluster, journal, shardId));
        else if (step.kind === 'cut') {
          let left = step.after;
          tether.cutBefore(() => left-- === 0);
        } else tether = await replace(cluster, data);
        await cluster.turns(5);
      }
      await replace(cluster, data);
      await journal.kill();
      await journal.start();
      await cluster.settle(70_000);
      const segmentIds = new Set<string>();
      for (const shardId of shardIds) {
        const shard = await cluster.shard(shardId);
        expect(shard.endOffset).toBe(appended.get(shardId) ?? 0);
        let end = 0;
        for (const segment of await cluster.client.listSegments(shardId, 0, 1_000)) {
          expect(segment).toMatchObject({ baseOffset: end, state: SegmentState.SEALED });
          end = segment.endOffset;
          segmentIds.add(segment.segmentId.toString('hex'));
        }
        expect(end).toBe(shard.endOffset);
      }
      expect(new Set(journal.replicas.keys())).toEqual(segmentIds);
    });
    await fc.assert(property, { numRuns: stores.name === 'memory' ? 40 : 8 });
  });

  /** What a leader does that drains one shard. */
  async function roll(cluster: Cluster, journal: FakeJournal, shardId: number): Promise<void> {
    // As they are now: each roll adds its successor.
    for (const [hex, replica] of Array.from(journal.replicas)) {
      const { order, role, baseOffset = 0, length } = replica;
      if (order.shardId !== shardId || role !== 'leader') continue;
      replica.role = 'closed';
      const item = RollSegment.create({
        segmentId: Buffer.from(hex, 'hex'),
        shardId,
        epoch: order.epoch,
        endOffset: baseOffset + length,
        fullNodeIds: ['j1'],
        openNext: true,
      });
      const { incarnation } = journal;
      await cluster.client.rollSegments({ nodeId: 'j1', incarnation, segments: [item] });
    }
  }
});

describeOnStores('the watch', (stores) => {
  it('resumes behind what it has seen, over a restart, without a full list', async () => {
    await using cluster = await onStore(stores.open());
    const seen: string[] = [];
    cluster.client.catalog.onChange((change) => {
      seen.push(`${change.kind} ${change.after === undefined ? 'removed' : 'set'}`);
    });
    await cluster.placement[Symbol.asyncDispose]();
    await cluster.settle(100);
    expect(cluster.client.connected).toBe(false);
    await cluster.startPlacement();
    await cluster.settle(2_000);
    expect(cluster.client.connected).toBe(true);
    expect(seen).toEqual([]);
    await cluster.topic('t');
    await cluster.settle();
    expect(seen).toEqual(['shard set', 'topic set']);
  });

  it('takes the full list when its revision is compacted, and drops what is gone', async () => {
    await using cluster = await onStore(stores.open(20));
    await cluster.topic('gone');
    await cluster.settle();
    expect(cluster.client.catalog.topic('gone')).toBeDefined();
    await cluster.placement[Symbol.asyncDispose]();
    await cluster.settle(100);
    // Another client does all this while the first one cannot see it.
    await cluster.startPlacement();
    const { topics } = await cluster.client.describeCluster();
    expect(topics).toHaveLength(2);
    await cluster.client.deleteTopics(['gone']);
    for (let at = 0; at < 20; at++) await cluster.topic(`t${at}`);
    await cluster.settle(3_000);
    expect(cluster.client.catalog.topic('gone')).toBeUndefined();
    expect([...cluster.client.catalog.topics()]).toHaveLength(21);
    const fresh = await cluster.newClient('fresh');
    const names = (topicsOf: typeof fresh): string[] =>
      [...topicsOf.catalog.topics()].map((topic) => topic.name).toSorted();
    expect(names(fresh)).toEqual(names(cluster.client));
    expect(fresh.catalog.revision).toBe(cluster.client.catalog.revision);
  });

  it('sends a long list in chunks', async () => {
    await using cluster = await onStore(stores.open());
    await cluster.topic('large', 4_000);
    const fresh = await cluster.newClient('fresh');
    expect(fresh.catalog.topic('large')?.shardIds).toHaveLength(4_000);
    for (const shardId of fresh.catalog.topic('large')?.shardIds ?? []) {
      expect(fresh.catalog.shard(shardId)).toBeDefined();
    }
  });
});
