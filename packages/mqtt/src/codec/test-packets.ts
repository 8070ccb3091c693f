import { type Frame, type FrameSink, PacketFramer } from './framer.ts';
import type { ClientPacket, ProtocolVersion } from './packet.ts';
import { PacketDecoder } from './packet-decoder.ts';
import type { ProtocolFault } from './protocol-fault.ts';

/** Bytes of a packet from its parts: numbers are bytes, strings are UTF-8 with two bytes of length. */
export type Part = number | string | Uint8Array | readonly Part[];

/** For tests: the parts one after the other. */
export function bytes(...parts: Part[]): Buffer {
  return Buffer.concat(parts.map(partBytes));
}

function partBytes(part: Part): Uint8Array {
  if (typeof part === 'number') return Buffer.of(part);
  if (typeof part === 'string') {
    const text = Buffer.from(part);
    return Buffer.concat([Buffer.of(text.length >> 8, text.length & 0xff), text]);
  }
  return part instanceof Uint8Array ? part : bytes(...part);
}

/** For tests: a whole packet. */
export function packet(firstByte: number, ...parts: Part[]): Buffer {
  const body = bytes(...parts);
  return Buffer.concat([Buffer.of(firstByte), lengthBytes(body.length), body]);
}

/** For tests: a property section. */
export function properties(...parts: Part[]): Buffer {
  const body = bytes(...parts);
  return Buffer.concat([lengthBytes(body.length), body]);
}

function lengthBytes(length: number): Buffer {
  const out: number[] = [];
  let rest = length;
  do {
    out.push((rest & 0x7f) | (rest > 0x7f ? 0x80 : 0));
    rest >>= 7;
  } while (rest > 0);
  return Buffer.from(out);
}

/** Takes what the framer delivers, each packet copied into plain data. */
export class CollectingSink implements FrameSink {
  readonly packets: (ClientPacket | ProtocolFault)[] = [];
  readonly #decoder = new PacketDecoder();
  readonly #version: ProtocolVersion | undefined;

  constructor(version: ProtocolVersion | undefined) {
    this.#version = version;
  }

  onFrame(frame: Frame): boolean {
    const decoded = this.#decoder.decode(frame, this.#version);
    this.packets.push(
      decoded.kind === 'publish' ? relative({ ...decoded }, frame) : { ...decoded },
    );
    return true;
  }
}

type PublishCopy = Extract<ClientPacket, { kind: 'publish' }>;

/** The packet with a buffer of its own and positions in it, so that two decodings can be compared. */
function relative(packet: PublishCopy, frame: Frame): PublishCopy {
  const shift = (position: number): number => (position === 0 ? 0 : position - frame.start);
  return {
    ...packet,
    buffer: Buffer.from(frame.buffer.subarray(frame.start, frame.end)),
    topicStart: shift(packet.topicStart),
    topicEnd: shift(packet.topicEnd),
    propertiesStart: shift(packet.propertiesStart),
    propertiesEnd: shift(packet.propertiesEnd),
    contentTypeStart: shift(packet.contentTypeStart),
    contentTypeEnd: shift(packet.contentTypeEnd),
    responseTopicStart: shift(packet.responseTopicStart),
    responseTopicEnd: shift(packet.responseTopicEnd),
    correlationDataStart: shift(packet.correlationDataStart),
    correlationDataEnd: shift(packet.correlationDataEnd),
    payloadStart: shift(packet.payloadStart),
    payloadEnd: shift(packet.payloadEnd),
  };
}

/** For tests: frames and decodes `data`; the framer's fault comes last. */
export function decodeAll(
  data: Buffer,
  version: ProtocolVersion | undefined,
): (ClientPacket | ProtocolFault)[] {
  const sink = new CollectingSink(version);
  const framer = new PacketFramer(sink, 1 << 20);
  if (version !== undefined) framer.configure(version, 1 << 20);
  const wrong = framer.push(data);
  return wrong === undefined ? sink.packets : [...sink.packets, wrong];
}

/** A well-formed packet of a client. */
export interface Sample {
  readonly name: string;
  /** Undefined: a CONNECT, which comes before the version is known. */
  readonly version: ProtocolVersion | undefined;
  readonly bytes: Buffer;
}

const payload = Buffer.from('21.5');
const everyConnectProperty = properties(
  [0x11, 0, 0, 0, 60],
  [0x21, 0, 10],
  [0x27, 0, 0, 16, 0],
  [0x22, 0, 5],
  [0x19, 1],
  [0x17, 0],
  [0x26, 'b', '1'],
  [0x26, 'a', '2'],
  [0x26, 'b', ''],
  [0x15, 'SCRAM-SHA-256'],
  [0x16, 'n,,n=u'],
);
const everyWillProperty = properties(
  [0x18, 0, 0, 0, 5],
  [0x01, 1],
  [0x02, 0, 0, 0, 9],
  [0x03, 'text/plain'],
  [0x08, 'answers/1'],
  [0x09, 'corr'],
  [0x26, '2', 'z'],
  [0x26, '1', 'y'],
);
const everyPublishProperty = properties(
  [0x01, 1],
  [0x02, 0xff, 0xff, 0xff, 0xff],
  [0x23, 0, 3],
  [0x08, 'antwort/ä'],
  [0x09, 'corr'],
  [0x26, 'b', '1'],
  [0x26, 'a', 'ü'],
  [0x26, 'b', ''],
  [0x03, 'text/plain'],
);
const reason = properties([0x1f, 'because'], [0x26, 'k', 'v']);

/** One of each packet and shape, for golden tests and for the fuzzer. */
export const samples: readonly Sample[] = [
  {
    name: 'CONNECT 3.1',
    version: undefined,
    bytes: packet(0x10, 'MQIsdp', 3, 0xc2, 0, 30, 'c1', 'user', 'pass'),
  },
  {
    name: 'CONNECT 3.1.1 with will',
    version: undefined,
    bytes: packet(0x10, 'MQTT', 4, 0x2c, 0, 60, 'c2', 'will/topic', 'gone'),
  },
  {
    name: 'CONNECT 5 bare',
    version: undefined,
    bytes: packet(0x10, 'MQTT', 5, 2, 0, 0, 0, ''),
  },
  {
    name: 'CONNECT 5 with everything',
    version: undefined,
    bytes: packet(
      0x10,
      ['MQTT', 5, 0xf6, 1, 0],
      everyConnectProperty,
      'c3',
      everyWillProperty,
      'will/ü',
      'gone',
      'user',
      Buffer.of(0, 2, 0, 0xff),
    ),
  },
  { name: 'PUBLISH 3.1.1 QoS 0', version: 4, bytes: packet(0x30, 'a/b', payload) },
  { name: 'PUBLISH 3.1 QoS 1 DUP', version: 3, bytes: packet(0x3a, 'a/b', 0, 7, payload) },
  { name: 'PUBLISH 5 QoS 2 retain', version: 5, bytes: packet(0x35, 'a/b', 0, 7, 0, payload) },
  {
    name: 'PUBLISH 5 with everything',
    version: 5,
    bytes: packet(0x32, 'länge/b', 1, 2, everyPublishProperty, payload),
  },
  { name: 'PUBLISH 5 alias only', version: 5, bytes: packet(0x30, '', 3, [0x23, 0, 1], payload) },
  { name: 'PUBACK 3.1.1', version: 4, bytes: packet(0x40, 0, 7) },
  { name: 'PUBACK 5 with reason', version: 5, bytes: packet(0x40, 0, 7, 0x10) },
  { name: 'PUBREC 5 explained', version: 5, bytes: packet(0x50, 0, 7, 0x97, reason) },
  { name: 'PUBREL 5', version: 5, bytes: packet(0x62, 0, 7, 0x92, 0) },
  { name: 'PUBREL 3.1 DUP', version: 3, bytes: packet(0x6a, 0, 7) },
  { name: 'PUBCOMP 5', version: 5, bytes: packet(0x70, 0, 7) },
  { name: 'SUBSCRIBE 3.1.1', version: 4, bytes: packet(0x82, 0, 1, 'a/+', 1, '$SYS/#', 0) },
  { name: 'SUBSCRIBE 3.1 DUP', version: 3, bytes: packet(0x8a, 0, 1, 'a/#', 2) },
  {
    name: 'SUBSCRIBE 5',
    version: 5,
    bytes: packet(
      0x82,
      [0, 1],
      properties([0x0b, 0x80, 0x01], [0x26, 'k', 'v']),
      ['a/+/c', 0x2e],
      ['$share/g/b/#', 0x12],
    ),
  },
  { name: 'UNSUBSCRIBE 3.1.1', version: 4, bytes: packet(0xa2, 0, 2, 'a/+', 'b') },
  {
    name: 'UNSUBSCRIBE 5',
    version: 5,
    bytes: packet(0xa2, 0, 2, properties([0x26, 'k', 'v']), '#'),
  },
  { name: 'PINGREQ', version: 4, bytes: packet(0xc0) },
  { name: 'DISCONNECT 3.1.1', version: 4, bytes: packet(0xe0) },
  { name: 'DISCONNECT 5 with will', version: 5, bytes: packet(0xe0, 4) },
  {
    name: 'DISCONNECT 5 explained',
    version: 5,
    bytes: packet(0xe0, 0, properties([0x11, 0, 0, 0, 9], [0x1f, 'bye'], [0x26, 'k', 'v'])),
  },
  {
    name: 'AUTH 5',
    version: 5,
    bytes: packet(0xf0, 0x18, properties([0x15, 'SCRAM-SHA-256'], [0x16, 'c=biws'])),
  },
];
