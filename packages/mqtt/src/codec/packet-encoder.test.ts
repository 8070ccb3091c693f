import { describe, expect, it } from 'vitest';
import {
  encodeAck,
  encodeAuth,
  encodeConnack,
  encodeDisconnect,
  encodePingresp,
  encodeSuback,
  encodeUnsuback,
  type Receiver,
} from './control-encoder.ts';
import { PacketWriter } from './packet-writer.ts';
import {
  encodePublish,
  patchDup,
  patchPacketId,
  type PublishSpec,
  publishSize,
} from './publish-encoder.ts';
import { ReasonCode } from './reason-code.ts';
import { packet, properties } from './test-packets.ts';

const v4: Receiver = { version: 4, packetBytesMax: 268_435_460 };
const v5: Receiver = { version: 5, packetBytesMax: 268_435_460 };
const small: Receiver = { version: 5, packetBytesMax: 30 };

function written(encode: (writer: PacketWriter) => void): Buffer {
  const writer = new PacketWriter();
  encode(writer);
  return writer.take();
}

function message(changes: Partial<PublishSpec> = {}): PublishSpec {
  return {
    topic: 'a/b',
    payload: Buffer.from('21.5'),
    qos: 0,
    retain: false,
    dup: false,
    packetId: 0,
    topicAlias: 0,
    subscriptionIds: [],
    properties: undefined,
    ...changes,
  };
}

describe('encodePublish', () => {
  it('golden: QoS 0 of MQTT 3.1.1', () => {
    const bytes = written((writer) => encodePublish(writer, 4, message()));
    expect(bytes.toString('hex')).toBe('30090003612f6232312e35');
  });

  it('golden: everything of MQTT 5', () => {
    const spec = message({
      qos: 2,
      retain: true,
      dup: true,
      packetId: 0x1234,
      topic: Buffer.from('a'),
      topicAlias: 2,
      subscriptionIds: [1, 200],
      properties: {
        payloadFormat: 1,
        messageExpirySeconds: 9,
        contentType: 't',
        responseTopic: 'r',
        correlationData: Buffer.of(0xff),
        userProperties: [
          { name: 'k', value: Buffer.from('v') },
          { name: 'k', value: '' },
        ],
      },
    });
    const section = properties(
      [0x23, 0, 2],
      [0x0b, 1, 0x0b, 0xc8, 0x01],
      [0x01, 1],
      [0x02, 0, 0, 0, 9],
      [0x03, 't', 0x08, 'r', 0x09, Buffer.of(0, 1, 0xff)],
      [0x26, 'k', 'v', 0x26, 'k', ''],
    );
    const wanted = packet(0x3d, 'a', 0x12, 0x34, section, Buffer.from('21.5'));
    expect(written((writer) => encodePublish(writer, 5, spec))).toEqual(wanted);
    expect(publishSize(5, spec)).toBe(wanted.length);
  });

  it('leaves out before MQTT 5 what only MQTT 5 knows', () => {
    const spec = message({ topicAlias: 1, subscriptionIds: [1] });
    expect(written((writer) => encodePublish(writer, 3, spec))).toEqual(
      written((writer) => encodePublish(writer, 4, message())),
    );
  });

  it.each([
    [4, 1],
    [5, 1],
    [5, 2],
  ] as const)('one encoding serves many packet ids: version %i, QoS %i', (version, qos) => {
    const writer = new PacketWriter();
    writer.byte(0xc0);
    const start = writer.length;
    const at = encodePublish(writer, version, message({ qos }));
    const copy = Buffer.from(writer.take());
    patchPacketId(copy, start, at, 0xabcd);
    patchDup(copy, start);
    const direct = message({ qos, packetId: 0xabcd, dup: true });
    expect(copy.subarray(1)).toEqual(written((other) => encodePublish(other, version, direct)));
  });

  it('says the size before encoding, at each length of the length', () => {
    for (const length of [0, 116, 117, 118, 130, 16_370, 16_380, 2_097_150]) {
      for (const version of [4, 5] as const) {
        const spec = message({ payload: Buffer.alloc(length) });
        const bytes = written((writer) => encodePublish(writer, version, spec));
        expect(publishSize(version, spec)).toBe(bytes.length);
      }
    }
  });
});

describe('acknowledgements', () => {
  it.each([
    ['puback', 0x40],
    ['pubrec', 0x50],
    ['pubrel', 0x62],
    ['pubcomp', 0x70],
  ] as const)('golden: %s', (kind, first) => {
    const encode = (receiver: Receiver, reason?: ReasonCode): Buffer =>
      written((writer) => encodeAck(writer, receiver, kind, 0x0102, reason));
    expect(encode(v4)).toEqual(packet(first, 1, 2));
    expect(encode(v4, ReasonCode.quotaExceeded)).toEqual(packet(first, 1, 2));
    expect(encode(v5)).toEqual(packet(first, 1, 2));
    expect(encode(v5, ReasonCode.packetIdentifierNotFound)).toEqual(packet(first, 1, 2, 0x92));
  });

  it('golden: with an explanation', () => {
    const explanation = { reasonString: 'no', userProperties: [{ name: 'k', value: 'v' }] };
    const bytes = written((writer) => encodeAck(writer, v5, 'puback', 7, 0x87, explanation));
    const section = properties([0x1f, 'no'], [0x26, 'k', 'v']);
    expect(bytes).toEqual(packet(0x40, 0, 7, 0x87, section));
  });

  const long = 'x'.repeat(20);
  const pair = [{ name: 'k', value: 'v' }];

  it.each([
    ['[MQTT5-3.4.2-2, -3] PUBACK', 'puback', 0x40],
    ['[MQTT5-3.5.2-2, -3] PUBREC', 'pubrec', 0x50],
    ['[MQTT5-3.6.2-2, -3] PUBREL', 'pubrel', 0x62],
    ['[MQTT5-3.7.2-2, -3] PUBCOMP', 'pubcomp', 0x70],
  ] as const)(
    '%s leaves user properties out first, then the reason string',
    (_title, kind, first) => {
      const encode = (reasonString: string, bytes: number): Buffer =>
        written((writer) =>
          encodeAck(writer, { version: 5, packetBytesMax: bytes }, kind, 7, 0x92, {
            reasonString,
            userProperties: pair,
          }),
        );
      const whole = encode(long, 1000);
      expect(whole.length).toBe(36);
      expect(encode(long, 36)).toEqual(whole);
      const withoutPair = packet(first, 0, 7, 0x92, properties([0x1f, long]));
      expect(encode(long, 35)).toEqual(withoutPair);
      expect(encode(long, withoutPair.length)).toEqual(withoutPair);
      const onlyPair = packet(first, 0, 7, 0x92, properties([0x26, 'k', 'v']));
      expect(encode(long, withoutPair.length - 1)).toEqual(onlyPair);
      expect(encode(long, onlyPair.length - 1)).toEqual(packet(first, 0, 7, 0x92));
    },
  );

  it('are the four bytes again when a success is left without its explanation', () => {
    const bytes = written((writer) =>
      encodeAck(writer, { version: 5, packetBytesMax: 10 }, 'puback', 7, 0, { reasonString: long }),
    );
    expect(bytes).toEqual(packet(0x40, 0, 7));
  });

  it.each([
    ['CONNACK [MQTT5-3.2.2-19, -3.2.2-20]', 0x20, encodeConnackWith],
    ['SUBACK [MQTT5-3.9.2-1, -3.9.2-2]', 0x90, encodeSubackWith],
    ['UNSUBACK [MQTT5-3.11.2-1, -3.11.2-2]', 0xb0, encodeUnsubackWith],
    ['DISCONNECT [MQTT5-3.14.2-3, -3.14.2-4]', 0xe0, encodeDisconnectWith],
    ['AUTH [MQTT5-3.15.2-2, -3.15.2-3]', 0xf0, encodeAuthWith],
  ])('%s stays within the maximum packet size', (_, first, encode) => {
    const explained = { reasonString: long, userProperties: pair };
    const large = written((writer) => encode(writer, v5, explained));
    expect(large.length).toBeGreaterThan(30);
    const fitting = written((writer) => encode(writer, small, explained));
    expect(fitting[0]).toBe(first);
    expect(fitting.length).toBeLessThanOrEqual(30);
    expect(fitting.includes('k')).toBe(!fitting.includes('x'));
  });

  type Explained = { reasonString: string; userProperties: { name: string; value: string }[] };

  function encodeConnackWith(writer: PacketWriter, receiver: Receiver, why: Explained): void {
    encodeConnack(writer, receiver, { sessionPresent: false, reasonCode: 0x87, ...why });
  }
  function encodeSubackWith(writer: PacketWriter, receiver: Receiver, why: Explained): void {
    encodeSuback(writer, receiver, 1, [0x87], why);
  }
  function encodeUnsubackWith(writer: PacketWriter, receiver: Receiver, why: Explained): void {
    encodeUnsuback(writer, receiver, 1, [0x87], why);
  }
  function encodeDisconnectWith(writer: PacketWriter, receiver: Receiver, why: Explained): void {
    encodeDisconnect(writer, receiver, { reasonCode: 0x87, ...why });
  }
  function encodeAuthWith(writer: PacketWriter, receiver: Receiver, why: Explained): void {
    encodeAuth(writer, receiver.packetBytesMax, {
      reasonCode: 0x18,
      authenticationMethod: 'm',
      ...why,
    });
  }
});

describe('other packets', () => {
  it('golden: PINGRESP', () => {
    expect(written(encodePingresp).toString('hex')).toBe('d000');
  });

  it('golden: CONNACK of each version', () => {
    const encode = (receiver: Receiver, reasonCode: ReasonCode): Buffer =>
      written((writer) => encodeConnack(writer, receiver, { sessionPresent: true, reasonCode }));
    expect(encode({ ...v4, version: 3 }, 0).toString('hex')).toBe('20020000');
    expect(encode(v4, 0).toString('hex')).toBe('20020100');
    expect(encode(v5, 0).toString('hex')).toBe('2003010000');
  });

  it('no Session Present with an error [MQTT5-3.2.2-6, MQTT-3.2.2-4]', () => {
    for (const receiver of [v4, v5]) {
      const bytes = written((writer) =>
        encodeConnack(writer, receiver, { sessionPresent: true, reasonCode: 0x87 }),
      );
      expect(bytes[2]).toBe(0);
    }
  });

  it('golden: SUBACK, whose failures are 0x80 before MQTT 5 [MQTT-3.9.3-2]', () => {
    const codes = [0, 2, 0x8f] as const;
    expect(written((writer) => encodeSuback(writer, v5, 1, codes))).toEqual(
      packet(0x90, 0, 1, 0, 0, 2, 0x8f),
    );
    expect(written((writer) => encodeSuback(writer, v4, 1, codes))).toEqual(
      packet(0x90, 0, 1, 0, 2, 0x80),
    );
  });

  it('golden: UNSUBACK, which has no codes before MQTT 5', () => {
    expect(written((writer) => encodeUnsuback(writer, v5, 1, [0x11]))).toEqual(
      packet(0xb0, 0, 1, 0, 0x11),
    );
    expect(written((writer) => encodeUnsuback(writer, v4, 1, [0x11]))).toEqual(packet(0xb0, 0, 1));
  });

  it('DISCONNECT for MQTT 5 only', () => {
    expect(written((writer) => encodeDisconnect(writer, v5, { reasonCode: 0x8e }))).toEqual(
      packet(0xe0, 0x8e, 0),
    );
    expect(written((writer) => encodeDisconnect(writer, v4, { reasonCode: 0x8e }))).toEqual(
      Buffer.alloc(0),
    );
  });
});
