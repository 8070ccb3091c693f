import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import { Cluster } from '../harness/cluster.ts';
import { connectMqtt, Inbox } from './mqtt-client.ts';
import { PacketClient } from './packet-client.ts';

let cluster: Cluster;
beforeAll(async () => {
  cluster = await Cluster.start({ brokers: 2 });
});
afterAll(() => cluster[Symbol.asyncDispose]());

const one = () => cluster.mqtt('broker-1');
const two = () => cluster.mqtt('broker-2');
const versions = [3, 4, 5] as const;
const levels = [0, 1, 2] as const;

describe('MQTT.js on two brokers', () => {
  const cases = versions.flatMap((version) => levels.map((qos) => ({ version, qos })));

  it.each(cases)('version $version, QoS $qos: in order, once, unaltered', async (each) => {
    const { version: protocolVersion, qos } = each;
    const subscriber = await connectMqtt(two(), { protocolVersion });
    const publisher = await connectMqtt(one(), { protocolVersion });
    const inbox = new Inbox(subscriber);
    const topic = `order/${protocolVersion}/${qos}`;
    await subscriber.subscribeAsync(`order/${protocolVersion}/${qos}/#`, { qos });
    const sent = Array.from({ length: 50 }, (_, index) => `message ${index}`);
    await Promise.all(sent.map((payload) => publisher.publishAsync(topic, payload, { qos })));
    await inbox.waitFor(sent.length);
    expect(inbox.payloads).toEqual(sent);
    expect(new Set(inbox.messages.map(({ packet }) => packet.qos))).toEqual(new Set([qos]));
    await Promise.all([subscriber.endAsync(), publisher.endAsync()]);
  });

  it('what MQTT 5 says about a message arrives with it', async () => {
    const subscriber = await connectMqtt(two(), { protocolVersion: 5 });
    const publisher = await connectMqtt(one(), { protocolVersion: 5 });
    const inbox = new Inbox(subscriber);
    await subscriber.subscribeAsync('properties', { qos: 1 });
    const properties = {
      payloadFormatIndicator: true,
      contentType: 'text/plain',
      responseTopic: 'answers/here',
      correlationData: Buffer.from([0, 1, 255]),
      userProperties: { colour: ['red', 'blue'], größe: 'groß' },
    };
    await publisher.publishAsync('properties', 'x', { qos: 1, properties });
    const [message] = await inbox.waitFor(1);
    expect(message?.packet.properties).toMatchObject(properties);
    await Promise.all([subscriber.endAsync(), publisher.endAsync()]);
  });
});

describe('sessions and brokers', () => {
  it('a persistent session moves, with its subscriptions and what came meanwhile', async () => {
    const keep = { clientId: 'mover', clean: false, properties: { sessionExpiryInterval: 300 } };
    const before = await PacketClient.connect(one(), keep);
    expect(before.connack.sessionPresent).toBe(false);
    await before.client.subscribe('moving/#', 1);
    before.client.send({ cmd: 'disconnect', reasonCode: 0 });
    await before.client.closed;

    const publisher = await connectMqtt(one());
    const sent = Array.from({ length: 20 }, (_, index) => `while away ${index}`);
    await Promise.all(sent.map((text) => publisher.publishAsync('moving/a', text, { qos: 1 })));

    const { client, connack } = await PacketClient.connect(two(), keep);
    expect(connack.sessionPresent).toBe(true);
    const received: string[] = [];
    while (received.length < sent.length) {
      const { payload, messageId = 0 } = await client.expect('publish');
      received.push(payload.toString());
      client.send({ cmd: 'puback', messageId, reasonCode: 0 });
    }
    expect(received).toEqual(sent);
    client[Symbol.dispose]();
    await publisher.endAsync();
  });

  it('a CONNECT with the same id at another broker takes over, and the old one hears 0x8E [MQTT5-3.1.4-3]', async () => {
    const keep = { clientId: 'taken', clean: false, properties: { sessionExpiryInterval: 300 } };
    const { client: old } = await PacketClient.connect(one(), keep);
    await old.subscribe('taken/#', 1);
    const { client, connack } = await PacketClient.connect(two(), keep);
    expect(connack.sessionPresent).toBe(true);
    expect((await old.expect('disconnect')).reasonCode).toBe(0x8e);
    await old.closed;
    const publisher = await connectMqtt(one());
    await publisher.publishAsync('taken/x', 'to the new one', { qos: 1 });
    expect((await client.expect('publish')).payload.toString()).toBe('to the new one');
    client[Symbol.dispose]();
    await publisher.endAsync();
  });

  it('a will is published at the other broker when its client dies', async () => {
    const watcher = await connectMqtt(two());
    const inbox = new Inbox(watcher);
    await watcher.subscribeAsync('wills/#', { qos: 1 });
    const will = {
      topic: 'wills/dead',
      payload: Buffer.from('gone'),
      qos: 1 as const,
      retain: false,
    };
    const { client } = await PacketClient.connect(one(), { clientId: 'mortal', will });
    client[Symbol.dispose]();
    expect((await inbox.waitFor(1))[0]).toMatchObject({ topic: 'wills/dead', payload: 'gone' });
    await watcher.endAsync();
  });

  it('a will is not published after DISCONNECT [MQTT5-3.14.4-3]', async () => {
    const watcher = await connectMqtt(two());
    const inbox = new Inbox(watcher);
    await watcher.subscribeAsync('quiet/#', { qos: 1 });
    const will = {
      topic: 'quiet/dead',
      payload: Buffer.from('gone'),
      qos: 1 as const,
      retain: false,
    };
    const { client } = await PacketClient.connect(one(), { clientId: 'polite', will });
    client.send({ cmd: 'disconnect', reasonCode: 0 });
    await client.closed;
    // The will would have come before this: its client's session ended before it was published.
    const again = await PacketClient.connect(one(), { clientId: 'polite' });
    await watcher.publishAsync('quiet/marker', 'marker', { qos: 1 });
    expect((await inbox.waitFor(1))[0]?.topic).toBe('quiet/marker');
    again.client[Symbol.dispose]();
    await watcher.endAsync();
  });
});
