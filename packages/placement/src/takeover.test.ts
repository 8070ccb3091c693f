import { seededRandom, silentLogger } from '@robustmq/core';
import { NodeRegistration, PlacementClient } from '@robustmq/placement-client';
import {
  inProcessTransport,
  Node,
  NodeRole,
  placementAdminMethods,
  type Transport,
} from '@robustmq/rpc';
import { FakeJournal, MemoryMetadataStore, turns, VirtualClock } from '@robustmq/testkit';
import { Registry } from 'prom-client';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { chainOf } from './cluster.fixture.ts';
import { type PlacementServer, startPlacement } from './placement-server.ts';
import type { Leadership, LeadOptions, MetadataStore } from './store/metadata-store.ts';
import { LeadershipQueue } from './store/leadership-queue.ts';

/** One server's view of a store that several share; its leadership can be taken away. */
class SharedStore implements MetadataStore {
  readonly operationsMax: number;
  readonly #store: MetadataStore;
  readonly #queue: LeadershipQueue;
  #lost = new AbortController();

  constructor(store: MetadataStore, queue: LeadershipQueue) {
    this.operationsMax = store.operationsMax;
    this.#store = store;
    this.#queue = queue;
  }

  get: MetadataStore['get'] = (key) => this.#store.get(key);
  range: MetadataStore['range'] = (prefix, options) => this.#store.range(prefix, options);
  watch: MetadataStore['watch'] = (after, signal) => this.#store.watch(after, signal);
  transact: MetadataStore['transact'] = (conditions, operations) =>
    this.#store.transact(conditions, operations);

  async lead(options?: LeadOptions): Promise<Leadership> {
    const leadership = await this.#queue.lead(options);
    this.#lost = new AbortController();
    return {
      lost: this.#lost.signal,
      transact: (conditions, operations) => leadership.transact(conditions, operations),
      [Symbol.asyncDispose]: () => leadership[Symbol.asyncDispose](),
    };
  }

  loseLeadership(): void {
    this.#lost.abort('taken away by the test');
  }

  async [Symbol.asyncDispose](): Promise<void> {}
}

describe('several placement servers', () => {
  const addresses = ['placement-1:1', 'placement-2:1', 'placement-3:1'];
  let clock: VirtualClock;
  let transport: Transport;
  let stores: SharedStore[];
  let servers: PlacementServer[];
  let registries: Registry[];
  let journal: FakeJournal;
  let client: PlacementClient;

  beforeEach(async () => {
    clock = new VirtualClock();
    transport = inProcessTransport({ graceMs: 0 });
    const data = new MemoryMetadataStore();
    const queue = new LeadershipQueue((conditions, operations) =>
      data.transact(conditions, operations),
    );
    stores = addresses.map(() => new SharedStore(data, queue));
    registries = addresses.map(() => new Registry());
    servers = [];
    for (const at of addresses.keys()) servers.push(await start(at));
    // The last one is asked first.
    const placement = addresses.toReversed();
    const shared = { clock, random: seededRandom(3), transport, placement };
    client = new PlacementClient({ ...shared, nodeId: 'test' });
    client.start();
    await clock.advance(500);
    await client.catalog.ready();
    journal = new FakeJournal({ ...shared, nodeId: 'j1' });
    const started = journal.start();
    await clock.advance(500);
    await started;
    await turns(30);
  });

  afterEach(async () => {
    await journal[Symbol.asyncDispose]();
    await client[Symbol.asyncDispose]();
    for (const server of servers) await server[Symbol.asyncDispose]();
  });

  function start(at: number): Promise<PlacementServer> {
    const store = stores[at];
    if (store === undefined) throw new Error(`there is no store ${at}`);
    return startPlacement({
      dataDir: '',
      listen: addresses[at] ?? '',
      transport,
      clock,
      random: seededRandom(at),
      logger: silentLogger(),
      registry: registries[at] ?? new Registry(),
      store,
    });
  }

  const leading = (): number[] => servers.flatMap((server, at) => (server.leads ? [at] : []));

  async function newShard(name: string): Promise<number> {
    const [topic] = await client.createTopics([{ name, partitions: 1, config: {} }]);
    if (topic === undefined || topic instanceof Error) throw topic ?? new Error('no answer');
    return topic.shardIds[0] ?? 0;
  }

  /** All is as it should be, and new things can be made, under this epoch. */
  async function expectWell(leader: number, placementEpoch: number): Promise<void> {
    expect(leading()).toEqual([leader]);
    expect(journal.registered).toBe(true);
    expect(journal.registration?.placementEpoch).toBe(placementEpoch);
    expect(client.connected).toBe(true);
    const shardId = await newShard(`t${placementEpoch}`);
    expect(chainOf(await client.openSegments(shardId))).toBe('0-open');
    expect(journal.led()).toContain(shardId);
    const metric = (await registries[leader]?.metrics()) ?? '';
    expect(metric).toContain('robustmq_placement_leads 1');
    expect(metric).toContain(`robustmq_placement_epoch ${placementEpoch}`);
  }

  it('one decides; the others say who, and are ready', async () => {
    await expectWell(0, 1);
    await using direct = transport.connect('placement-2:1', 'control');
    const asked = direct.call(placementAdminMethods.deleteTopics, { names: ['t1'] });
    await expect(asked).rejects.toMatchObject({
      code: 'NOT_LEADER',
      hint: { address: 'placement-1:1' },
    });
    expect(servers.map((server) => server.notReady())).toEqual([undefined, undefined, undefined]);
    expect(await registries[1]?.metrics()).toContain('robustmq_placement_leads 0');
  });

  it('the next one goes on when it stops, with a higher epoch and all that was known', async () => {
    const shardId = await newShard('t');
    await client.openSegments(shardId);
    journal.append(shardId, 5);
    await servers[0]?.[Symbol.asyncDispose]();
    await clock.advance(1_000);
    await expectWell(1, 2);
    expect(chainOf(await client.openSegments(shardId))).toBe('0-open');
    await servers[1]?.[Symbol.asyncDispose]();
    await clock.advance(1_000);
    await expectWell(2, 3);
    expect(client.catalog.shard(shardId)).toBeDefined();
    expect(journal.refusals).toEqual([]);
  });

  it('one that has lost the leadership decides nothing, and may lead again later', async () => {
    stores[0]?.loseLeadership();
    await clock.advance(1_000);
    await expectWell(1, 2);
    await using direct = transport.connect('placement-1:1', 'control');
    const request = { topics: [{ name: 'x', partitions: 1, config: {} }], validateOnly: false };
    await expect(direct.call(placementAdminMethods.createTopics, request)).rejects.toMatchObject({
      code: 'NOT_LEADER',
    });
    for (const at of [1, 2]) {
      stores[at]?.loseLeadership();
      await clock.advance(1_000);
    }
    await expectWell(0, 4);
  });

  it('a node whose list begins with servers that are gone is there within its lease', async () => {
    await servers[0]?.[Symbol.asyncDispose]();
    await servers[1]?.[Symbol.asyncDispose]();
    await clock.advance(1_000);
    await using registration = new NodeRegistration({
      placement: addresses,
      transport,
      clock,
      random: seededRandom(1),
      node: Node.create({ nodeId: 'b1', role: NodeRole.BROKER, address: 'b1:1', incarnation: 1 }),
      clusterId: '',
      placementEpoch: 0,
    });
    registration.start();
    await clock.advance(50);
    expect(registration.registered).toBe(true);
  });
});
