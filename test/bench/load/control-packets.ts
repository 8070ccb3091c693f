import type { Qos } from './load-plan.ts';

/** First bytes of packets (the packet type and its fixed flags). */
export const packetHeader = {
  connect: 0x10,
  connack: 0x20,
  publish: 0x30,
  puback: 0x40,
  pubrec: 0x50,
  pubrel: 0x62,
  pubcomp: 0x70,
  subscribe: 0x82,
  suback: 0x90,
  pingreq: 0xc0,
  pingresp: 0xd0,
  disconnect: 0xe0,
} as const;

export interface ConnectOptions {
  /** 4: MQTT 3.1.1; 5: MQTT 5. */
  readonly version: 4 | 5;
  readonly clientId: string;
  readonly keepAliveSeconds: number;
  /** Whether the session outlives the connection (MQTT 5: for an hour). */
  readonly persistent?: boolean;
}

export function encodeConnect(options: ConnectOptions): Buffer {
  const { version, clientId, keepAliveSeconds, persistent = false } = options;
  // Of the properties of MQTT 5 only the session expiry interval (0x11) is used.
  const properties = persistent ? [5, 0x11, ...uint32(3600)] : [0];
  return packet(packetHeader.connect, [
    ...text('MQTT'),
    version,
    persistent ? 0 : 2,
    ...uint16(keepAliveSeconds),
    ...(version === 5 ? properties : []),
    ...text(clientId),
  ]);
}

export function encodeSubscribe(filter: string, qos: Qos, version: 4 | 5 = 4): Buffer {
  const properties = version === 5 ? [0] : [];
  return packet(packetHeader.subscribe, [...uint16(1), ...properties, ...text(filter), qos]);
}

/** A PUBLISH with packet id `packetId` where its QoS has one. */
export function encodePublish(topic: string, qos: Qos, packetId: number, payload: Buffer): Buffer {
  const id = qos === 0 ? [] : uint16(packetId);
  return packet(packetHeader.publish | (qos << 1), [...text(topic), ...id, ...payload]);
}

/** PUBACK, PUBREC, PUBREL and PUBCOMP at MQTT 3.1.1, written into `target`; returns the offset behind it. */
export function writeAck(target: Buffer, at: number, header: number, packetId: number): number {
  target[at] = header;
  target[at + 1] = 2;
  target[at + 2] = packetId >>> 8;
  target[at + 3] = packetId & 0xff;
  return at + ackBytes;
}

export const ackBytes = 4;

function packet(header: number, body: readonly number[]): Buffer {
  return Buffer.from([header, ...variableByteInteger(body.length), ...body]);
}

function variableByteInteger(value: number): number[] {
  return value < 0x80 ? [value] : [(value & 0x7f) | 0x80, ...variableByteInteger(value >>> 7)];
}

function text(value: string): number[] {
  const bytes = Buffer.from(value);
  return [...uint16(bytes.length), ...bytes];
}

function uint16(value: number): number[] {
  return [value >>> 8, value & 0xff];
}

function uint32(value: number): number[] {
  return [...uint16(value >>> 16), ...uint16(value & 0xffff)];
}
