import { describe, expect, it } from 'vitest';
import {
  decodeReservedHeader,
  encodeReservedHeader,
  isReservedHeader,
  isReservedHeaderAt,
  reservedHeaderAt,
  reservedHeaders,
} from './reserved-headers.ts';

describe('reserved header names', () => {
  it('are those of the table and everything below amqp.', () => {
    for (const name of Object.keys(reservedHeaders)) expect(isReservedHeader(name)).toBe(true);
    expect(isReservedHeader('amqp.anything')).toBe(true);
    for (const name of ['mqtt.other', 'Content-Type', 'amqp', 'toString', '', 'mqtt.qo']) {
      expect(isReservedHeader(name)).toBe(false);
    }
  });

  it('are found in bytes without a string', () => {
    for (const name of [...Object.keys(reservedHeaders), 'amqp.anything', 'mqtt.qo_', 'x', '']) {
      const bytes = Buffer.from(`>>${name}<<`);
      const end = 2 + name.length;
      expect(isReservedHeaderAt(bytes, 2, end)).toBe(isReservedHeader(name));
      expect(reservedHeaderAt(bytes, 2, end)).toBe(
        Object.hasOwn(reservedHeaders, name) ? name : undefined,
      );
    }
  });
});

describe('reserved header values', () => {
  it('come back as they went', () => {
    const qos = encodeReservedHeader('mqtt.qos', 2);
    expect(qos).toEqual(Buffer.from([2]));
    expect(decodeReservedHeader('mqtt.qos', qos, 0, 1)).toBe(2);
    const expiry = encodeReservedHeader('message-expiry', 0xffffffff * 1000);
    expect(decodeReservedHeader('message-expiry', expiry, 0, 8)).toBe(0xffffffff * 1000);
    const type = encodeReservedHeader('content-type', 'text/π');
    expect(decodeReservedHeader('content-type', type, 0, type.length)).toBe('text/π');
    const publisher = encodeReservedHeader('mqtt.publisher', Buffer.from('12345678'));
    expect(decodeReservedHeader('mqtt.publisher', publisher, 0, 8)).toEqual(
      Buffer.from('12345678'),
    );
    expect(decodeReservedHeader('correlation-data', Buffer.alloc(0), 0, 0)).toHaveLength(0);
  });

  const wrong: readonly [name: keyof typeof reservedHeaders, bytes: number[]][] = [
    ['mqtt.qos', []],
    ['mqtt.qos', [3]],
    ['mqtt.qos', [1, 0]],
    ['mqtt.retain', [2]],
    ['mqtt.payload-format', [2]],
    ['mqtt.publisher', [1, 2, 3]],
    ['message-expiry', [0, 0, 0, 1]],
    ['message-expiry', [0xff, 0, 0, 0, 0, 0, 0, 0]],
    ['content-type', [0xc3, 0x28]],
  ];

  it.each(wrong)('%s of wrong type or length is left out: %j', (name, bytes) => {
    expect(decodeReservedHeader(name, Buffer.from(bytes), 0, bytes.length)).toBeUndefined();
  });

  it('a null value is left out', () => {
    expect(decodeReservedHeader('content-type', Buffer.from('x'), -1, -1)).toBeUndefined();
  });

  it('U+FFFD itself is text', () => {
    const bytes = Buffer.from('\ufffd');
    expect(decodeReservedHeader('content-type', bytes, 0, bytes.length)).toBe('\ufffd');
  });
});
