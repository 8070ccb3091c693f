import { assert, unreachable } from '@robustmq/core';

/**
 * How the value of a reserved header is stored. `u8` one byte; `u64` eight bytes, big-endian, at most
 * 2^53 - 1; `bytes` as they are; `bytes8` exactly eight; `text` UTF-8.
 */
export type HeaderEncoding = 'u8' | 'u64' | 'bytes' | 'bytes8' | 'text';

/**
 * The record headers that only brokers write (docs/design.md, section 4); they stand after the
 * user's. A client that sends one of these names is refused, or it is removed.
 */
export const reservedHeaders = {
  /** QoS of the publish: 0, 1 or 2. */
  'mqtt.qos': 'u8',
  /** Sets the retained message of the name (value 1), or clears it when the record's value is null. */
  'mqtt.retain': 'u8',
  /** MQTT 5 payload format indicator: 0 or 1. */
  'mqtt.payload-format': 'u8',
  /** Hash of the publisher's client id, for No Local across brokers. */
  'mqtt.publisher': 'bytes8',
  'content-type': 'text',
  /** MQTT response topic, AMQP reply-to. */
  'response-topic': 'text',
  /** MQTT correlation data, AMQP correlation-id. */
  'correlation-data': 'bytes',
  /** Interval in ms after the leader's append time, on the leader's clock. */
  'message-expiry': 'u64',
  'amqp.content-encoding': 'text',
  'amqp.delivery-mode': 'u8',
  'amqp.priority': 'u8',
  'amqp.message-id': 'text',
  /** Milliseconds since 1970. */
  'amqp.timestamp': 'u64',
  'amqp.type': 'text',
  'amqp.user-id': 'text',
  'amqp.app-id': 'text',
  'amqp.cluster-id': 'text',
} as const satisfies Record<string, HeaderEncoding>;

export type ReservedHeader = keyof typeof reservedHeaders;

/** The typed value of a reserved header. */
export type ReservedValue<Name extends ReservedHeader> = (typeof reservedHeaders)[Name] extends
  | 'u8'
  | 'u64'
  ? number
  : (typeof reservedHeaders)[Name] extends 'text'
    ? string
    : Buffer;

const names = Object.keys(reservedHeaders) as ReservedHeader[];
const nameBytes = new Map<ReservedHeader, Buffer>(names.map((name) => [name, Buffer.from(name)]));
/** By length of the name, so that a header of a user costs one look-up. */
const namesByLength = new Map<number, ReservedHeader[]>();
for (const name of names) {
  namesByLength.set(name.length, [...(namesByLength.get(name.length) ?? []), name]);
}
const amqpPrefix = Buffer.from('amqp.');

/** Whether clients may not send a header of that name: the table, and everything that begins with `amqp.`. */
export function isReservedHeader(name: string): boolean {
  return Object.hasOwn(reservedHeaders, name) || name.startsWith('amqp.');
}

/** {@link isReservedHeader} for a name that stands in `buffer` from `start` to `end`. */
export function isReservedHeaderAt(buffer: Buffer, start: number, end: number): boolean {
  if (reservedHeaderAt(buffer, start, end) !== undefined) return true;
  const prefixEnd = start + amqpPrefix.length;
  return prefixEnd <= end && amqpPrefix.compare(buffer, start, prefixEnd) === 0;
}

/** The row of the table whose name stands in `buffer` from `start` to `end`; undefined for all others. */
export function reservedHeaderAt(
  buffer: Buffer,
  start: number,
  end: number,
): ReservedHeader | undefined {
  const candidates = namesByLength.get(end - start);
  if (candidates === undefined) return undefined;
  for (const name of candidates) {
    if (nameBytes.get(name)?.compare(buffer, start, end) === 0) return name;
  }
  return undefined;
}

/** The stored form of a value, in a buffer of its own. A value out of its range is a bug. */
export function encodeReservedHeader<Name extends ReservedHeader>(
  name: Name,
  value: ReservedValue<Name>,
): Buffer {
  const encoding: HeaderEncoding = reservedHeaders[name];
  switch (encoding) {
    case 'u8':
      assert(isUint(value, 0xff), `${name} fits in a byte`);
      return Buffer.from([value]);
    case 'u64': {
      assert(isUint(value, Number.MAX_SAFE_INTEGER), `${name} is a safe unsigned integer`);
      const bytes = Buffer.alloc(8);
      bytes.writeBigUInt64BE(BigInt(value));
      return bytes;
    }
    case 'text':
      assert(typeof value === 'string', `${name} is text`);
      return Buffer.from(value);
    case 'bytes8':
      assert(Buffer.isBuffer(value) && value.length === 8, `${name} has 8 bytes`);
      return Buffer.from(value);
    case 'bytes':
      assert(Buffer.isBuffer(value), `${name} is bytes`);
      return Buffer.from(value);
    default:
      return unreachable(encoding);
  }
}

/**
 * The value that stands in `buffer` from `start` to `end`, or undefined when its length or range is
 * wrong: whoever reads leaves such a header out. `start` below 0 is a null value. Bytes are a view.
 */
export function decodeReservedHeader<Name extends ReservedHeader>(
  name: Name,
  buffer: Buffer,
  start: number,
  end: number,
): ReservedValue<Name> | undefined {
  return decode(name, buffer, start, end) as ReservedValue<Name> | undefined;
}

/** Largest values of the one-byte headers that have a range of their own. */
const largest: Partial<Record<ReservedHeader, number>> = {
  'mqtt.qos': 2,
  'mqtt.retain': 1,
  'mqtt.payload-format': 1,
};

function decode(
  name: ReservedHeader,
  buffer: Buffer,
  start: number,
  end: number,
): number | string | Buffer | undefined {
  if (start < 0) return undefined;
  const length = end - start;
  const encoding: HeaderEncoding = reservedHeaders[name];
  switch (encoding) {
    case 'u8': {
      const value = length === 1 ? buffer[start] : undefined;
      return value === undefined || value > (largest[name] ?? 0xff) ? undefined : value;
    }
    case 'u64': {
      if (length !== 8) return undefined;
      const value = Number(buffer.readBigUInt64BE(start));
      return Number.isSafeInteger(value) ? value : undefined;
    }
    case 'text':
      return decodeText(buffer.subarray(start, end));
    case 'bytes8':
      return length === 8 ? buffer.subarray(start, end) : undefined;
    case 'bytes':
      return buffer.subarray(start, end);
    default:
      return unreachable(encoding);
  }
}

/** Strict UTF-8, or undefined. */
function decodeText(bytes: Buffer): string | undefined {
  const text = bytes.toString();
  return text.includes('\ufffd') && !Buffer.from(text).equals(bytes) ? undefined : text;
}

function isUint(value: unknown, max: number): value is number {
  return typeof value === 'number' && Number.isSafeInteger(value) && value >= 0 && value <= max;
}
