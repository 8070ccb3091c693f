import { HeaderBlock, RecordBatchWriter, RecordCursor } from '@robustmq/record-batch';
import {
  array,
  assert,
  boolean,
  constantFrom,
  integer,
  option,
  property,
  record,
  string,
  tuple,
  uint8Array,
} from 'fast-check';
import { describe, expect, it } from 'vitest';

import type { PublishPacket } from '../codec/packet.ts';
import { packet, type Part, properties } from '../codec/test-packets.ts';
import { PacketFramer } from '../codec/framer.ts';
import { PacketDecoder } from '../codec/packet-decoder.ts';
import {
  HeaderEncoder,
  hasReservedName,
  hasReservedUserProperty,
  storedHeadersOfPublish,
} from './header-encoder.ts';
import { publisherHash } from './publisher-hash.ts';
import { RecordMessage } from './record-message.ts';

const publisher = publisherHash('a client');

/** Decodes one PUBLISH and gives it to `take`, while its buffer is good. */
function decode(bytes: Buffer, take: (publish: PublishPacket) => void): void {
  const decoder = new PacketDecoder();
  let taken = 0;
  const framer = new PacketFramer(
    {
      onFrame(frame) {
        const decoded = decoder.decode(frame, 5);
        if (decoded.kind !== 'publish') throw new Error(JSON.stringify(decoded));
        take(decoded);
        taken++;
        return true;
      },
    },
    1 << 20,
  );
  framer.push(bytes);
  expect(taken).toBe(1);
}

function readBack(headers: HeaderBlock, value: Buffer | null): RecordMessage {
  const writer = new RecordBatchWriter();
  writer.append(1, Buffer.from('key'), value, headers);
  const cursor = new RecordCursor();
  cursor.reset(writer.finish());
  cursor.next();
  const message = new RecordMessage();
  message.read(cursor);
  return message;
}

const text = string({ unit: 'binary', maxLength: 20 }).filter(
  (one) => one.isWellFormed() && !one.includes('\0') && !hasReservedName(one),
);
const fields = record({
  qos: constantFrom(0, 1, 2),
  retain: boolean(),
  payloadFormat: option(constantFrom(0, 1), { nil: undefined }),
  expiry: option(integer({ min: 0, max: 0xffffffff }), { nil: undefined }),
  contentType: option(text, { nil: undefined }),
  responseTopic: option(
    text.filter((one) => one !== '' && !/[+#]/.test(one)),
    { nil: undefined },
  ),
  correlationData: option(uint8Array({ maxLength: 20 }), { nil: undefined }),
  user: array(tuple(text, text), { maxLength: 5 }),
  payload: uint8Array({ minLength: 1, maxLength: 50 }),
});

describe('a PUBLISH as a record', () => {
  it('comes back as it was, also by way of what is stored for QoS 2', () => {
    assert(
      property(fields, (message) => {
        const { qos, retain, payloadFormat, expiry, contentType, responseTopic } = message;
        const data = message.correlationData && Buffer.from(message.correlationData);
        const parts: Part[] = message.user.map(([name, value]) => [0x26, name, value]);
        if (payloadFormat !== undefined) parts.push([0x01, payloadFormat]);
        if (expiry !== undefined) {
          const bytes = Buffer.alloc(4);
          bytes.writeUInt32BE(expiry);
          parts.push([0x02, bytes]);
        }
        if (contentType !== undefined) parts.push([0x03, contentType]);
        if (responseTopic !== undefined) parts.push([0x08, responseTopic]);
        if (data !== undefined) parts.push([0x09, data.length >> 8, data.length & 255, data]);
        const id: Part[] = qos > 0 ? [[0, 7]] : [];
        const first = 0x30 | (qos << 1) | (retain ? 1 : 0);
        const payload = Buffer.from(message.payload);
        decode(packet(first, 't', ...id, properties(...parts), payload), (publish) => {
          const stored = new HeaderBlock();
          stored.addAll(storedHeadersOfPublish(publish, publisher));
          const encoder = new HeaderEncoder(publisher);
          for (const headers of [encoder.encode(publish), stored]) {
            const back = readBack(headers, payload);
            expect(back).toMatchObject({ qos, retain, expiryMs: (expiry ?? -0.001) * 1000 });
            expect(back.isFrom(publisher)).toBe(true);
            expect(back.isFrom(publisherHash('another'))).toBe(false);
            expect(back.value).toEqual(payload);
            expect(back.headersLeftOut).toBe(0);
            const { properties: own } = back;
            expect(own?.payloadFormat).toBe(payloadFormat);
            expect(own?.contentType?.toString()).toBe(contentType);
            expect(own?.responseTopic?.toString()).toBe(responseTopic);
            expect(own?.correlationData).toEqual(data);
            const users = (own?.userProperties ?? []).map(({ name, value }) => [
              name.toString(),
              value.toString(),
            ]);
            expect(users).toEqual(message.user);
          }
        });
      }),
    );
  });

  it('reserved names are found among the user properties', () => {
    const named = (name: string): Buffer => packet(0x30, 't', properties([0x26, name, 'v']));
    for (const [name, isReserved] of [
      ['mqtt.qos', true],
      ['content-type', true],
      ['amqp.priority', true],
      ['mqtt', false],
      ['Content-Type', false],
    ] as const) {
      decode(named(name), (publish) => expect(hasReservedUserProperty(publish)).toBe(isReserved));
      expect(hasReservedName(name)).toBe(isReserved);
    }
  });
});

describe('a record of another protocol', () => {
  const headersOf = (...pairs: [string, Buffer | null][]): HeaderBlock => {
    const block = new HeaderBlock();
    for (const [name, value] of pairs) block.add(Buffer.from(name), value);
    return block;
  };

  it('is delivered at the subscription’s QoS and is from nobody', () => {
    const message = readBack(headersOf(), Buffer.from('x'));
    expect(message).toMatchObject({ qos: -1, retain: false, expiryMs: -1, publisherStart: -1 });
    expect(message.properties).toBeUndefined();
    expect(message.isFrom(publisher)).toBe(false);
  });

  it('with a null value reaches MQTT as an empty message', () => {
    expect(readBack(headersOf(), null).value).toHaveLength(0);
  });

  it('has headers that MQTT cannot spell left out and counted', () => {
    const message = readBack(
      headersOf(
        ['good', Buffer.from('v')],
        ['bytes', Buffer.of(0xff, 0xfe)],
        ['zero', Buffer.from('a\0b')],
        ['null', null],
        ['content-type', Buffer.of(0xc0)],
        ['amqp.whatever', Buffer.from('x')],
      ),
      Buffer.from('x'),
    );
    const names = message.properties?.userProperties.map(({ name }) => name.toString());
    expect(names).toEqual(['good', 'null']);
    expect(message.headersLeftOut).toBe(3);
  });

  it('has reserved headers of a wrong length or value ignored', () => {
    const message = readBack(
      headersOf(
        ['mqtt.qos', Buffer.of(3)],
        ['mqtt.qos', Buffer.of(1, 1)],
        ['mqtt.publisher', Buffer.from('short')],
        ['message-expiry', Buffer.from('soon')],
        ['mqtt.retain', Buffer.from('yes')],
      ),
      Buffer.from('x'),
    );
    expect(message).toMatchObject({ qos: -1, publisherStart: -1, expiryMs: -1, retain: false });
  });
});
