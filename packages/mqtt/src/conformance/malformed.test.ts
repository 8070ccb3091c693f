import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import { bytes, packet, type Part, properties } from '../codec/test-packets.ts';
import { MqttRig } from '../server/mqtt-rig.fixture.ts';

let rig: MqttRig;
beforeAll(async () => {
  rig = await MqttRig.start();
});
afterAll(() => rig[Symbol.asyncDispose]());

const text = (...content: number[]): Buffer => bytes(0, content.length, content);
/** U+D800, and "/" in two bytes. */
const surrogate = text(0xed, 0xa0, 0x80);
const overlong = text(0xc0, 0xaf);
const nul = text(0x61, 0x00);
const none = Buffer.of(0);
const publish5 = (...parts: Part[]): Buffer => packet(0x30, 'a', properties(...parts), 0x78);

type Row = readonly [title: string, version: 3 | 4 | 5, data: Buffer, reasonCode: number];

/** What a client that is connected may not send. */
const withinRows: readonly Row[] = [
  [
    '[MQTT5-1.5.4-1, -3.3.2-1, -4.13.1-1, -4.13.2-1] a topic with a surrogate',
    5,
    packet(0x30, surrogate, none),
    0x81,
  ],
  ['[MQTT5-1.5.4-1] a topic in an overlong form', 5, packet(0x30, overlong, none), 0x81],
  [
    '[MQTT5-1.5.4-1, -3.8.3-1] a filter that is no UTF-8',
    5,
    packet(0x82, 0, 1, 0, surrogate, 0),
    0x81,
  ],
  [
    '[MQTT5-1.5.4-1, -3.10.3-1] a filter that is no UTF-8',
    5,
    packet(0xa2, 0, 1, 0, overlong),
    0x81,
  ],
  ['[MQTT-1.5.3-1, -3.3.2-1] a topic with a surrogate', 4, packet(0x30, surrogate), 0],
  ['[MQTT-1.5.3-1, -3.8.3-1] a filter that is no UTF-8', 4, packet(0x82, 0, 1, overlong, 0), 0],
  ['[MQTT-1.5.3-1, -3.10.3-1] a filter that is no UTF-8', 4, packet(0xa2, 0, 1, surrogate), 0],
  ['[MQTT5-1.5.4-2, -4.7.3-2] a topic with U+0000', 5, packet(0x30, nul, none), 0x81],
  ['[MQTT5-1.5.4-2, -4.7.3-2] a filter with U+0000', 5, packet(0x82, 0, 1, 0, nul, 0), 0x81],
  ['[MQTT-1.5.3-2, -4.7.3-2] a topic with U+0000', 4, packet(0x30, nul), 0],
  ['[MQTT-1.5.3-2, -4.7.3-2] a filter with U+0000', 4, packet(0x82, 0, 1, nul, 0), 0],
  ['[MQTT5-1.5.5-1] a property length in too many bytes', 5, packet(0x30, 'a', 0x80, 0), 0x81],
  ['[MQTT5-1.5.5-1] a packet length in too many bytes', 5, Buffer.of(0xc0, 0x80, 0x00), 0x81],
  [
    '[MQTT5-1.5.7-1] a user property whose name is no UTF-8',
    5,
    publish5([0x26, surrogate, 'v']),
    0x81,
  ],
  ['[MQTT5-1.5.7-1] a user property whose value is no UTF-8', 5, publish5([0x26, 'n', nul]), 0x81],
  ['[MQTT5-2.2.1-3] SUBSCRIBE with packet id 0', 5, packet(0x82, 0, 0, 0, 'a', 0), 0x82],
  ['[MQTT5-2.2.1-3] PUBLISH with packet id 0', 5, packet(0x32, 'a', 0, 0, none), 0x82],
  ['[MQTT-2.3.1-1] SUBSCRIBE with packet id 0', 4, packet(0x82, 0, 0, 'a', 0), 0],
  ['[MQTT-2.3.1-1] UNSUBSCRIBE with packet id 0', 4, packet(0xa2, 0, 0, 'a'), 0],
  ['[MQTT-2.3.1-1] PUBLISH with packet id 0', 4, packet(0x32, 'a', 0, 0), 0],
  ['[MQTT5-2.2.2-1] PUBLISH without a property length', 5, packet(0x30, 'a'), 0x81],
  ['[MQTT5-3.3.1-2] DUP at QoS 0', 5, packet(0x38, 'a', none), 0x82],
  ['[MQTT-3.3.1-2] DUP at QoS 0', 4, packet(0x38, 'a'), 0],
  ['[MQTT5-3.3.1-4] QoS 3', 5, packet(0x36, 'a', 0, 1, none), 0x81],
  ['[MQTT-3.3.1-4] QoS 3', 4, packet(0x36, 'a', 0, 1), 0],
  ['[MQTT5-3.3.2-2, -4.7.0-1] a topic with #', 5, packet(0x30, 'a/#', none), 0x90],
  ['[MQTT5-3.3.2-2, -4.7.0-1] a topic with +', 5, packet(0x30, 'a/+/b', none), 0x90],
  ['[MQTT-3.3.2-2, -4.7.1-1] a topic with #', 4, packet(0x30, '#'), 0],
  ['[MQTT-3.3.2-2, -4.7.1-1] a topic with +', 4, packet(0x30, '+'), 0],
  ['[MQTT5-3.3.2-8] alias 0', 5, publish5([0x23, 0, 0]), 0x94],
  ['[MQTT5-3.3.2-9, -3.2.2-17] an alias above the maximum', 5, publish5([0x23, 0, 33]), 0x94],
  ['[MQTT5-3.3.2-13] a response topic that is no UTF-8', 5, publish5([0x08, surrogate]), 0x81],
  ['[MQTT5-3.3.2-14] a response topic with a wildcard', 5, publish5([0x08, 'a/#']), 0x82],
  ['[MQTT5-3.3.2-19] a content type that is no UTF-8', 5, publish5([0x03, overlong]), 0x81],
  ['[MQTT5-3.3.4-6] a subscription identifier in PUBLISH', 5, publish5([0x0b, 1]), 0x82],
  ['[MQTT5-3.4.2-1] PUBACK with a code of PUBREL', 5, packet(0x40, 0, 1, 0x92), 0x82],
  ['[MQTT5-3.5.2-1] PUBREC with a code of PUBREL', 5, packet(0x50, 0, 1, 0x92), 0x82],
  ['[MQTT5-3.6.2-1] PUBREL with a code of PUBACK', 5, packet(0x62, 0, 1, 0x10), 0x82],
  ['[MQTT5-3.7.2-1] PUBCOMP with a code of PUBACK', 5, packet(0x70, 0, 1, 0x97), 0x82],
  ['[MQTT5-3.8.3-2] SUBSCRIBE without a filter', 5, packet(0x82, 0, 1, 0), 0x82],
  ['[MQTT-3.8.3-3] SUBSCRIBE without a filter', 4, packet(0x82, 0, 1), 0],
  [
    '[MQTT5-3.8.3-4] No Local on a shared subscription',
    5,
    packet(0x82, 0, 1, 0, '$share/g/a', 4),
    0x82,
  ],
  ['[MQTT5-3.8.3-5] reserved subscription options', 5, packet(0x82, 0, 1, 0, 'a', 0x80), 0x81],
  ['[MQTT-3.8.3-4] reserved bits behind a filter', 4, packet(0x82, 0, 1, 'a', 0x04), 0],
  ['[MQTT-3.8.3-4] QoS 3 behind a filter', 4, packet(0x82, 0, 1, 'a', 3), 0],
  ['[MQTT5-3.10.3-2] UNSUBSCRIBE without a filter', 5, packet(0xa2, 0, 1, 0), 0x82],
  ['[MQTT-3.10.3-2] UNSUBSCRIBE without a filter', 4, packet(0xa2, 0, 1), 0],
  ['[MQTT5-3.14.2-1] DISCONNECT with a code of the server', 5, packet(0xe0, 0x8e), 0x82],
  [
    '[MQTT5-3.15.2-1] AUTH with a code of the server',
    5,
    packet(0xf0, 0, properties([0x15, 'm'])),
    0x82,
  ],
  ['[MQTT5-4.7.1-1] # in the middle', 5, packet(0x82, 0, 1, 0, 'a/#/b', 0), 0x8f],
  ['[MQTT5-4.7.1-1] # behind a name', 5, packet(0x82, 0, 1, 0, 'a#', 0), 0x8f],
  ['[MQTT5-4.7.1-2] + behind a name', 5, packet(0x82, 0, 1, 0, 'a+', 0), 0x8f],
  ['[MQTT-4.7.1-2] # in the middle', 4, packet(0x82, 0, 1, '#/b', 0), 0],
  ['[MQTT-4.7.1-2] # behind a name', 4, packet(0x82, 0, 1, 'a/b#', 0), 0],
  ['[MQTT-4.7.1-3] + before a name', 4, packet(0x82, 0, 1, '+a', 0), 0],
  ['[MQTT5-4.7.3-1] an empty filter', 5, packet(0x82, 0, 1, 0, '', 0), 0x8f],
  ['[MQTT5-4.7.3-1] an empty topic', 5, packet(0x30, '', none), 0x82],
  ['[MQTT-4.7.3-1] an empty filter', 4, packet(0x82, 0, 1, '', 0), 0],
  ['[MQTT-4.7.3-1] an empty topic', 4, packet(0x30, ''), 0],
  [
    '[MQTT5-4.8.2-1] a shared filter without a name',
    5,
    packet(0x82, 0, 1, 0, '$share//a', 0),
    0x8f,
  ],
  ['[MQTT5-4.8.2-2] a share name with +', 5, packet(0x82, 0, 1, 0, '$share/g+/a', 0), 0x8f],
  ['[MQTT5-4.8.2-2] a share name without a filter', 5, packet(0x82, 0, 1, 0, '$share/g', 0), 0x8f],
  [
    '[MQTT5-4.12.0-7] AUTH of a client that named no method',
    5,
    packet(0xf0, 0x18, properties([0x15, 'm'])),
    0x82,
  ],
  ['[MQTT-4.8.0-1] a packet of the server', 4, packet(0xd0), 0],
];

describe('a client that breaks the protocol is told and closed', () => {
  it.each(withinRows)('%s, version %i', async (_title, version, data, reasonCode) => {
    expect(await endOf(version, data)).toBe(reasonCode);
  });

  /** The lower four bits of each packet type that the specification lists. [MQTT5 section 2.1.3] */
  const flagRows = [
    ['[MQTT5-3.6.1-1, MQTT-3.6.1-1] PUBREL', packet(0x60, 0, 1)],
    ['[MQTT5-3.8.1-1, MQTT-3.8.1-1] SUBSCRIBE', packet(0x80, 0, 1, 'a', 0)],
    ['[MQTT5-3.10.1-1, MQTT-3.10.1-1] UNSUBSCRIBE', packet(0xa0, 0, 1, 'a')],
    ['[MQTT5-3.14.1-1, MQTT-3.14.1-1] DISCONNECT', packet(0xe1)],
    ['[MQTT5-3.15.1-1] AUTH', packet(0xf2, 0x18, properties([0x15, 'm']))],
    ['[MQTT5-2.1.3-1, MQTT-2.2.2-1, -2.2.2-2] PUBACK', packet(0x41, 0, 1)],
    ['[MQTT5-2.1.3-1, MQTT-2.2.2-1, -2.2.2-2] PUBREC', packet(0x52, 0, 1)],
    ['[MQTT5-2.1.3-1, MQTT-2.2.2-1, -2.2.2-2] PUBCOMP', packet(0x78, 0, 1)],
    ['[MQTT5-2.1.3-1, MQTT-2.2.2-1, -2.2.2-2] PINGREQ', packet(0xc1)],
  ] as const;
  it.each(flagRows)('reserved flags: %s', async (_title, data) => {
    expect(await endOf(5, data)).toBe(0x81);
    expect(await endOf(4, data)).toBe(0);
  });
});

/** [MQTT5-4.7.3-3] cannot be broken: the length of a text has two bytes. */
describe('the longest names and filters', () => {
  it.each([4, 5] as const)(
    '[MQTT5-4.7.3-3, MQTT-4.7.3-3] of 65,535 bytes are served, version %i',
    async (version) => {
      const client = await rig.connect({ version, clientId: `long-${version}` });
      const name = 'x'.repeat(65_535);
      expect(await client.subscribe(name, { qos: 1 })).toBe(1);
      await client.publishAcked(name, 'long');
      expect((await client.pick('publish')).topic).toBe(name);
    },
  );
});

describe('text', () => {
  it.each([4, 5] as const)(
    '[MQTT5-1.5.4-3, MQTT-1.5.3-3] a byte order mark stays where it stands, version %i',
    async (version) => {
      const client = await rig.connect({ version, clientId: `mark-${version}` });
      await client.subscribe('\uFEFFmark', { qos: 1 });
      await client.publishAcked('mark', 'without');
      await client.publishAcked('\uFEFFmark', 'with');
      const got = await client.pick('publish');
      expect([got.topic, String(got.payload)]).toEqual(['\uFEFFmark', 'with']);
    },
  );
});

/** Sends `data` over a connection that has its CONNACK: the reason of the DISCONNECT, 0 when there was none. */
async function endOf(version: 3 | 4 | 5, data: Buffer): Promise<number> {
  const client = await rig.connect({ version, clientId: 'breaks-it' });
  client.write(data);
  await client.closed;
  const told = await client.receive().catch(() => undefined);
  return told?.cmd === 'disconnect' ? (told.reasonCode ?? 0) : 0;
}
