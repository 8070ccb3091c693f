import { unreachable } from '@robustmq/core';
import type { Packet } from 'mqtt-packet';
import { decodeAck, type DecodeScratch, newAckPacket } from './ack-decoder.ts';
import { checkConnect, type ConnectFindings } from './connect-check.ts';
import { checkAuth, checkDisconnect } from './disconnect-check.ts';
import type { Frame } from './framer.ts';
import {
  parseFrame,
  toAuth,
  toConnect,
  toDisconnect,
  toSubscribe,
  toUnsubscribe,
} from './library-parser.ts';
import {
  type ClientPacket,
  PacketType,
  type PingreqPacket,
  type ProtocolVersion,
  type UserProperty,
} from './packet.ts';
import { PacketReader } from './packet-reader.ts';
import { PropertyFindings } from './property-check.ts';
import { inConnect, malformed, protocolError, type ProtocolFault } from './protocol-fault.ts';
import {
  type DecodeLimits,
  decodePublish,
  newPublishPacket,
  releasePublishPacket,
} from './publish-decoder.ts';
import { checkSubscribe, checkUnsubscribe } from './subscribe-check.ts';
import { topicLevelsMaxDefault } from './topic.ts';

export const decodeLimitsDefault: DecodeLimits = {
  topicLevelsMax: topicLevelsMaxDefault,
  userPropertiesMax: 64,
};

const pingreq: PingreqPacket = { kind: 'pingreq' };
const noBytes = Buffer.alloc(0);

/** Frames to packets, strictly. Has no state between packets: one serves every connection of a process. */
export class PacketDecoder {
  readonly #scratch: DecodeScratch;
  readonly #publish = newPublishPacket();
  readonly #ack = newAckPacket();

  constructor(limits: DecodeLimits = decodeLimitsDefault) {
    this.#scratch = { reader: new PacketReader(), findings: new PropertyFindings(), limits };
  }

  /**
   * The packet in a frame that a framer has delivered. `version` is that of the connection's CONNECT,
   * undefined while there was none. Never throws, whatever the bytes. A PUBLISH or acknowledgement is
   * good until the next call; every other packet owns its memory.
   */
  decode(frame: Frame, version: ProtocolVersion | undefined): ClientPacket | ProtocolFault {
    const type = frame.firstByte >> 4;
    if (version === undefined) {
      if (type === PacketType.connect) return this.#connect(frame);
      return protocolError('MQTT5-3.1.0-1', `the first packet has type ${type}, not CONNECT`);
    }
    switch (type) {
      case PacketType.publish:
        return decodePublish(frame, version, this.#publish, this.#scratch.limits) ?? this.#publish;
      case PacketType.puback:
      case PacketType.pubrec:
      case PacketType.pubrel:
      case PacketType.pubcomp:
        return decodeAck(frame, version, this.#ack, this.#scratch) ?? this.#ack;
      case PacketType.pingreq:
        return frame.bodyStart === frame.end ? pingreq : pingreqFault();
      case PacketType.connect:
        return protocolError('MQTT5-3.1.0-2', 'a second CONNECT');
      case PacketType.subscribe:
      case PacketType.unsubscribe:
      case PacketType.disconnect:
      case PacketType.auth:
        return this.#control(frame, type, version);
      default:
        return protocolError('MQTT5-4.13.1', `a client sends no packet of type ${type}`);
    }
  }

  /** Forgets the last frame's buffer. Call it when a socket's chunk is done with. */
  release(): void {
    releasePublishPacket(this.#publish);
    this.#scratch.reader.reset(noBytes, 0, 0);
  }

  #connect(frame: Frame): ClientPacket | ProtocolFault {
    const { reader } = this.#scratch;
    reader.reset(frame.buffer, frame.bodyStart, frame.end);
    const found = checkConnect(this.#scratch);
    if (found.kind === 'fault') return found;
    const packet = parseFrame(withFlagsCleared(frame, found), found.protocolVersion);
    if (packet?.cmd !== 'connect') return inConnect(refused(), found.protocolVersion);
    return toConnect(packet, found);
  }

  #control(
    frame: Frame,
    type: ControlType,
    version: ProtocolVersion,
  ): ClientPacket | ProtocolFault {
    const { reader } = this.#scratch;
    reader.reset(frame.buffer, frame.bodyStart, frame.end);
    const userProperties = this.#check(type, version);
    if (reader.fault !== undefined) return reader.fault;
    return toPacket(parseFrame(frame, version), userProperties);
  }

  #check(type: ControlType, version: ProtocolVersion): readonly UserProperty[] {
    switch (type) {
      case PacketType.subscribe:
        return checkSubscribe(this.#scratch, version);
      case PacketType.unsubscribe:
        return checkUnsubscribe(this.#scratch, version);
      case PacketType.disconnect:
        return checkDisconnect(this.#scratch, version);
      case PacketType.auth:
        return checkAuth(this.#scratch);
      default:
        return unreachable(type);
    }
  }
}

/** The frame with a copy of its bytes in which a flag stands only where its field is. */
function withFlagsCleared(frame: Frame, found: ConnectFindings): Frame {
  if (found.flagsWithoutField === 0) return frame;
  const buffer = Buffer.from(frame.buffer.subarray(0, frame.end));
  buffer[found.flagsAt] = (buffer[found.flagsAt] ?? 0) & ~found.flagsWithoutField;
  return { ...frame, buffer };
}

type ControlType =
  | typeof PacketType.subscribe
  | typeof PacketType.unsubscribe
  | typeof PacketType.disconnect
  | typeof PacketType.auth;

function toPacket(
  packet: Packet | undefined,
  userProperties: readonly UserProperty[],
): ClientPacket | ProtocolFault {
  switch (packet?.cmd) {
    case 'subscribe':
      return toSubscribe(packet, userProperties);
    case 'unsubscribe':
      return toUnsubscribe(packet, userProperties);
    case 'disconnect':
      return toDisconnect(packet, userProperties);
    case 'auth':
      return toAuth(packet, userProperties);
    default:
      return refused();
  }
}

function pingreqFault(): ProtocolFault {
  return malformed('MQTT5-3.12', 'a PINGREQ has a body');
}

/** The checks here are stricter than the library, so this is not expected; it is an answer all the same. */
function refused(): ProtocolFault {
  return malformed('MQTT5-4.13.1', 'the packet cannot be parsed');
}
