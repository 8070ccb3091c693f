import { type Logger, offset, OperatingError, silentLogger } from '@robustmq/core';
import type { LogReader } from '@robustmq/kernel';
import { type RawMqttClient, VirtualClock } from '@robustmq/testkit';
import { array, assert, asyncProperty, constantFrom, integer, oneof, record } from 'fast-check';
import type { IPublishPacket } from 'mqtt-packet';
import { describe, expect, it } from 'vitest';

import type { MqttLimits } from '../server/mqtt-limits.ts';
import { MqttRig } from '../server/mqtt-rig.fixture.ts';
import { until } from '../server/until.fixture.ts';

const keep = { sessionExpiryInterval: 1000 };
const names = ['t/0', 't/1', 't/2', 't/3', 't/4'];

type Step =
  | { readonly step: 'publish'; readonly count: number; readonly qos: 0 | 1 | 2 }
  | { readonly step: 'stall' | 'resume' | 'hoard' | 'acknowledge' | 'turn' | 'move' | 'reconnect' };

const qos = constantFrom<0 | 1 | 2>(0, 1, 2);
const anyStep = oneof(
  {
    weight: 5,
    arbitrary: record({
      step: constantFrom('publish' as const),
      count: integer({ min: 1, max: 60 }),
      qos,
    }),
  },
  {
    weight: 5,
    arbitrary: record({
      step: constantFrom(
        'stall',
        'resume',
        'hoard',
        'acknowledge',
        'turn',
        'move',
        'reconnect' as const,
      ),
    }),
  },
);

/** A subscriber that stalls and hoards as it is told, and keeps what it got. */
class Subscriber {
  readonly got: string[] = [];
  readonly #rig: MqttRig;
  readonly #fields: { clientId: string; receiveMaximum: number; durable: boolean };
  readonly #unanswered: IPublishPacket[] = [];
  #client: RawMqttClient | undefined;
  #isHoarding = false;
  /** QoS 2 packet ids whose PUBREL has not come: a PUBLISH with one of them is a repetition. */
  readonly #unreleased = new Set<number>();

  constructor(
    rig: MqttRig,
    fields: { clientId: string; receiveMaximum: number; durable: boolean },
  ) {
    this.#rig = rig;
    this.#fields = fields;
  }

  get client(): RawMqttClient {
    if (this.#client === undefined) throw new Error('the subscriber is not connected');
    return this.#client;
  }

  async connect(clean: boolean): Promise<void> {
    const { clientId, receiveMaximum, durable } = this.#fields;
    const client = await this.#rig.open();
    client.answers = 'none';
    client.onPublish = (packet) => this.#take(packet);
    this.#client = client;
    client.sendConnect({
      clientId,
      clean,
      properties: { receiveMaximum, ...(durable ? keep : {}) },
    });
    await client.pick('connack');
    void this.#release(client);
  }

  async #release(client: RawMqttClient): Promise<void> {
    try {
      for (;;) {
        const { messageId = 0 } = await client.pick('pubrel');
        this.#unreleased.delete(messageId);
        client.send({ cmd: 'pubcomp', messageId });
      }
    } catch {
      // The connection has ended.
    }
  }

  #take(packet: IPublishPacket): void {
    const { messageId = 0 } = packet;
    const isRepeated = packet.qos === 2 && this.#unreleased.has(messageId);
    if (packet.qos === 2) this.#unreleased.add(messageId);
    if (!isRepeated) this.got.push(String(packet.payload));
    if (packet.qos === 0) return;
    if (this.#isHoarding) this.#unanswered.push(packet);
    else this.#answer(packet);
  }

  #answer({ qos: at, messageId = 0 }: IPublishPacket): void {
    this.client.send({ cmd: at === 1 ? 'puback' : 'pubrec', messageId });
  }

  hoard(): void {
    this.#isHoarding = true;
  }

  acknowledge(): void {
    this.#isHoarding = false;
    for (const packet of this.#unanswered.splice(0)) this.#answer(packet);
  }

  async reconnect(): Promise<void> {
    if (!this.#fields.durable) return;
    this.acknowledge();
    const { epoch } = this.#rig.sessions.session(this.#fields.clientId);
    await this.client.destroy();
    await this.connect(false);
    await until(() => this.#rig.sessions.session(this.#fields.clientId).epoch > epoch);
  }
}

async function run(
  steps: readonly Step[],
  options: { receiveMaximum: number; durable: boolean; limits: Partial<MqttLimits> },
): Promise<void> {
  const limits = { progressDelayMs: 1, ...options.limits };
  await using rig = await MqttRig.start({ limits });
  const { receiveMaximum, durable } = options;
  const subscriber = new Subscriber(rig, { clientId: 's', receiveMaximum, durable });
  await subscriber.connect(true);
  await subscriber.client.subscribe('t/+', { qos: 2 });
  const publisher = await rig.connect({ clientId: 'p' });
  const reliable: string[] = [];
  let number = 0;
  for (const one of steps) {
    switch (one.step) {
      case 'publish':
        for (let at = 0; at < one.count; at++) {
          const payload = `${names[number % names.length]} ${one.qos} ${number++}`;
          publisher.publish(payload.split(' ')[0] ?? '', payload.padEnd(100), { qos: one.qos });
          if (one.qos > 0) reliable.push(payload);
        }
        break;
      case 'stall':
        subscriber.client.pause();
        break;
      case 'resume':
        subscriber.client.resume();
        break;
      case 'hoard':
        subscriber.hoard();
        break;
      case 'acknowledge':
        subscriber.acknowledge();
        break;
      case 'move':
        rig.journal.fake.moveLeader(rig.shardIds[number % 4] ?? 0);
        break;
      case 'reconnect':
        await subscriber.reconnect();
        break;
      default:
        for (let at = 0; at < 3; at++) await new Promise((resolve) => setImmediate(resolve));
    }
  }
  subscriber.client.resume();
  subscriber.acknowledge();
  const kept = (qosOf: string): string[] =>
    subscriber.got.map((one) => one.trimEnd()).filter((one) => one.split(' ')[1] === qosOf);
  const wanted = new Set(reliable);
  const timer = setTimeout(() => wanted.clear(), 5_000);
  await until(() => {
    for (const one of subscriber.got) wanted.delete(one.trimEnd());
    return wanted.size === 0;
  });
  clearTimeout(timer);
  for (const name of names) {
    const ofName = (all: readonly string[]): string[] => all.filter((one) => one.startsWith(name));
    expect(ofName(kept('2')), 'QoS 2').toEqual(ofName(reliable.filter(isQos('2'))));
    const once = [...new Set(ofName(kept('1')))];
    expect(once, 'QoS 1').toEqual(ofName(reliable.filter(isQos('1'))));
    if (!durable) expect(ofName(kept('1')), 'no repetition').toEqual(once);
  }
}

const isQos =
  (wanted: string) =>
  (payload: string): boolean =>
    payload.split(' ')[1] === wanted;

describe('a session that lags and catches up', () => {
  const small = { windowMax: 1000, socketBytesMax: 6_000, catchUpReadBytes: 4_096 };
  const receiveMaximum = constantFrom(1, 2, 7, 40, 65_535);
  const steps = array(anyStep, { minLength: 5, maxLength: 25 });

  it('loses and repeats nothing whatever its window and its socket do', async () => {
    const property = asyncProperty(steps, receiveMaximum, (all, maximum) =>
      run(all, { receiveMaximum: maximum, durable: false, limits: small }),
    );
    await assert(property, { numRuns: 40 });
  });

  it('as a durable session that reconnects: QoS 2 once, QoS 1 at least once, in order', async () => {
    const property = asyncProperty(steps, receiveMaximum, (all, maximum) =>
      run(all, { receiveMaximum: maximum, durable: true, limits: small }),
    );
    await assert(property, { numRuns: 40 });
  });
});

describe('a subscriber that takes nothing', () => {
  it('is bounded: what it has no room for stays in the log; nobody else waits', async () => {
    await using rig = await MqttRig.start({ limits: { socketBytesMax: 256 * 1024 } });
    const slow = await rig.connect({ clientId: 'slow' });
    const other = await rig.connect({ clientId: 'other' });
    const publisher = await rig.connect({ clientId: 'p' });
    for (const client of [slow, other]) await client.subscribe('t', { qos: 1 });
    slow.pause();
    let others = 0;
    other.onPublish = (packet) => (others += packet.qos);
    const payload = 'x'.repeat(16_000);
    const rounds = 800;
    for (let at = 0; at < rounds; at++) {
      publisher.publish('t', payload);
      await publisher.publishAcked('t', payload);
    }
    await until(() => others === rounds);
    const { counters } = rig.server;
    // Of the 25 MB the slow one's socket holds what the system takes and its bound.
    expect(counters.publishesOut[1] - others).toBeLessThan(rounds / 2);
    expect([...rig.server.sessions()].filter(({ lagging }) => lagging)).toHaveLength(1);
    let got = 0;
    slow.onPublish = ({ qos: at }) => (got += at);
    slow.resume();
    await until(() => got === rounds);
    await until(() => [...rig.server.sessions()].every(({ lagging }) => !lagging));
  });

  it('is disconnected when it has not drained for long', async () => {
    const clock = new VirtualClock();
    await using rig = await MqttRig.start({ clock, limits: { socketBytesMax: 64 * 1024 } });
    const slow = await rig.connect({ clientId: 'slow' });
    const publisher = await rig.connect({ clientId: 'p' });
    await slow.subscribe('t');
    slow.pause();
    while (rig.server.counters.droppedOut === 0) {
      await publisher.publishAcked('t', 'x'.repeat(60_000));
    }
    await clock.advance(60_000);
    expect(rig.server.counters.stalled).toBe(0);
    await clock.advance(10_000);
    expect(rig.server.counters.stalled).toBe(1);
    slow.resume();
    await slow.closed;
    expect(await publisher.untilPong()).toEqual([]);
  });

  it('goes on when a turn filled its output and the system took it all at once', async () => {
    await using rig = await MqttRig.start({ limits: { socketBytesMax: 2_000 } });
    const client = await rig.connect({ clientId: 'c' });
    await client.subscribe('t', { qos: 1 });
    const publisher = await rig.connect({ clientId: 'p' });
    // QoS 0 fills the output; the QoS 1 message that follows finds no room, and no acknowledgement comes.
    for (let at = 0; at < 20; at++) publisher.publish('t', 'x'.repeat(500));
    publisher.publish('t', 'last', { qos: 1 });
    let last: IPublishPacket = await client.expect('publish');
    while (last.qos === 0) last = await client.expect('publish');
    expect(String(last.payload)).toBe('last');
  });
});

describe('reading on', () => {
  it('goes over a piece that retention took, counts it and tells it', async () => {
    const warnings: Record<string, unknown>[] = [];
    const warn: Logger['warn'] = (fields) => void warnings.push({ ...fields });
    await using rig = await MqttRig.start({ logger: { ...silentLogger(), warn } });
    const publisher = await rig.connect({ clientId: 'p' });
    const client = await rig.connect({ clientId: 'c', properties: keep });
    await client.subscribe('t', { qos: 1 });
    await client.disconnect();
    for (let at = 0; at < 10; at++) await publisher.publishAcked('t', `${at}`);
    const shard = rig.journal.fake.require(rig.shardOf('t'));
    shard.trim(7);
    rig.journal.fake.shardChanged(shard);
    const again = await rig.connect({ clientId: 'c', clean: false, properties: keep });
    expect(await again.payloads(3)).toEqual(['7', '8', '9']);
    expect([...rig.server.trims.byTopic]).toEqual([['mqtt', 7]]);
    expect(warnings.filter(({ topic }) => topic === 'mqtt')).toEqual([
      { topic: 'mqtt', clientId: 'c', count: 7 },
    ]);
    // It is kept with the session, for whoever asks after its next connection.
    await again.disconnect();
    await until(() => !rig.sessions.session('c').isConnected);
    expect(rig.sessions.session('c').trimmed).toMatchObject({ records: 7, topic: 'mqtt' });
    const last = await rig.connect({ clientId: 'c', clean: false, properties: keep });
    const own = [...rig.server.clients()].find(({ clientId }) => clientId === 'c');
    expect(own?.session.trimmedRecords).toMatchObject({ records: 7, topic: 'mqtt' });
    await publisher.publishAcked('t', 'after');
    expect(await last.payloads(1)).toEqual(['after']);
    expect([...rig.server.trims.byTopic]).toEqual([['mqtt', 7]]);
  });

  it('counts a message under way that retention took before it could be sent again', async () => {
    await using rig = await MqttRig.start();
    const publisher = await rig.connect({ clientId: 'p' });
    const client = await rig.connect({ clientId: 'c', properties: keep });
    client.answers = 'none';
    await client.subscribe('t', { qos: 1 });
    for (let at = 0; at < 3; at++) await publisher.publishAcked('t', `${at}`);
    expect(await client.payloads(3)).toHaveLength(3);
    await client.destroy();
    await until(() => !rig.sessions.session('c').isConnected);
    const shard = rig.journal.fake.require(rig.shardOf('t'));
    shard.trim(2);
    rig.journal.fake.shardChanged(shard);
    const again = await rig.connect({ clientId: 'c', clean: false, properties: keep });
    expect(await again.payloads(1)).toEqual(['2']);
    expect([...rig.server.trims.byTopic]).toEqual([['mqtt', 2]]);
  });

  it('is tried again when it fails for a while, and the client stays', async () => {
    let isAway = true;
    let failed = 0;
    const log = (reader: LogReader): LogReader => ({
      read: (shardId, options, visit) => {
        if (!isAway || options.fromOffset > offset(5)) return reader.read(shardId, options, visit);
        if (++failed === 2) isAway = false;
        return Promise.reject(new OperatingError('UNAVAILABLE', 'no journal'));
      },
    });
    await using rig = await MqttRig.start({ log });
    const publisher = await rig.connect({ clientId: 'p' });
    const client = await rig.connect({ clientId: 'c', properties: keep });
    await client.subscribe('t', { qos: 1 });
    await client.disconnect();
    await publisher.publishAcked('t', 'kept');
    const again = await rig.connect({ clientId: 'c', clean: false, properties: keep });
    expect(await again.payloads(1)).toEqual(['kept']);
    expect(failed).toBe(2);
  });
});
