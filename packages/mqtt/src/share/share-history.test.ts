import { type Offset, offset, shardId, silentLogger } from '@robustmq/core';
import {
  createShareGroupKind,
  Delivery,
  encodeReservedHeader,
  endShareMember,
  newShareGroupCounts,
  type ShareArrival,
  ShareGroupClient,
  shareGroupKind,
  type ShareMembership,
  type ShareReceiver,
} from '@robustmq/kernel';
import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';

import { appendRecords, TestFanOut } from '../retained/test-fan-out.ts';
import { sharedShard, type TestBroker, TestCluster } from '../session/test-cluster.ts';
import { createMqttShares, mqttShares } from './mqtt-share-protocol.ts';

const groupId = `${mqttShares}:g/a/#`;
const owners = 25;
const holders = 12;
const partitions = 2;
const pumpMs = 5;
const acquisitionMs = 2000;

type Op =
  | { readonly op: 'join'; readonly client: number; readonly holder: number }
  | { readonly op: 'part' | 'end session'; readonly client: number }
  | { readonly op: 'answer'; readonly client: number; readonly count: number }
  | {
      readonly op: 'publish';
      readonly partition: number;
      readonly qos: 1 | 2;
      readonly count: number;
    }
  | { readonly op: 'holder dies'; readonly holder: number }
  | { readonly op: 'owner dies'; readonly appends: number }
  | { readonly op: 'time'; readonly ms: number };

const client = fc.nat(3);
const anyOp: fc.Arbitrary<Op> = fc.oneof(
  {
    weight: 5,
    arbitrary: fc.record({ op: fc.constant('join' as const), client, holder: fc.nat(1) }),
  },
  {
    weight: 2,
    arbitrary: fc.record({ op: fc.constantFrom('part' as const, 'end session' as const), client }),
  },
  {
    weight: 8,
    arbitrary: fc.record({
      op: fc.constant('answer' as const),
      client,
      count: fc.integer({ min: 1, max: 5 }),
    }),
  },
  {
    weight: 6,
    arbitrary: fc.record({
      op: fc.constant('publish' as const),
      partition: fc.nat(partitions - 1),
      qos: fc.constantFrom(1 as const, 2 as const),
      count: fc.integer({ min: 1, max: 5 }),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({ op: fc.constant('holder dies' as const), holder: fc.nat(1) }),
  },
  {
    weight: 4,
    arbitrary: fc.record({ op: fc.constant('owner dies' as const), appends: fc.nat(5) }),
  },
  {
    weight: 6,
    arbitrary: fc.record({
      op: fc.constant('time' as const),
      ms: fc.constantFrom(5, 50, 700, 2500),
    }),
  },
);

/** A broker that clients connect to. */
class Holder {
  readonly broker: TestBroker;
  readonly shares: ShareGroupClient;

  constructor(broker: TestBroker) {
    this.broker = broker;
    const { calls, cluster } = broker;
    this.shares = new ShareGroupClient({ calls, clock: cluster.clock, logger: silentLogger() });
  }
}

interface InHand {
  readonly shardId: number;
  readonly offset: number;
  readonly delivery: Delivery;
}

/** A client with its session; what it gets waits until the test answers. */
class Client implements ShareReceiver {
  readonly key: string;
  readonly durable: boolean;
  readonly delivery: Delivery;
  readonly #history: History;
  membership: ShareMembership | undefined;
  holder: Holder | undefined;
  /** There is a session that has joined. */
  hasSession = false;
  /** Exactly-once records that the session has and may not forget yet. */
  stored = new Map<string, InHand>();
  inHand = new Map<string, InHand>();
  epoch = 0;

  constructor(key: string, durable: boolean, delivery: Delivery, history: History) {
    this.key = key;
    this.durable = durable;
    this.delivery = delivery;
    this.#history = history;
  }

  arrived({ shardId: id, offset: at, delivery }: ShareArrival): void {
    this.#history.delivered(id, at);
    this.inHand.set(`${id}/${at}`, { shardId: id, offset: at, delivery });
  }

  heard(): void {
    for (const [name, each] of this.stored) {
      if (this.membership?.isHeard(shardId(each.shardId), each.offset) === true)
        this.stored.delete(name);
    }
  }

  lost(): void {
    this.disconnected();
  }

  /** Takes the oldest that it has: at QoS 2 the session keeps it, and it is sent. */
  answer(): void {
    const [next] = this.inHand;
    if (next === undefined || this.membership === undefined) return;
    const [name, record] = next;
    this.inHand.delete(name);
    if (record.delivery === Delivery.exactlyOnce) {
      this.stored.set(name, record);
      this.#history.sentOnce(name);
    } else {
      this.#history.acknowledged(name);
    }
    this.membership.answer(shardId(record.shardId), record.offset, 'accepted');
    this.membership.roomMade(1);
  }

  disconnected(): void {
    this.membership = undefined;
    this.holder = undefined;
    this.inHand.clear();
    if (!this.durable) this.sessionEnded();
  }

  sessionEnded(): void {
    this.hasSession = false;
    this.stored.clear();
    this.#history.sessionEnds++;
  }
}

class History {
  readonly cluster: TestCluster;
  readonly clients: readonly Client[];
  readonly #fanOuts = new Map<TestBroker, TestFanOut>();
  readonly #holders: Holder[] = [];
  readonly #spareHolders: Holder[] = [];
  readonly #spareOwners: TestBroker[] = [];
  /** QoS and the sessions that had ended, by record. */
  readonly #published = new Map<string, { readonly qos: number; readonly sessionEnds: number }>();
  readonly #acknowledged = new Set<string>();
  readonly #sent = new Set<string>();
  #owner: TestBroker | undefined;
  #appendsLeft = Number.POSITIVE_INFINITY;
  sessionEnds = 0;

  constructor() {
    this.cluster = new TestCluster({
      kind: shareGroupKind,
      create: (broker) => {
        const { catalog, cluster } = broker;
        const fanOut = new TestFanOut(cluster.logs);
        this.#fanOuts.set(broker, fanOut);
        return createShareGroupKind({
          protocols: { [mqttShares]: createMqttShares({ catalog, acquisitionMs }) },
          catalog,
          fanOut,
          placement: cluster,
          counts: newShareGroupCounts(),
          random: cluster.random,
          endOffset: (id): Promise<Offset> =>
            Promise.resolve(offset(cluster.logs.log(id).endOffset)),
        });
      },
    });
    // The first one never leaves, so that the group lives as long as the test.
    this.clients = [
      new Client('keeper', true, Delivery.exactlyOnce, this),
      new Client('once', true, Delivery.exactlyOnce, this),
      new Client('often', true, Delivery.atLeastOnce, this),
      new Client('passing', false, Delivery.exactlyOnce, this),
    ];
  }

  async start(): Promise<void> {
    for (let i = 0; i < holders; i++) {
      this.#spareHolders.push(new Holder(await this.cluster.broker()));
    }
    const step = (broker: TestBroker): void => {
      if (broker !== this.#owner || --this.#appendsLeft > 0) return;
      this.#appendsLeft = Number.POSITIVE_INFINITY;
      broker.kill();
      this.cluster.clock.setTimer(50, () => this.#elect());
    };
    for (let i = 0; i < owners; i++) {
      this.#spareOwners.push(await this.cluster.broker({ step, snapshotBytes: 300 }));
    }
    this.#holders.push(...this.#spareHolders.splice(0, 2));
    this.#elect();
    this.#pump();
    await this.cluster.clock.advance(100);
    this.#publish(0, 1, 1);
    const before = [...this.#published.keys()];
    await this.#join(0, 0);
    for (const name of before) this.#published.delete(name);
  }

  async run(op: Op): Promise<void> {
    const one = 'client' in op ? this.clients[op.client] : undefined;
    switch (op.op) {
      case 'join':
        await this.#join(op.client, op.holder);
        break;
      case 'part':
        await this.#part(one);
        break;
      case 'end session':
        if (one?.key !== 'keeper') await this.#endSession(one);
        break;
      case 'answer':
        for (let i = 0; i < op.count; i++) one?.answer();
        break;
      case 'publish':
        this.#publish(op.partition, op.qos, op.count);
        break;
      case 'holder dies':
        this.#holderDies(op.holder);
        break;
      case 'time':
        await this.cluster.clock.advance(op.ms);
        break;
      default:
        if (this.#spareOwners.length > 1) this.#appendsLeft = op.appends + 1;
    }
    // Most things happen in the same moment.
    if (op.op === 'holder dies') await this.cluster.clock.advance(1);
  }

  /** The keeper takes whatever is left; then nothing is missing. */
  async end(): Promise<void> {
    this.#appendsLeft = Number.POSITIVE_INFINITY;
    for (const one of this.clients.slice(1)) await this.#endSession(one);
    await this.#join(0, 0);
    for (let round = 0; round < 60; round++) {
      await this.cluster.clock.advance(200);
      for (let i = 0; i < 100; i++) this.clients[0]?.answer();
    }
    for (const [name, { qos, sessionEnds }] of this.#published) {
      if (qos === 1) expect([...this.#acknowledged, ...this.#sent], name).toContain(name);
      // One that a session had when it ended is nobody else's.
      else if (sessionEnds === this.sessionEnds) expect(this.#sent.has(name), name).toBe(true);
    }
    // Nothing is left with anybody: retention waits for nothing.
    await this.cluster.clock.advance(70_000);
    for (let id = sharedShard; id < sharedShard + partitions; id++) {
      const end = this.cluster.logs.log(id).endOffset;
      expect(this.cluster.holds.get(`${shareGroupKind}/0 ${id}`), `hold of ${id}`).toBe(end);
    }
  }

  stop(): void {
    for (const { shares } of [...this.#holders, ...this.#spareHolders]) shares[Symbol.dispose]();
    for (const broker of this.cluster.brokers) broker.kill();
  }

  delivered(id: number, at: number): void {
    expect([...this.#published.keys()], 'what was published before is nobody’s').toContain(
      `${id}/${at}`,
    );
  }

  acknowledged(name: string): void {
    this.#acknowledged.add(name);
  }

  sentOnce(name: string): void {
    expect(this.#sent.has(name), `${name} is sent once`).toBe(false);
    this.#sent.add(name);
  }

  async #join(index: number, holderIndex: number): Promise<void> {
    const one = this.clients[index];
    const holder = this.#holders[holderIndex];
    if (one === undefined || holder === undefined) return;
    if (one.membership !== undefined) await this.#part(one);
    one.epoch++;
    const starts = Array.from({ length: partitions }, (_, i) => ({
      shardId: sharedShard + i,
      offset: this.cluster.logs.log(sharedShard + i).endOffset,
    }));
    const membership = holder.shares.member(
      {
        groupId,
        key: one.key,
        epoch: one.epoch,
        durable: one.durable,
        resumed: one.hasSession,
        delivery: one.delivery,
        roomMax: 4,
        starts,
        stored: [...one.stored.values()],
      },
      one,
    );
    one.membership = membership;
    one.holder = holder;
    one.hasSession = true;
    const stored = [...one.stored.keys()];
    await this.cluster.settle(membership.join());
    for (const name of stored) one.stored.delete(name);
  }

  async #part(one: Client | undefined): Promise<void> {
    const membership = one?.membership;
    if (one === undefined || membership === undefined) return;
    for (const { shardId: id, offset: at, delivery } of one.inHand.values()) {
      if (delivery === Delivery.exactlyOnce) membership.answer(shardId(id), at, 'released');
    }
    one.disconnected();
    await this.cluster.settle(one.durable ? membership.part() : membership.leave());
  }

  async #endSession(one: Client | undefined): Promise<void> {
    if (one === undefined || !one.hasSession) return;
    await this.#part(one);
    if (!one.hasSession) return;
    one.sessionEnded();
    const { calls } = this.#holders[0]?.broker ?? {};
    if (calls === undefined) throw new Error('there are two holders');
    await this.cluster.settle(endShareMember(calls, { groupId, key: one.key, epoch: one.epoch }));
  }

  #publish(partition: number, qos: 1 | 2, count: number): void {
    const log = this.cluster.logs.log(sharedShard + partition);
    const headers = [{ name: 'mqtt.qos', value: encodeReservedHeader('mqtt.qos', qos) }];
    for (let i = 0; i < count; i++) {
      const name = `${sharedShard + partition}/${log.endOffset}`;
      this.#published.set(name, { qos, sessionEnds: this.sessionEnds });
      appendRecords(log, [
        { key: 'a/b', value: name, headers },
        { key: 'x', value: 'of no concern' },
      ]);
    }
  }

  #holderDies(index: number): void {
    const holder = this.#holders[index];
    const spare = this.#spareHolders.shift();
    if (holder === undefined || spare === undefined) return;
    this.#holders[index] = spare;
    holder.shares[Symbol.dispose]();
    for (const one of this.clients) if (one.holder === holder) one.disconnected();
    this.cluster.gone(holder.broker);
  }

  #elect(): void {
    this.#owner = this.#spareOwners.shift();
    this.cluster.assign(this.#owner);
  }

  /** The tails of the owner bring what there is. */
  #pump(): void {
    const fanOut = this.#owner && this.#fanOuts.get(this.#owner);
    if (this.#owner?.isDead === false) fanOut?.pump();
    this.cluster.clock.setTimer(pumpMs, () => this.#pump());
  }
}

describe('share groups through failovers', () => {
  it('lose nothing, and what is to be sent once is sent once', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(anyOp, { minLength: 10, maxLength: 40 }), async (ops) => {
        const history = new History();
        try {
          await history.start();
          for (const op of ops) await history.run(op);
          await history.end();
        } finally {
          history.stop();
        }
      }),
      { numRuns: 12 },
    );
  });
});
