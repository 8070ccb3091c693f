import { offset, OperatingError, shardId } from '@robustmq/core';
import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { CoordinatorSessionGateway } from './coordinator-session-gateway.ts';
import type { SessionGranted, StoredMessage } from './session-gateway.ts';
import { createSessionKind, sessionKind } from './session-machine.ts';
import { type TestBroker, TestCluster } from './test-cluster.ts';

const never = 0xff_ff_ff_ff;
const clientIds = ['c', 'd'];
/** How late what is due may be: a failover of the coordinator and of the broker take their time. */
const lateMs = 6000;
const owners = 25;
const holders = 12;

type Op =
  | {
      readonly op: 'connect';
      readonly client: number;
      readonly holder: number;
      readonly clean: boolean;
      readonly expiry: number;
      readonly willDelay: number;
    }
  | { readonly op: 'subscribe' | 'progress' | 'stale'; readonly client: number }
  | { readonly op: 'store' | 'release'; readonly client: number; readonly packetId: number }
  | {
      readonly op: 'disconnect';
      readonly client: number;
      readonly publishWill: boolean;
      readonly endsSession: boolean;
    }
  | { readonly op: 'holder dies'; readonly holder: number }
  | { readonly op: 'time'; readonly ms: number }
  | { readonly op: 'owner dies'; readonly appends: number };

const client = fc.constantFrom(0, 0, 1);
const holder = fc.nat(1);
const packetId = fc.integer({ min: 1, max: 3 });
const anyOp: fc.Arbitrary<Op> = fc.oneof(
  {
    weight: 8,
    arbitrary: fc.record({
      op: fc.constant('connect' as const),
      client,
      holder,
      clean: fc.boolean(),
      expiry: fc.constantFrom(0, 20, never, never),
      willDelay: fc.constantFrom(-1, 0, 5, 5),
    }),
  },
  { weight: 2, arbitrary: fc.record({ op: fc.constant('subscribe' as const), client }) },
  { weight: 1, arbitrary: fc.record({ op: fc.constant('progress' as const), client }) },
  { weight: 1, arbitrary: fc.record({ op: fc.constant('stale' as const), client }) },
  { weight: 4, arbitrary: fc.record({ op: fc.constant('store' as const), client, packetId }) },
  { weight: 4, arbitrary: fc.record({ op: fc.constant('release' as const), client, packetId }) },
  {
    weight: 5,
    arbitrary: fc.record({
      op: fc.constant('disconnect' as const),
      client,
      publishWill: fc.boolean(),
      endsSession: fc.constantFrom(false, false, true),
    }),
  },
  { weight: 2, arbitrary: fc.record({ op: fc.constant('holder dies' as const), holder }) },
  {
    weight: 5,
    arbitrary: fc.record({
      op: fc.constant('time' as const),
      ms: fc.constantFrom(500, 10_000, 40_000),
    }),
  },
  {
    weight: 4,
    arbitrary: fc.record({ op: fc.constant('owner dies' as const), appends: fc.nat(5) }),
  },
);

/** When something happens, wall-clock ms: not before the first, not after the second. */
type Span = readonly [fromMs: number, toMs: number];

interface ModelWill {
  readonly value: string;
  readonly delaySeconds: number;
}

/** What a session is, told simply. */
interface ModelSession {
  readonly epoch: number;
  readonly holder: Holder;
  readonly isLogged: boolean;
  readonly expiry: number;
  will: ModelWill | undefined;
  filters: Set<string>;
  position: number;
  inbound: Map<number, string>;
  /** Undefined while it is connected. */
  ended: Span | undefined;
  /** Expiry after the disconnect. */
  expiryAfter: number;
}

/** A broker that clients connect to. */
class Holder {
  readonly gateway: CoordinatorSessionGateway;
  readonly broker: TestBroker;
  readonly transients = new Map<string, { connectionId: string; epoch: number }>();

  constructor(broker: TestBroker) {
    this.broker = broker;
    const { calls, cluster } = broker;
    this.gateway = new CoordinatorSessionGateway({ calls, clock: cluster.clock });
    this.gateway.announce(() =>
      [...this.transients].map(([clientId, session]) => ({ clientId, ...session })),
    );
  }
}

/** What may become of a message: `must` is published once, `may` at most once, `never` not at all. */
interface Fate {
  kind: 'must' | 'may' | 'never';
  notBeforeMs: number;
}

class History {
  readonly cluster: TestCluster;
  readonly #sessions = new Map<string, ModelSession>();
  readonly #lastEpochs = new Map<string, { epoch: number; holder: Holder }>();
  readonly #fates = new Map<string, Fate>();
  readonly #holders: Holder[] = [];
  readonly #spareHolders: Holder[] = [];
  readonly #spareOwners: TestBroker[] = [];
  #owner: TestBroker | undefined;
  /** Appends of the owner until it dies; infinite: it does not. */
  #appendsLeft = Number.POSITIVE_INFINITY;
  #count = 0;

  constructor() {
    this.cluster = new TestCluster({
      kind: sessionKind,
      create: ({ catalog, cluster }) =>
        createSessionKind({ catalog, placement: cluster, endMember: () => Promise.resolve() }),
    });
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
  }

  async run(op: Op): Promise<void> {
    switch (op.op) {
      case 'connect':
        await this.#connect(op);
        break;
      case 'subscribe':
        await this.#subscribe(clientIds[op.client] ?? '');
        break;
      case 'progress':
        await this.#progress(clientIds[op.client] ?? '');
        break;
      case 'stale':
        await this.#stale(clientIds[op.client] ?? '');
        break;
      case 'store':
        await this.#store(clientIds[op.client] ?? '', op.packetId);
        break;
      case 'release':
        await this.#release(clientIds[op.client] ?? '', op.packetId);
        break;
      case 'disconnect':
        await this.#disconnect(clientIds[op.client] ?? '', op);
        break;
      case 'holder dies':
        this.#holderDies(op.holder);
        break;
      case 'time':
        await this.cluster.clock.advance(op.ms);
        break;
      default:
        // A step is before and after an append: both are met.
        if (this.#spareOwners.length > 0) this.#appendsLeft = op.appends + 1;
    }
    this.check(false);
  }

  /** Nothing is published twice, early, or at all if it must not be; at the end nothing is missing. */
  check(isEnd: boolean): void {
    const counts = new Map<string, number>();
    for (const { value, timestampMs } of this.cluster.published()) {
      const text = value ?? '';
      counts.set(text, (counts.get(text) ?? 0) + 1);
      const fate = this.#fates.get(text);
      const due = this.#dueOf(text);
      const notBeforeMs = due ?? fate?.notBeforeMs ?? Number.POSITIVE_INFINITY;
      expect(timestampMs, `${text} is not early`).toBeGreaterThanOrEqual(notBeforeMs);
      if (due === undefined) expect(fate?.kind, text).not.toBe('never');
    }
    for (const [value, count] of counts) expect(count, `${value} once`).toBe(1);
    for (const session of this.#sessions.values()) {
      if (session.will === undefined || session.ended === undefined) continue;
      const lastMs = session.ended[1] + willAfterMs(session) + lateMs;
      if (lastMs < this.cluster.clock.wallMs()) {
        expect([...counts.keys()], 'a will that is due is published').toContain(session.will.value);
      }
    }
    if (!isEnd) return;
    for (const [value, { kind }] of this.#fates) {
      if (kind === 'must') expect(counts.get(value), `${value} is published`).toBe(1);
    }
  }

  /** Ends all sessions, so that every will has its fate. */
  async end(): Promise<void> {
    this.#appendsLeft = Number.POSITIVE_INFINITY;
    for (const clientId of clientIds) {
      const op = { op: 'connect', holder: 0, clean: true, expiry: 0, willDelay: -1 } as const;
      await this.#connect({ ...op, client: clientIds.indexOf(clientId) });
    }
    await this.cluster.clock.advance(10_000);
    this.check(true);
  }

  /** First moment at which the will of a session that has not come back may be published. */
  #dueOf(value: string): number | undefined {
    for (const session of this.#sessions.values()) {
      if (session.will?.value !== value || session.ended === undefined) continue;
      return session.ended[0] + willAfterMs(session);
    }
    return undefined;
  }

  async #connect(op: Extract<Op, { op: 'connect' }>): Promise<void> {
    const clientId = clientIds[op.client] ?? '';
    const holder = this.#holders[op.holder] ?? this.#anyHolder();
    const id = ++this.#count;
    const will = op.willDelay < 0 ? undefined : { value: `will ${id}`, delaySeconds: op.willDelay };
    const connectionId = `connection ${id}`;
    const fromMs = this.cluster.clock.wallMs();
    const granted = await this.cluster.settle(
      holder.gateway.connect({
        clientId,
        connectionId,
        cleanStart: op.clean,
        expirySeconds: op.expiry,
        will: will && { ...message(will.value, 'wills'), delaySeconds: will.delaySeconds },
      }),
    );
    const before = this.#sessions.get(clientId);
    const span: Span = [fromMs, this.cluster.clock.wallMs()];
    this.#checkGranted(op, granted, before, span);
    this.#willAtConnect(before, granted.present, span);
    const last = this.#lastEpochs.get(clientId)?.epoch ?? 0;
    expect(granted.epoch, 'epochs grow').toBeGreaterThan(last);
    this.#lastEpochs.set(clientId, { epoch: granted.epoch, holder });
    before?.holder.transients.delete(clientId);
    if (op.expiry === 0) holder.transients.set(clientId, { connectionId, epoch: granted.epoch });
    const kept = granted.present ? before : undefined;
    this.#sessions.set(clientId, {
      epoch: granted.epoch,
      holder,
      isLogged: granted.present || op.expiry > 0 || will !== undefined,
      expiry: op.expiry,
      will,
      filters: kept?.filters ?? new Set(),
      position: kept?.position ?? 0,
      inbound: kept?.inbound ?? new Map(),
      ended: undefined,
      expiryAfter: op.expiry,
    });
    if (!granted.present)
      for (const value of before?.inbound.values() ?? []) this.#fate(value, 'never');
  }

  #checkGranted(
    op: Extract<Op, { op: 'connect' }>,
    granted: SessionGranted,
    before: ModelSession | undefined,
    span: Span,
  ): void {
    const present = expectedPresent(op.clean, before, span);
    if (present !== undefined) expect(granted.present).toBe(present);
    if (!granted.present || before === undefined) {
      expect(granted).toMatchObject({ subscriptions: [], positions: [], inboundPacketIds: [] });
      return;
    }
    expect(granted.subscriptions.map(({ filter }) => filter)).toEqual([...before.filters]);
    expect(granted.positions[0]?.offset ?? 0).toBe(before.position);
    expect(new Set(granted.inboundPacketIds)).toEqual(new Set(before.inbound.keys()));
  }

  #willAtConnect(before: ModelSession | undefined, present: boolean, span: Span): void {
    if (before?.will === undefined) return;
    const { value, delaySeconds } = before.will;
    before.will = undefined;
    if (before.ended === undefined) {
      const fires = !present || delaySeconds === 0;
      this.#fate(value, fires ? 'must' : 'never', span[0]);
      return;
    }
    const afterMs = willAfterMs(before);
    if (!present) this.#fate(value, 'must', Math.min(span[0], before.ended[0] + afterMs));
    else if (before.ended[0] + afterMs > span[1]) this.#fate(value, 'never');
    else {
      const isSure = before.ended[1] + afterMs + lateMs < span[0];
      this.#fate(value, isSure ? 'must' : 'may', before.ended[0] + afterMs);
    }
  }

  async #subscribe(clientId: string): Promise<void> {
    const session = this.#connected(clientId);
    if (session === undefined || !session.isLogged) return;
    const filter = `filter/${++this.#count}`;
    const subscription = {
      filter,
      qos: 1,
      noLocal: false,
      retainAsPublished: false,
      retainHandling: 0,
      subscriptionId: 0,
      startOffsets: [],
    } as const;
    const grant = { clientId, epoch: session.epoch };
    await this.cluster.settle(session.holder.gateway.subscribe(grant, [subscription]));
    session.filters.add(filter);
  }

  async #progress(clientId: string): Promise<void> {
    const session = this.#connected(clientId);
    if (session === undefined || !session.isLogged) return;
    session.position = ++this.#count;
    const positions = [{ shardId: shardId(100), offset: offset(session.position) }];
    const grant = { clientId, epoch: session.epoch };
    const progress = { positions, window: [], complete: true, trimmed: undefined, replays: [] };
    await this.cluster.settle(session.holder.gateway.progress(grant, progress));
  }

  /** The holder before the last one has no say. */
  async #stale(clientId: string): Promise<void> {
    const last = this.#lastEpochs.get(clientId);
    if (last === undefined) return;
    const grant = { clientId, epoch: last.epoch - 1 };
    const error = await this.cluster.settle(
      last.holder.gateway.unsubscribe(grant, ['x']).catch((thrown: unknown) => thrown),
    );
    expect(error).toBeInstanceOf(OperatingError);
    expect(error).toMatchObject({ code: 'FENCED' });
  }

  async #store(clientId: string, packetId: number): Promise<void> {
    const session = this.#connected(clientId);
    if (session === undefined || !session.isLogged) return;
    const value = `publish ${++this.#count}`;
    if (session.inbound.has(packetId)) this.#fate(value, 'never');
    else session.inbound.set(packetId, value);
    const grant = { clientId, epoch: session.epoch };
    await this.cluster.settle(
      session.holder.gateway.storeInbound(grant, packetId, message(value, 'publishes')),
    );
  }

  async #release(clientId: string, packetId: number): Promise<void> {
    const session = this.#connected(clientId);
    if (session === undefined || !session.isLogged) return;
    const value = session.inbound.get(packetId);
    if (value !== undefined) this.#fate(value, 'must', 0);
    const grant = { clientId, epoch: session.epoch };
    const isKnown = await this.cluster.settle(
      session.holder.gateway.releaseInbound(grant, packetId),
    );
    if (value === undefined) return;
    expect(isKnown).toBe(true);
    session.inbound.delete(packetId);
    const values = this.cluster.published().map((each) => each.value);
    expect(values, 'it is published when the release is answered').toContain(value);
  }

  async #disconnect(clientId: string, op: Extract<Op, { op: 'disconnect' }>): Promise<void> {
    const session = this.#connected(clientId);
    if (session === undefined) return;
    const fromMs = this.cluster.clock.wallMs();
    const expirySeconds = op.endsSession ? 0 : undefined;
    session.expiryAfter = expirySeconds ?? session.expiry;
    session.ended = [fromMs, Number.POSITIVE_INFINITY];
    if (!op.publishWill && session.will !== undefined) {
      this.#fate(session.will.value, 'never');
      session.will = undefined;
    }
    session.holder.transients.delete(clientId);
    const end = { publishWill: op.publishWill, expirySeconds, progress: undefined };
    const grant = { clientId, epoch: session.epoch };
    await this.cluster.settle(session.holder.gateway.disconnect(grant, end));
    session.ended = [fromMs, this.cluster.clock.wallMs()];
  }

  #holderDies(index: number): void {
    const holder = this.#holders[index];
    const spare = this.#spareHolders.shift();
    if (holder === undefined || spare === undefined) return;
    this.#holders[index] = spare;
    holder.transients.clear();
    const nowMs = this.cluster.clock.wallMs();
    for (const session of this.#sessions.values()) {
      if (session.holder === holder && session.ended === undefined) {
        session.ended = [nowMs, nowMs + lateMs];
      }
    }
    this.cluster.gone(holder.broker);
  }

  #connected(clientId: string): ModelSession | undefined {
    const session = this.#sessions.get(clientId);
    return session?.ended === undefined ? session : undefined;
  }

  #anyHolder(): Holder {
    const [holder] = this.#holders;
    if (holder === undefined) throw new Error('there are two holders');
    return holder;
  }

  #elect(): void {
    this.#owner = this.#spareOwners.shift();
    this.cluster.assign(this.#owner);
  }

  #fate(value: string, kind: Fate['kind'], notBeforeMs = 0): void {
    this.#fates.set(value, { kind, notBeforeMs });
  }
}

function message(value: string, topic: string): StoredMessage {
  return { topic, value: Buffer.from(value), headers: [] };
}

function willAfterMs({ will, expiryAfter }: ModelSession): number {
  return Math.min(will?.delaySeconds ?? 0, expiryAfter) * 1000;
}

/** Undefined: it may be or not, so close is the expiry. */
function expectedPresent(
  clean: boolean,
  before: ModelSession | undefined,
  span: Span,
): boolean | undefined {
  if (clean || before === undefined || before.expiryAfter === 0) return false;
  if (before.ended === undefined || before.expiryAfter === never) return true;
  const afterMs = before.expiryAfter * 1000;
  if (before.ended[0] + afterMs > span[1]) return true;
  return before.ended[1] + afterMs + lateMs < span[0] ? false : undefined;
}

describe('sessions through failovers', () => {
  it('have one holder, lose nothing, publish wills and QoS 2 once and never early', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(anyOp, { minLength: 10, maxLength: 40 }), async (ops) => {
        const history = new History();
        await history.start();
        for (const op of ops) await history.run(op);
        await history.end();
      }),
      { numRuns: 12 },
    );
  });
});
