import type { Frame } from './framer.ts';
import { type AckKind, type AckPacket, PacketType, type ProtocolVersion } from './packet.ts';
import type { PacketReader } from './packet-reader.ts';
import { checkProperties, type PropertyFindings } from './property-check.ts';
import { malformed, protocolError, type ProtocolFault } from './protocol-fault.ts';
import type { DecodeLimits } from './publish-decoder.ts';
import { isClientReasonCode, ReasonCode } from './reason-code.ts';

type MutableAck = { -readonly [K in keyof AckPacket]: AckPacket[K] };

/** Scratch space that a decoder owns and hands to its parts. */
export interface DecodeScratch {
  readonly reader: PacketReader;
  readonly findings: PropertyFindings;
  readonly limits: DecodeLimits;
}

const reasonClauses: Record<AckKind, string> = {
  puback: 'MQTT5-3.4.2-1',
  pubrec: 'MQTT5-3.5.2-1',
  pubrel: 'MQTT5-3.6.2-1',
  pubcomp: 'MQTT5-3.7.2-1',
};

/** An object for {@link decodeAck} to fill, again and again. */
export function newAckPacket(): AckPacket {
  return { kind: 'puback', packetId: 0, reasonCode: ReasonCode.success };
}

/** Decodes PUBACK, PUBREC, PUBREL or PUBCOMP; allocates nothing unless there are properties. */
export function decodeAck(
  frame: Frame,
  version: ProtocolVersion,
  packet: AckPacket,
  scratch: DecodeScratch,
): ProtocolFault | undefined {
  const into: MutableAck = packet;
  const { buffer, bodyStart, end } = frame;
  const length = end - bodyStart;
  into.kind = ackKind(frame.firstByte >> 4);
  if (length < 2) return malformed('MQTT5-2.1.4', `${into.kind} has ${length} bytes, 2 are needed`);
  into.packetId = ((buffer[bodyStart] ?? 0) << 8) | (buffer[bodyStart + 1] ?? 0);
  into.reasonCode = ReasonCode.success;
  if (into.packetId === 0) {
    return protocolError('MQTT5-2.2.1-3', 'the packet identifier is 0');
  }
  if (length === 2) return undefined;
  if (version !== 5) return malformed('MQTT-2.2.3', `${into.kind} has ${length} bytes, not 2`);
  const code = buffer[bodyStart + 2] ?? 0;
  if (!isClientReasonCode(into.kind, code)) {
    return protocolError(
      reasonClauses[into.kind],
      `reason code ${code} has no place in ${into.kind}`,
    );
  }
  into.reasonCode = code;
  return length === 3 ? undefined : checkAckProperties(frame, into.kind, scratch);
}

function checkAckProperties(
  frame: Frame,
  kind: AckKind,
  { reader, findings, limits }: DecodeScratch,
): ProtocolFault | undefined {
  reader.reset(frame.buffer, frame.bodyStart + 3, frame.end);
  checkProperties(reader, kind, findings, limits.userPropertiesMax);
  reader.finish(kind);
  return reader.fault;
}

function ackKind(type: number): AckKind {
  switch (type) {
    case PacketType.puback:
      return 'puback';
    case PacketType.pubrec:
      return 'pubrec';
    case PacketType.pubrel:
      return 'pubrel';
    default:
      return 'pubcomp';
  }
}
