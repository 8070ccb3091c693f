import { describe, expect, it } from 'vitest';
import type { ConnectPacket, ProtocolVersion } from './packet.ts';
import { readUserProperties } from './publish-decoder.ts';
import { bytes, decodeAll, packet, type Part, properties, samples } from './test-packets.ts';

type Row = [name: string, version: ProtocolVersion | undefined, data: Buffer, reason: number];

function connect5(flags: number, section: Buffer, ...rest: Part[]): Buffer {
  return packet(0x10, 'MQTT', 5, flags, 0, 60, section, ...rest);
}

function publish5(...parts: Part[]): Buffer {
  return packet(0x30, 'a', properties(...parts), 0x78);
}

const none = properties();
const surrogate = Buffer.of(0, 3, 0xed, 0xa0, 0x80);
const overlong = Buffer.of(0, 2, 0xc0, 0xaf);
const nul = Buffer.of(0, 3, 0x61, 0, 0x62);

const connectFaults: Row[] = [
  ['[MQTT5-3.1.0-1] the first packet is no CONNECT', undefined, packet(0xc0), 0x82],
  ['[MQTT5-3.1.0-2] a second CONNECT', 5, packet(0x10, 'MQTT', 5, 2, 0, 0, 0, 'c'), 0x82],
  ['[MQTT5-3.1.2-1] protocol name', undefined, packet(0x10, 'MQTX', 5, 2, 0, 0, 0, 'c'), 0x84],
  ['[MQTT5-3.1.2-2] version 6', undefined, packet(0x10, 'MQTT', 6, 2, 0, 0, 0, 'c'), 0x84],
  ['[MQTT-3.1.2-2] version 3 of MQTT', undefined, packet(0x10, 'MQTT', 3, 2, 0, 0, 'c'), 0x84],
  ['[MQTT-3.1.2-2] bridge bit', undefined, packet(0x10, 'MQTT', 0x84, 2, 0, 0, 'c'), 0x84],
  ['[MQTT-3.1.2-2] MQIsdp 4', undefined, packet(0x10, 'MQIsdp', 4, 2, 0, 0, 'c'), 0x84],
  ['[MQTT5-3.1.2-3] reserved flag', undefined, connect5(0x03, none, 'c'), 0x81],
  ['[MQTT5-3.1.2-11] will QoS without will', undefined, connect5(0x0a, none, 'c'), 0x82],
  ['[MQTT5-3.1.2-12] will QoS 3', undefined, connect5(0x1e, none, 'c', none, 'w', 'p'), 0x81],
  ['[MQTT5-3.1.2-13] will retain without will', undefined, connect5(0x22, none, 'c'), 0x82],
  [
    '[MQTT-3.1.2-22] password without user name',
    undefined,
    packet(0x10, 'MQTT', 4, 0x42, 0, 0, 'c', 'pw'),
    0x82,
  ],
  ['[MQTT-3.1.3-8] empty id', undefined, packet(0x10, 'MQTT', 4, 0, 0, 0, ''), 0x85],
  ['MQTT 3.1 empty id', undefined, packet(0x10, 'MQIsdp', 3, 2, 0, 0, ''), 0x85],
  ['[MQTT5-1.5.4-1] id with surrogate', undefined, connect5(2, none, surrogate), 0x81],
  ['[MQTT5-1.5.4-1] user name overlong', undefined, connect5(0x82, none, 'c', overlong), 0x81],
  ['[MQTT5-1.5.4-2] id with U+0000', undefined, connect5(2, none, nul), 0x81],
  ['[MQTT5-1.5.4-2] NUL in a will topic', undefined, connect5(6, none, 'c', none, nul, 'p'), 0x81],
  ['will topic with wildcard', undefined, connect5(6, none, 'c', none, 'w/#', 'p'), 0x90],
  ['[MQTT5-4.7.3-1] empty will topic', undefined, connect5(6, none, 'c', none, '', 'p'), 0x90],
  ['bytes behind the end', undefined, connect5(2, none, 'c', 0), 0x81],
  ['password missing', undefined, connect5(0xc2, none, 'c', 'u'), 0x81],
  ['keep alive cut off', undefined, packet(0x10, 'MQTT', 5, 2, 0), 0x81],
  ['receive maximum 0', undefined, connect5(2, properties([0x21, 0, 0]), 'c'), 0x82],
  ['maximum packet size 0', undefined, connect5(2, properties([0x27, 0, 0, 0, 0]), 'c'), 0x82],
  ['request problem information 2', undefined, connect5(2, properties([0x17, 2]), 'c'), 0x82],
  ['request response information 2', undefined, connect5(2, properties([0x19, 2]), 'c'), 0x82],
  ['duplicate', undefined, connect5(2, properties([0x21, 0, 1], [0x21, 0, 1]), 'c'), 0x82],
  ['unknown property', undefined, connect5(2, properties([0x04, 0]), 'c'), 0x81],
  ['foreign property', undefined, connect5(2, properties([0x23, 0, 1]), 'c'), 0x81],
  ['will property in CONNECT', undefined, connect5(2, properties([0x18, 0, 0, 0, 1]), 'c'), 0x81],
  ['auth data without method', undefined, connect5(2, properties([0x16, 'd']), 'c'), 0x82],
  ['properties beyond the packet', undefined, connect5(2, Buffer.of(0x7f), 'c'), 0x81],
  ['property beyond the section', undefined, connect5(2, Buffer.of(2, 0x21, 0), 'c'), 0x81],
  ['long property length', undefined, connect5(2, Buffer.of(0x80, 0), 'c'), 0x81],
  ['will payload format 2', undefined, connect5(6, none, 'c', properties([1, 2]), 'w', 'p'), 0x82],
];

const publishFaults: Row[] = [
  ['[MQTT5-3.3.1-4] QoS 3', 5, packet(0x36, 'a', 0, 1, 0), 0x81],
  ['[MQTT5-3.3.1-2] DUP with QoS 0', 4, packet(0x38, 'a'), 0x82],
  ['[MQTT5-2.2.1-3] packet id 0', 4, packet(0x32, 'a', 0, 0), 0x82],
  ['[MQTT5-3.3.2-2] wildcard +', 4, packet(0x30, 'a/+'), 0x90],
  ['[MQTT5-3.3.2-2] wildcard #', 5, packet(0x30, '#', 0), 0x90],
  ['[MQTT5-4.7.3-1] empty topic before MQTT 5', 4, packet(0x30, ''), 0x90],
  ['[MQTT5-3.3.2.1] empty topic without alias', 5, packet(0x30, '', 0, 0x78), 0x82],
  ['[MQTT5-1.5.4-1] surrogate in the topic', 5, packet(0x30, surrogate, 0), 0x81],
  ['[MQTT5-1.5.4-1] overlong in the topic', 4, packet(0x30, overlong), 0x81],
  ['[MQTT5-1.5.4-2] U+0000 in the topic', 4, packet(0x30, nul), 0x81],
  ['topic cut off', 4, packet(0x30, 0, 5, 0x61), 0x81],
  ['no topic length', 4, packet(0x30, 0), 0x81],
  ['packet id cut off', 4, packet(0x32, 'a', 0), 0x81],
  ['no properties', 5, packet(0x30, 'a'), 0x81],
  ['properties beyond the packet', 5, packet(0x30, 'a', 9), 0x81],
  ['[MQTT5-1.5.5-1] long property length', 5, packet(0x30, 'a', 0x80, 0), 0x81],
  ['[MQTT5-3.3.2-8] alias 0', 5, publish5([0x23, 0, 0]), 0x94],
  ['two aliases', 5, publish5([0x23, 0, 1], [0x23, 0, 1]), 0x82],
  ['[MQTT5-3.3.4-6] subscription identifier', 5, publish5([0x0b, 1]), 0x82],
  ['[MQTT5-3.3.2-14] response topic with wildcard', 5, publish5([0x08, 'a/+']), 0x82],
  ['payload format 2', 5, publish5([0x01, 2]), 0x82],
  ['two payload formats', 5, publish5([0x01, 0], [0x01, 0]), 0x82],
  ['two expiries', 5, publish5([0x02, 0, 0, 0, 0], [0x02, 0, 0, 0, 0]), 0x82],
  ['two content types', 5, publish5([0x03, ''], [0x03, '']), 0x82],
  ['two response topics', 5, publish5([0x08, 'a'], [0x08, 'a']), 0x82],
  ['two correlations', 5, publish5([0x09, ''], [0x09, '']), 0x82],
  ['content type ill-formed', 5, publish5([0x03, surrogate]), 0x81],
  ['user property name with NUL', 5, publish5([0x26, nul, 'v']), 0x81],
  ['user property value ill-formed', 5, publish5([0x26, 'n', overlong]), 0x81],
  ['user property without value', 5, publish5([0x26, 'n']), 0x81],
  ['unknown property', 5, publish5([0x7e, 0]), 0x81],
  ['foreign property', 5, publish5([0x21, 0, 1]), 0x81],
  ['long property identifier', 5, publish5([0x81, 0x00, 1]), 0x81],
  [
    'too many user properties',
    5,
    publish5(Array.from({ length: 65 }, () => [0x26, 'n', 'v'])),
    0x97,
  ],
  ['too many levels', 4, packet(0x30, 'a/'.repeat(128)), 0x90],
];

const ackFaults: Row[] = [
  ['[MQTT5-2.2.1-3] packet id 0', 4, packet(0x40, 0, 0), 0x82],
  ['too short', 4, packet(0x40, 1), 0x81],
  ['too long before MQTT 5', 4, packet(0x40, 0, 1, 0), 0x81],
  ['[MQTT5-3.4.2-1] unknown reason', 5, packet(0x40, 0, 1, 0x92), 0x82],
  ['[MQTT5-3.6.2-1] unknown reason', 5, packet(0x62, 0, 1, 0x80), 0x82],
  ['foreign property', 5, packet(0x50, 0, 1, 0, properties([0x11, 0, 0, 0, 0])), 0x81],
  ['two reasons', 5, packet(0x70, 0, 1, 0, properties([0x1f, 'a'], [0x1f, 'a'])), 0x82],
  ['bytes behind the properties', 5, packet(0x40, 0, 1, 0, 0, 0), 0x81],
];

const subscribeFaults: Row[] = [
  ['[MQTT5-2.2.1-3] packet id 0', 4, packet(0x82, 0, 0, 'a', 0), 0x82],
  ['[MQTT5-3.8.3-2] no subscription', 5, packet(0x82, 0, 1, 0), 0x82],
  ['[MQTT5-3.8.3-2] no subscription, 3.1.1', 4, packet(0x82, 0, 1), 0x82],
  ['[MQTT5-3.8.3-5] reserved bits', 5, packet(0x82, 0, 1, 0, 'a', 0x40), 0x81],
  ['[MQTT-3.8.3-4] reserved bits', 4, packet(0x82, 0, 1, 'a', 0x04), 0x81],
  ['[MQTT-3.8.3-4] QoS 3', 4, packet(0x82, 0, 1, 'a', 3), 0x81],
  ['QoS 3', 5, packet(0x82, 0, 1, 0, 'a', 3), 0x82],
  ['retain handling 3', 5, packet(0x82, 0, 1, 0, 'a', 0x30), 0x82],
  ['[MQTT5-3.8.3-4] No Local and shared', 5, packet(0x82, 0, 1, 0, '$share/g/a', 4), 0x82],
  ['[MQTT5-4.7.3-1] empty filter', 5, packet(0x82, 0, 1, 0, '', 0), 0x8f],
  ['[MQTT5-4.7.1-1] a/#/b', 5, packet(0x82, 0, 1, 0, 'a/#/b', 0), 0x8f],
  ['[MQTT5-4.7.1-2] a+', 4, packet(0x82, 0, 1, 'a+', 0), 0x8f],
  ['[MQTT5-4.8.2-1] no group', 5, packet(0x82, 0, 1, 0, '$share//a', 0), 0x8f],
  ['[MQTT5-4.8.2-2] no filter', 5, packet(0x82, 0, 1, 0, '$share/g', 0), 0x8f],
  ['[MQTT5-1.5.4-1] ill-formed filter', 5, packet(0x82, 0, 1, 0, surrogate, 0), 0x81],
  ['no options', 5, packet(0x82, 0, 1, 0, 'a'), 0x81],
  ['subscription identifier 0', 5, packet(0x82, 0, 1, 2, 0x0b, 0, 'a', 0), 0x82],
  ['two identifiers', 5, packet(0x82, 0, 1, 4, [0x0b, 1, 0x0b, 1], 'a', 0), 0x82],
  ['foreign property', 5, packet(0x82, 0, 1, properties([0x1f, 'r']), 'a', 0), 0x81],
  ['[MQTT5-3.10.3-2] no filter', 5, packet(0xa2, 0, 1, 0), 0x82],
  ['UNSUBSCRIBE packet id 0', 4, packet(0xa2, 0, 0, 'a'), 0x82],
  ['UNSUBSCRIBE bad filter', 4, packet(0xa2, 0, 1, 'a/#/b'), 0x8f],
  ['UNSUBSCRIBE cut off', 4, packet(0xa2, 0, 1, 0, 3, 0x61), 0x81],
];

const otherFaults: Row[] = [
  ['PINGREQ with a body', 4, packet(0xc0, 0), 0x81],
  ['DISCONNECT 3.1.1 with a body', 4, packet(0xe0, 0), 0x81],
  ['[MQTT5-3.14.2-1] the server’s reason', 5, packet(0xe0, 0x8e), 0x82],
  ['DISCONNECT server reference', 5, packet(0xe0, 0, properties([0x1c, 's'])), 0x82],
  ['DISCONNECT trailing', 5, packet(0xe0, 0, 0, 0), 0x81],
  ['[MQTT5-3.15.2-1] AUTH Success', 5, packet(0xf0, 0, properties([0x15, 'm'])), 0x82],
  ['[MQTT5-3.15.2-1] AUTH empty', 5, packet(0xf0), 0x82],
  ['AUTH without method', 5, packet(0xf0, 0x18, 0), 0x82],
  ['AUTH without properties', 5, packet(0xf0, 0x18), 0x81],
  ['CONNACK', 5, packet(0x20, 0, 0, 0), 0x82],
  ['SUBACK', 4, packet(0x90, 0, 1, 0), 0x82],
  ['UNSUBACK', 4, packet(0xb0, 0, 1), 0x82],
  ['PINGRESP', 4, packet(0xd0), 0x82],
];

describe('PacketDecoder refuses', () => {
  it.each(connectFaults)('CONNECT: %s', expectFault);
  it.each(publishFaults)('PUBLISH: %s', expectFault);
  it.each(ackFaults)('acknowledgement: %s', expectFault);
  it.each(subscribeFaults)('SUBSCRIBE, UNSUBSCRIBE: %s', expectFault);
  it.each(otherFaults)('%s', expectFault);

  function expectFault(
    name: string,
    version: ProtocolVersion | undefined,
    data: Buffer,
    reasonCode: number,
  ): void {
    const [answer] = decodeAll(data, version);
    expect(answer).toMatchObject({ kind: 'fault', reasonCode });
    const clause = /^\[(MQTT[\d.-]+)\]/.exec(name)?.[1];
    if (clause !== undefined) expect(answer).toMatchObject({ clause });
  }
});

describe('a fault in a CONNECT says how it is answered', () => {
  it.each([
    ['MQTT 5', packet(0x10, 'MQTT', 5, 3, 0, 0, 0, 'c'), 5, undefined],
    ['MQTT 3.1.1, malformed: silently', packet(0x10, 'MQTT', 4, 3, 0, 0, 'c'), 4, undefined],
    ['MQTT 3.1.1, identifier', packet(0x10, 'MQTT', 4, 0, 0, 0, ''), 4, 2],
    ['a bridge of 3.1.1', packet(0x10, 'MQTT', 0x84, 0, 0, 0, ''), 4, 1],
    ['older than 3.1.1', packet(0x10, 'MQTT', 2, 0, 0, 0, ''), 4, 1],
    ['newer than 5', packet(0x10, 'MQTT', 9, 0, 0, 0, ''), 5, 1],
    ['MQIsdp', packet(0x10, 'MQIsdp', 9, 0, 0, 0, ''), 3, 1],
    ['no MQTT at all', packet(0x10, 'HTTP', 5, 0, 0, 0, ''), undefined, 1],
  ])('%s', (_, data, answerVersion, connackCode) => {
    expect(decodeAll(data, undefined)).toMatchObject([
      { kind: 'fault', answerVersion, connackCode },
    ]);
  });
});

function sampleOf(name: string): { kind: string } {
  const sample = samples.find((candidate) => candidate.name === name);
  if (sample === undefined) throw new Error(`no sample ${name}`);
  const [decoded] = decodeAll(sample.bytes, sample.version);
  if (decoded === undefined) throw new Error(`${name} is incomplete`);
  return decoded;
}

describe('PacketDecoder reads', () => {
  it.each(samples.map((sample) => sample.name))('%s without a fault', (name) => {
    expect(sampleOf(name).kind).toBe(name.split(' ')[0]?.toLowerCase());
  });

  it('every field of a CONNECT of MQTT 5, user properties in order', () => {
    expect(sampleOf('CONNECT 5 with everything')).toEqual({
      kind: 'connect',
      protocolVersion: 5,
      cleanStart: true,
      keepAliveSeconds: 256,
      clientId: 'c3',
      will: {
        topic: 'will/ü',
        payload: Buffer.from('gone'),
        qos: 2,
        retain: true,
        delaySeconds: 5,
        payloadFormat: 1,
        messageExpirySeconds: 9,
        contentType: 'text/plain',
        responseTopic: 'answers/1',
        correlationData: Buffer.from('corr'),
        userProperties: [
          { name: '2', value: 'z' },
          { name: '1', value: 'y' },
        ],
      },
      userName: 'user',
      password: Buffer.of(0, 0xff),
      sessionExpirySeconds: 60,
      receiveMaximum: 10,
      packetBytesMax: 4096,
      topicAliasMaximum: 5,
      requestResponseInformation: true,
      requestProblemInformation: false,
      authenticationMethod: 'SCRAM-SHA-256',
      authenticationData: Buffer.from('n,,n=u'),
      userProperties: [
        { name: 'b', value: '1' },
        { name: 'a', value: '2' },
        { name: 'b', value: '' },
      ],
    });
  });

  it('the defaults of MQTT 5 into a bare CONNECT', () => {
    expect(sampleOf('CONNECT 5 bare')).toMatchObject({
      clientId: '',
      will: undefined,
      userName: undefined,
      password: undefined,
      sessionExpirySeconds: 0,
      receiveMaximum: 65_535,
      packetBytesMax: 268_435_460,
      topicAliasMaximum: 0,
      requestResponseInformation: false,
      requestProblemInformation: true,
      authenticationMethod: undefined,
    });
  });

  it('CleanSession 0 as a session that never expires', () => {
    expect(sampleOf('CONNECT 3.1.1 with will')).toMatchObject({
      protocolVersion: 4,
      cleanStart: false,
      sessionExpirySeconds: 0xffffffff,
      will: { topic: 'will/topic', qos: 1, retain: true, payload: Buffer.from('gone') },
    });
    expect(sampleOf('CONNECT 3.1')).toMatchObject({
      protocolVersion: 3,
      cleanStart: true,
      sessionExpirySeconds: 0,
      userName: 'user',
      password: Buffer.from('pass'),
    });
  });

  it('a CONNECT of MQTT 3.1 whose user name and password are missing', () => {
    const data = packet(0x10, 'MQIsdp', 3, 0xc2, 0, 30, 'c1');
    expect(decodeAll(data, undefined)).toMatchObject([
      { kind: 'connect', clientId: 'c1', userName: undefined, password: undefined },
    ]);
    const withName = packet(0x10, 'MQIsdp', 3, 0xc2, 0, 30, 'c1', 'u');
    expect(decodeAll(withName, undefined)).toMatchObject([
      { kind: 'connect', userName: 'u', password: undefined },
    ]);
  });

  it('a password without a user name in MQTT 5', () => {
    const [decoded] = decodeAll(connect5(0x42, none, 'c', 'pw'), undefined);
    expect(decoded).toMatchObject({ userName: undefined, password: Buffer.from('pw') });
  });

  it('buffers of a CONNECT that do not share the chunk', () => {
    const data = connect5(0xc6, none, 'c', none, 'w', 'payload', 'u', 'secret');
    const [decoded] = decodeAll(data, undefined);
    data.fill(0);
    const { password, will } = decoded as ConnectPacket;
    expect(password?.toString()).toBe('secret');
    expect(will?.payload.toString()).toBe('payload');
    expect(password?.buffer.byteLength).toBe(6);
    expect(will?.payload.buffer.byteLength).toBe(7);
  });

  it('every field of a PUBLISH of MQTT 5 as positions', () => {
    const [decoded] = decodeAll(
      samples.find((sample) => sample.name === 'PUBLISH 5 with everything')?.bytes ?? bytes(),
      5,
    );
    if (decoded?.kind !== 'publish') throw new Error('no PUBLISH');
    const text = (start: number, end: number): string =>
      decoded.buffer.toString('utf8', start, end);
    expect(decoded).toMatchObject({ qos: 1, dup: false, retain: false, packetId: 0x0102 });
    expect(decoded).toMatchObject({ topicAlias: 3, payloadFormat: 1, messageExpiry: 0xffffffff });
    expect(text(decoded.topicStart, decoded.topicEnd)).toBe('länge/b');
    expect(text(decoded.contentTypeStart, decoded.contentTypeEnd)).toBe('text/plain');
    expect(text(decoded.responseTopicStart, decoded.responseTopicEnd)).toBe('antwort/ä');
    expect(text(decoded.correlationDataStart, decoded.correlationDataEnd)).toBe('corr');
    expect(text(decoded.payloadStart, decoded.payloadEnd)).toBe('21.5');
    expect(readUserProperties(decoded)).toEqual([
      { name: 'b', value: '1' },
      { name: 'a', value: 'ü' },
      { name: 'b', value: '' },
    ]);
  });

  it('a PUBLISH anew: nothing of the one before is left', () => {
    const all = samples.filter((sample) => sample.name.startsWith('PUBLISH 5'));
    const decoded = decodeAll(Buffer.concat(all.map((sample) => sample.bytes)), 5);
    expect(decoded[2]).toMatchObject({
      topicAlias: 1,
      packetId: 0,
      payloadFormat: -1,
      messageExpiry: -1,
      contentTypeEnd: 0,
      responseTopicEnd: 0,
      correlationDataEnd: 0,
      userPropertyCount: 0,
    });
  });

  it('SUBSCRIBE with its options', () => {
    expect(sampleOf('SUBSCRIBE 5')).toEqual({
      kind: 'subscribe',
      packetId: 1,
      subscriptionId: 128,
      userProperties: [{ name: 'k', value: 'v' }],
      subscriptions: [
        { filter: 'a/+/c', qos: 2, noLocal: true, retainAsPublished: true, retainHandling: 2 },
        {
          filter: '$share/g/b/#',
          qos: 2,
          noLocal: false,
          retainAsPublished: false,
          retainHandling: 1,
        },
      ],
    });
    expect(sampleOf('SUBSCRIBE 3.1 DUP')).toMatchObject({
      subscriptions: [{ filter: 'a/#', qos: 2, noLocal: false, retainHandling: 0 }],
      subscriptionId: undefined,
    });
  });

  it('UNSUBSCRIBE, DISCONNECT and AUTH', () => {
    expect(sampleOf('UNSUBSCRIBE 3.1.1')).toEqual({
      kind: 'unsubscribe',
      packetId: 2,
      filters: ['a/+', 'b'],
      userProperties: [],
    });
    expect(sampleOf('DISCONNECT 5 explained')).toEqual({
      kind: 'disconnect',
      reasonCode: 0,
      sessionExpirySeconds: 9,
      reasonString: 'bye',
      userProperties: [{ name: 'k', value: 'v' }],
    });
    expect(sampleOf('AUTH 5')).toEqual({
      kind: 'auth',
      reasonCode: 0x18,
      authenticationMethod: 'SCRAM-SHA-256',
      authenticationData: Buffer.from('c=biws'),
      reasonString: undefined,
      userProperties: [],
    });
  });

  it('acknowledgements with and without a reason', () => {
    expect(sampleOf('PUBREC 5 explained')).toEqual({
      kind: 'pubrec',
      packetId: 7,
      reasonCode: 0x97,
    });
    expect(sampleOf('PUBCOMP 5')).toEqual({ kind: 'pubcomp', packetId: 7, reasonCode: 0 });
  });
});
