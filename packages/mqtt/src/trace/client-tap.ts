import type { Packet } from 'mqtt-packet';

import type { Frame } from '../codec/framer.ts';
import { parseFrame } from '../codec/library-parser.ts';
import { type ProtocolVersion, PacketType } from '../codec/packet.ts';
import { filtersOverlap, topicMatches } from '../codec/topic.ts';
import { packetWords } from './packet-words.ts';
import type { Trace } from './trace.ts';

/** A packet as a range of bytes. */
interface PacketBytes {
  readonly buffer: Buffer;
  readonly start: number;
  readonly end: number;
}

/** Shows the packets of one connection to the traces that want them. */
export class ClientTap {
  readonly #clientId: string;
  readonly #version: ProtocolVersion;
  readonly #traces: readonly Trace[];
  /** What aliases stand for, as far as the packets since have told. */
  readonly #aliasesIn: Map<number, string>;
  readonly #aliasesOut: Map<number, string>;

  /** `before`: the one of the same connection that it replaces. */
  constructor(own: {
    clientId: string;
    version: ProtocolVersion;
    traces: readonly Trace[];
    before: ClientTap | undefined;
  }) {
    this.#clientId = own.clientId;
    this.#version = own.version;
    this.#traces = own.traces;
    const { before } = own;
    this.#aliasesIn = before === undefined ? new Map() : before.#aliasesIn;
    this.#aliasesOut = before === undefined ? new Map() : before.#aliasesOut;
  }

  /** A packet of the client. */
  received(packet: PacketBytes): void {
    this.#show(packet, 'from', this.#aliasesIn);
  }

  /** A packet to the client. */
  sent(buffer: Buffer): void {
    this.#show({ buffer, start: 0, end: buffer.length }, 'to', this.#aliasesOut);
  }

  /** The connection ends; `why`: for whoever broke the protocol. */
  ended(why: string | undefined): void {
    for (const trace of this.#traces) {
      if (trace.wanted.topicFilter === '')
        trace.add(this.#clientId, why === undefined ? 'ends' : `ends: ${why}`);
    }
  }

  #showUndecoded(way: 'from' | 'to', bytes: number): void {
    const text = `${way === 'from' ? '->' : '<-'} ${bytes} bytes that cannot be decoded`;
    for (const trace of this.#traces) {
      if (trace.wanted.topicFilter === '') trace.add(this.#clientId, text);
    }
  }

  #show(bytes: PacketBytes, way: 'from' | 'to', aliases: Map<number, string>): void {
    const firstByte = bytes.buffer[bytes.start] ?? 0;
    if (!this.#traces.some((trace) => mayWant(trace, firstByte >> 4))) return;
    const packet = decoded({ ...bytes, firstByte, bodyStart: bytes.start }, this.#version);
    if (packet === undefined) {
      this.#showUndecoded(way, bytes.end - bytes.start);
      return;
    }
    const topic = packet.cmd === 'publish' ? nameOf(packet, aliases) : undefined;
    const dup = (firstByte & 0x08) !== 0 && packet.cmd === 'publish';
    for (const trace of this.#traces) {
      const { payload, topicFilter } = trace.wanted;
      if (topicFilter !== '' && !concerns(topicFilter, packet, topic)) continue;
      const text = packetWords(packet, { topic, dup, payload });
      trace.add(this.#clientId, way === 'from' ? `-> ${text}` : `<- ${text}`);
    }
  }
}

/** Nothing was checked yet: what the library throws at is not decoded either. */
function decoded(frame: Frame, version: ProtocolVersion): Packet | undefined {
  try {
    return parseFrame(frame, version);
  } catch {
    return undefined;
  }
}

/** Packets that are about topics are looked at for traces of topics, all others are not even decoded. */
function mayWant({ wanted }: Trace, type: number): boolean {
  return (
    wanted.topicFilter === '' ||
    type === PacketType.publish ||
    type === PacketType.subscribe ||
    type === PacketType.unsubscribe
  );
}

function nameOf(
  packet: Extract<Packet, { cmd: 'publish' }>,
  aliases: Map<number, string>,
): string | undefined {
  const alias = packet.properties?.topicAlias;
  if (alias === undefined) return packet.topic;
  if (packet.topic === '') return aliases.get(alias);
  aliases.set(alias, packet.topic);
  return packet.topic;
}

function concerns(filter: string, packet: Packet, topic: string | undefined): boolean {
  switch (packet.cmd) {
    case 'publish':
      return topic !== undefined && topicMatches(filter, topic);
    case 'subscribe':
      return packet.subscriptions.some((one) => filtersOverlap(filter, one.topic));
    case 'unsubscribe':
      return packet.unsubscriptions.some((one) => filtersOverlap(filter, one));
    default:
      return false;
  }
}
