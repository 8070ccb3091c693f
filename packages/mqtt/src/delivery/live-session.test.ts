import { offset, type Offset, OperatingError, silentLogger } from '@robustmq/core';
import { TopicNames } from '@robustmq/kernel';
import { VirtualClock } from '@robustmq/testkit';
import { beforeEach, describe, expect, it } from 'vitest';

import { PacketWriter } from '../codec/packet-writer.ts';
import { newMqttCounters } from '../server/mqtt-counters.ts';
import { mqttLimitsDefault } from '../server/mqtt-limits.ts';
import type { SessionGateway, SessionGranted, WindowEntry } from '../session/session-gateway.ts';
import { TopicMeters } from '../slow/topic-meters.ts';
import type { DeliveryClient } from './delivery-context.ts';
import { LiveReaders } from './live-readers.ts';
import { LiveSession } from './live-session.ts';
import { LiveSubscription } from './live-subscription.ts';
import { ManualLog } from './manual-log.fixture.ts';
import { ProgressKeeper } from './progress-keeper.ts';
import { Trims } from './trims.ts';

/** A client that keeps the payloads it is sent; its output never fills. */
class Client {
  readonly got: string[] = [];
  readonly ids: number[] = [];
  readonly mqtt5 = false;
  readonly packetBytesMax = 1_000_000;
  receiveMaximum = 100;
  readonly output = {
    full: false,
    askForRoom: () => {},
    hold: () => {},
    packet: (bytes: Buffer) => this.#take(bytes),
    range: (store: ArrayBuffer, start: number, end: number) =>
      this.#take(Buffer.from(store, start, end - start)),
  };
  sendPubrel(): void {}
  failed(error: Error): void {
    throw error;
  }

  /** MQTT 3.1.1 with a name of one letter: type, length, name, perhaps a packet id, payload. */
  #take(bytes: Buffer): void {
    const isAcked = (bytes[0] ?? 0) & 6;
    if (isAcked) this.ids.push(bytes.readUInt16BE(5));
    this.got.push(bytes.toString('latin1', isAcked ? 7 : 5));
  }
}

describe('a session beside the live path', () => {
  let log: ManualLog;
  let client: Client;
  let session: LiveSession;
  let readers: LiveReaders;
  let shownTopic: string | undefined;

  const sessionOf = (own: Client, clientId: string, window: WindowEntry[] = []): LiveSession => {
    const clock = new VirtualClock();
    const logger = silentLogger();
    const gateway = { progress: () => Promise.resolve() } as unknown as SessionGateway;
    const progress = new ProgressKeeper({ gateway, clock, delayMs: 1, logger, fenced: () => {} });
    const context = {
      readers,
      catchUp: log,
      log,
      progress,
      drops: { count: () => {} },
      limits: mqttLimitsDefault,
      clock,
      writer: new PacketWriter(),
    };
    // Of a client it uses what stands there.
    const asClient = own as unknown as DeliveryClient;
    return new LiveSession(asClient, context, {
      access: undefined,
      grant: { clientId, epoch: 1 },
      durable: false,
      granted: {
        epoch: 1,
        present: window.length > 0,
        subscriptions: [],
        positions: [],
        trimmed: undefined,
        window,
        inboundPacketIds: [],
        replays: [],
      },
    });
  };

  const subscription = (filter: string, start: Offset): LiveSubscription =>
    new LiveSubscription(
      {
        filter,
        qos: 1,
        noLocal: false,
        retainAsPublished: false,
        retainHandling: 0,
        subscriptionId: 0,
        startOffsets: [{ shardId: log.shardId, offset: start }],
      },
      [log.shardId],
    );

  const subscribe = (one: LiveSession, filter: string, end: Offset): Offset | undefined =>
    one.subscribe(subscription(filter, end), new Map([[log.shardId, end]]))[0]?.offset;

  const acknowledgeAll = (): void => {
    for (const packetId of client.ids.splice(0)) session.outbound.acknowledged(packetId, false);
  };

  beforeEach(() => {
    log = new ManualLog();
    client = new Client();
    shownTopic = 'mqtt';
    readers = new LiveReaders({
      fanOut: log,
      names: TopicNames.of([{ name: 'mqtt', shardIds: [1], config: {} }]),
      topicOf: () => shownTopic,
      wallMs: () => 0,
      counters: newMqttCounters(),
      trims: new Trims({ clock: new VirtualClock(), logger: silentLogger() }),
      missed: (shardId, records) => session.liveTrimmed(shardId, records),
      logger: silentLogger(),
      matchCacheMax: 10,
      slow: { thresholdMs: Number.POSITIVE_INFINITY, note: () => {} },
      meters: new TopicMeters([]),
    });
    session = sessionOf(client, 'c');
  });

  it('begins at the end of the log although the tail is behind', () => {
    const other = sessionOf(new Client(), 'other');
    subscribe(other, 'x', log.end);
    log.append('t', 'before');
    expect(subscribe(session, 't', log.end)).toBe(1);
    log.append('t', 'after');
    log.tail();
    expect(client.got).toEqual(['after']);
  });

  it('begins at the tail when that is past the end that was read', () => {
    const other = sessionOf(new Client(), 'other');
    subscribe(other, 'x', log.end);
    const end = log.end;
    log.append('t', 'meanwhile');
    log.tail();
    expect(subscribe(session, 't', end)).toBe(1);
    log.append('t', 'after');
    log.tail();
    expect(client.got).toEqual(['after']);
  });

  it('keeps its start when a subscription is replaced while the tail is behind', () => {
    const other = sessionOf(new Client(), 'other');
    subscribe(other, 'x', log.end);
    log.append('t', 'before');
    subscribe(session, 't', log.end);
    log.append('t', 'between');
    subscribe(session, 't', log.end);
    log.append('t', 'after');
    log.tail();
    expect(client.got).toEqual(['between', 'after']);
  });

  it('a second subscription of a session that lags begins where it begins', async () => {
    client.receiveMaximum = 1;
    subscribe(session, 'a', log.end);
    for (const value of ['1', '2', '3']) {
      log.append('a', value);
      log.append('b', `not ${value}`);
    }
    log.tail();
    expect(session.lagging).toBe(true);
    subscribe(session, 'b', log.end);
    log.append('b', '4');
    log.tail();
    while (client.got.length < 4) {
      acknowledgeAll();
      await log.serve();
    }
    expect(client.got).toEqual(['1', '2', '3', '4']);
  });

  it('joins the live path in front of it: what it has read already is not repeated', async () => {
    client.receiveMaximum = 2;
    subscribe(session, 't', log.end);
    for (const value of ['1', '2', '3']) log.append('t', value);
    log.tail();
    expect(client.got).toEqual(['1', '2']);
    acknowledgeAll();
    // The read finds more than the tail has brought.
    log.append('t', '4');
    await log.serve();
    expect(client.got).toEqual(['1', '2', '3', '4']);
    acknowledgeAll();
    await log.serve();
    log.append('t', '5');
    log.tail();
    expect(client.got).toEqual(['1', '2', '3', '4', '5']);
    acknowledgeAll();
    await log.serve();
    expect(session.lagging).toBe(false);
    expect(log.waiting).toBe(0);
  });

  it('lags again in the middle of a batch, and nothing comes twice or not at all', async () => {
    client.receiveMaximum = 3;
    subscribe(session, '+', log.end);
    const sent = Array.from({ length: 40 }, (_, at) => `${at}`);
    for (const [at, value] of sent.entries()) {
      log.append('abc'[at % 3] ?? '', value);
      if (at % 7 === 0) log.tail();
      if (at % 5 === 0) acknowledgeAll();
      if (at % 11 === 0) await log.serve(1);
    }
    log.tail();
    while (client.got.length < sent.length) {
      acknowledgeAll();
      await log.serve();
    }
    expect(client.got).toEqual(sent);
  });

  it('tells as its position what is settled or in its window', async () => {
    client.receiveMaximum = 2;
    subscribe(session, 't', log.end);
    for (const value of ['1', '2', '3']) log.append('t', value);
    log.tail();
    expect(session.progress()).toMatchObject({
      positions: [{ offset: 2 }],
      window: [{ offset: 0 }, { offset: 1 }],
    });
    acknowledgeAll();
    await log.serve();
    expect(session.progress()).toMatchObject({
      positions: [{ offset: 3 }],
      window: [{ offset: 2 }],
    });
  });

  it('gives its readers back, whatever was subscribed, replaced and ended', () => {
    for (const filter of ['a', 'b', 'a', '+', 'a']) subscribe(session, filter, log.end);
    expect(log.attached).toBe(1);
    for (const filter of ['a', 'b']) expect(session.unsubscribe(filter)).toBe(true);
    expect(session.unsubscribe('a')).toBe(false);
    expect(log.attached).toBe(1);
    session.unsubscribe('+');
    expect(log.attached).toBe(0);
    subscribe(session, 'a', log.end);
    subscribe(session, 'a', log.end);
    session.end();
    expect(log.attached).toBe(0);
    expect(readers.trie.size).toBe(0);
  });

  it('takes up a position, with what is older than its subscription left out', async () => {
    for (const value of ['0', '1', '2', '3']) log.append('t', value);
    const granted: SessionGranted = {
      epoch: 2,
      present: true,
      subscriptions: [],
      positions: [{ shardId: log.shardId, offset: offset(1) }],
      trimmed: undefined,
      window: [],
      inboundPacketIds: [],
      replays: [],
    };
    session.resume(granted, [subscription('t', offset(2))], new Map([[log.shardId, log.end]]));
    await log.serve();
    expect(client.got).toEqual(['2', '3']);
    expect(session.lagging).toBe(false);
  });

  describe('whose topic this broker does not know yet', () => {
    const names = TopicNames.of([{ name: 'mqtt', shardIds: [1], config: {} }]);

    /** Resumes with the records 0 to 2, of which 0 was sent as packet 7. */
    async function resumed(qos: 1 | 2): Promise<LiveSubscription> {
      for (const value of ['0', '1', '2']) log.append('t', value, qos);
      shownTopic = undefined;
      const window: WindowEntry[] = [
        { packetId: 7, shardId: log.shardId, offset: offset(0), qos, state: 'sent' },
      ];
      session = sessionOf(client, 'c', window);
      const own = new LiveSubscription({ ...subscription('t', offset(0)).stored, qos }, []);
      const granted: SessionGranted = {
        epoch: 2,
        present: true,
        subscriptions: [own.stored],
        positions: [{ shardId: log.shardId, offset: offset(1) }],
        trimmed: undefined,
        window,
        inboundPacketIds: [],
        replays: [],
      };
      session.resume(granted, [own], new Map());
      await log.serve();
      return own;
    }

    it.each([1, 2] as const)('keeps its position and its window at QoS %d', async (qos) => {
      await resumed(qos);
      expect(client.got).toEqual([]);
      expect(session.progress()).toMatchObject({
        positions: [{ shardId: log.shardId, offset: 1 }],
        window: [{ packetId: 7, offset: 0 }],
      });
    });

    it.each([1, 2] as const)('goes on with the old packet id at QoS %d', async (qos) => {
      const own = await resumed(qos);
      shownTopic = 'mqtt';
      readers.rename(names);
      session.setShards(own, [log.shardId]);
      log.tail();
      await log.serve();
      expect(client.got).toEqual(['0', '1', '2']);
      expect(client.ids[0]).toBe(7);
      expect(new Set(client.ids).size).toBe(3);
    });

    it('gives up a message whose topic is gone', async () => {
      const read = log.read.bind(log);
      log.read = () => Promise.reject(new OperatingError('NOT_FOUND', 'deleted'));
      await resumed(2);
      log.read = read;
      expect(session.progress().window).toEqual([]);
    });
  });
});
