import { type AckKind, PacketType, type ProtocolVersion } from './packet.ts';
import { PacketWriter, textSize } from './packet-writer.ts';
import { PropertyId } from './property.ts';
import type { UserPropertyText } from './publish-encoder.ts';
import { connackReturnCodeOf, ReasonCode } from './reason-code.ts';
import { variableByteIntegerSize } from './variable-byte-integer.ts';

/**
 * What explains a reason code. Left out, first the user properties and then the reason string, when
 * the packet would exceed what the client takes.
 * [MQTT5-3.2.2-19, -3.2.2-20, -3.4.2-2, -3.4.2-3, -3.9.2-1, -3.9.2-2, -3.11.2-1, -3.11.2-2, -3.14.2-3, -3.14.2-4]
 */
export interface Explanation {
  readonly reasonString?: string | undefined;
  readonly userProperties?: readonly UserPropertyText[] | undefined;
}

/** An answer to CONNECT. What is undefined is left out, which means its default. */
export interface ConnackSpec extends Explanation {
  /** Sent as false with an error. [MQTT5-3.2.2-6] */
  readonly sessionPresent: boolean;
  /** For MQTT 3.x the return code that comes closest is sent. */
  readonly reasonCode: ReasonCode;
  readonly sessionExpirySeconds?: number | undefined;
  readonly receiveMaximum?: number | undefined;
  readonly maximumQos?: 0 | 1 | undefined;
  readonly retainAvailable?: boolean | undefined;
  /** The largest packet that the server takes. */
  readonly packetBytesMax?: number | undefined;
  readonly assignedClientId?: string | undefined;
  readonly topicAliasMaximum?: number | undefined;
  readonly wildcardSubscriptionAvailable?: boolean | undefined;
  readonly subscriptionIdentifierAvailable?: boolean | undefined;
  readonly sharedSubscriptionAvailable?: boolean | undefined;
  readonly serverKeepAliveSeconds?: number | undefined;
  readonly responseInformation?: string | undefined;
  readonly serverReference?: string | undefined;
  readonly authenticationMethod?: string | undefined;
  readonly authenticationData?: Uint8Array | undefined;
}

export interface DisconnectSpec extends Explanation {
  readonly reasonCode: ReasonCode;
  readonly serverReference?: string | undefined;
}

export interface AuthSpec extends Explanation {
  readonly reasonCode: ReasonCode;
  readonly authenticationMethod: string;
  readonly authenticationData?: Uint8Array | undefined;
}

/** What the client can take. */
export interface Receiver {
  readonly version: ProtocolVersion;
  /** Its Maximum Packet Size, fixed header included. */
  readonly packetBytesMax: number;
}

const nothing: Explanation = {};
/** Property sections are gathered here, since their length stands before them. Empty between calls. */
const section = new PacketWriter(4096);

/** Appends PINGRESP. */
export function encodePingresp(writer: PacketWriter): void {
  writer.u16(PacketType.pingresp << 12);
}

/** Appends PUBACK, PUBREC, PUBREL or PUBCOMP. MQTT 3.x knows no reason codes and gets none. */
export function encodeAck(
  writer: PacketWriter,
  receiver: Receiver,
  kind: AckKind,
  packetId: number,
  reasonCode: ReasonCode = ReasonCode.success,
  explanation: Explanation = nothing,
): void {
  const firstByte = (PacketType[kind] << 4) | (kind === 'pubrel' ? 0x02 : 0);
  if (receiver.version === 5 && (reasonCode !== ReasonCode.success || explanation !== nothing)) {
    encodeExplainedAck(writer, receiver, firstByte, packetId, reasonCode, explanation);
    return;
  }
  writer.byte(firstByte);
  writer.byte(2);
  writer.u16(packetId);
}

function encodeExplainedAck(
  writer: PacketWriter,
  receiver: Receiver,
  firstByte: number,
  packetId: number,
  reasonCode: ReasonCode,
  explanation: Explanation,
): void {
  section.clear();
  addExplanation(explanation, 3, receiver.packetBytesMax);
  const tail = section.length === 0 ? 0 : sectionSize();
  if (tail === 0 && reasonCode === ReasonCode.success) {
    // Such a client need not take more than these four bytes.
    writer.byte(firstByte);
    writer.byte(2);
    writer.u16(packetId);
    return;
  }
  writer.byte(firstByte);
  writer.variableByteInteger(3 + tail);
  writer.u16(packetId);
  writer.byte(reasonCode);
  // Without properties their length may be left out. [MQTT5 3.4.2.2.1]
  if (tail > 0) writeSection(writer);
}

/** Appends CONNACK. */
export function encodeConnack(
  writer: PacketWriter,
  { version, packetBytesMax }: Receiver,
  spec: ConnackSpec,
): void {
  writer.byte(PacketType.connack << 4);
  const sessionPresent = spec.sessionPresent && spec.reasonCode === ReasonCode.success;
  if (version !== 5) {
    writer.byte(2);
    // MQTT 3.1 has no Session Present; the byte is reserved.
    writer.byte(version === 4 && sessionPresent ? 1 : 0);
    writer.byte(connackReturnCodeOf(spec.reasonCode));
    return;
  }
  section.clear();
  addConnackProperties(spec);
  addExplanation(spec, 2, packetBytesMax);
  writer.variableByteInteger(2 + sectionSize());
  writer.byte(sessionPresent ? 1 : 0);
  writer.byte(spec.reasonCode);
  writeSection(writer);
}

function addConnackProperties(spec: ConnackSpec): void {
  addU32(PropertyId.sessionExpiryInterval, spec.sessionExpirySeconds);
  addU16(PropertyId.receiveMaximum, spec.receiveMaximum);
  addByte(PropertyId.maximumQos, spec.maximumQos);
  addFlag(PropertyId.retainAvailable, spec.retainAvailable);
  addU32(PropertyId.maximumPacketSize, spec.packetBytesMax);
  addText(PropertyId.assignedClientIdentifier, spec.assignedClientId);
  addU16(PropertyId.topicAliasMaximum, spec.topicAliasMaximum);
  addFlag(PropertyId.wildcardSubscriptionAvailable, spec.wildcardSubscriptionAvailable);
  addFlag(PropertyId.subscriptionIdentifierAvailable, spec.subscriptionIdentifierAvailable);
  addFlag(PropertyId.sharedSubscriptionAvailable, spec.sharedSubscriptionAvailable);
  addU16(PropertyId.serverKeepAlive, spec.serverKeepAliveSeconds);
  addText(PropertyId.responseInformation, spec.responseInformation);
  addText(PropertyId.serverReference, spec.serverReference);
  addText(PropertyId.authenticationMethod, spec.authenticationMethod);
  addText(PropertyId.authenticationData, spec.authenticationData);
}

/** Appends SUBACK with one code per subscription. MQTT 3.x gets 0x80 for every failure. */
export function encodeSuback(
  writer: PacketWriter,
  receiver: Receiver,
  packetId: number,
  reasonCodes: readonly ReasonCode[],
  explanation: Explanation = nothing,
): void {
  writer.byte(PacketType.suback << 4);
  writeCodesHead(writer, receiver, packetId, reasonCodes.length, explanation);
  for (const code of reasonCodes) {
    const failed = code >= ReasonCode.unspecifiedError;
    writer.byte(failed && receiver.version !== 5 ? ReasonCode.unspecifiedError : code);
  }
}

/** Appends UNSUBACK with one code per topic filter; MQTT 3.x has none. */
export function encodeUnsuback(
  writer: PacketWriter,
  receiver: Receiver,
  packetId: number,
  reasonCodes: readonly ReasonCode[],
  explanation: Explanation = nothing,
): void {
  writer.byte(PacketType.unsuback << 4);
  const codes = receiver.version === 5 ? reasonCodes : [];
  writeCodesHead(writer, receiver, packetId, codes.length, explanation);
  for (const code of codes) writer.byte(code);
}

/** Remaining length, packet identifier and properties of SUBACK and UNSUBACK. */
function writeCodesHead(
  writer: PacketWriter,
  { version, packetBytesMax }: Receiver,
  packetId: number,
  codes: number,
  explanation: Explanation,
): void {
  if (version !== 5) {
    writer.variableByteInteger(2 + codes);
    writer.u16(packetId);
    return;
  }
  section.clear();
  addExplanation(explanation, 2 + codes, packetBytesMax);
  writer.variableByteInteger(2 + codes + sectionSize());
  writer.u16(packetId);
  writeSection(writer);
}

/** Appends DISCONNECT. Only MQTT 5 has one from the server: nothing is written for 3.x. */
export function encodeDisconnect(
  writer: PacketWriter,
  { version, packetBytesMax }: Receiver,
  spec: DisconnectSpec,
): void {
  if (version !== 5) return;
  section.clear();
  addText(PropertyId.serverReference, spec.serverReference);
  addExplanation(spec, 1, packetBytesMax);
  writer.byte(PacketType.disconnect << 4);
  writer.variableByteInteger(1 + sectionSize());
  writer.byte(spec.reasonCode);
  writeSection(writer);
}

/** Appends AUTH, which exists in MQTT 5 only. */
export function encodeAuth(writer: PacketWriter, packetBytesMax: number, spec: AuthSpec): void {
  section.clear();
  addText(PropertyId.authenticationMethod, spec.authenticationMethod);
  addText(PropertyId.authenticationData, spec.authenticationData);
  addExplanation(spec, 1, packetBytesMax);
  writer.byte(PacketType.auth << 4);
  writer.variableByteInteger(1 + sectionSize());
  writer.byte(spec.reasonCode);
  writeSection(writer);
}

/** Adds what fits a packet whose body has `otherBytes` bytes besides the properties. */
function addExplanation(
  { reasonString, userProperties }: Explanation,
  otherBytes: number,
  packetBytesMax: number,
): void {
  let bytes = section.length;
  if (reasonString !== undefined) {
    const size = 3 + textSize(reasonString);
    if (packetSize(otherBytes, bytes + size) <= packetBytesMax) {
      addText(PropertyId.reasonString, reasonString);
      bytes += size;
    }
  }
  if (userProperties === undefined) return;
  for (const { name, value } of userProperties) bytes += 5 + textSize(name) + textSize(value);
  if (packetSize(otherBytes, bytes) > packetBytesMax) return;
  for (const { name, value } of userProperties) {
    section.byte(PropertyId.userProperty);
    section.text(name);
    section.text(value);
  }
}

function packetSize(otherBytes: number, propertyBytes: number): number {
  const body = otherBytes + variableByteIntegerSize(propertyBytes) + propertyBytes;
  return 1 + variableByteIntegerSize(body) + body;
}

/** Of the gathered properties with their length. */
function sectionSize(): number {
  return variableByteIntegerSize(section.length) + section.length;
}

function writeSection(writer: PacketWriter): void {
  writer.variableByteInteger(section.length);
  writer.bytes(section.view());
  section.clear();
}

function addByte(identifier: number, value: number | undefined): void {
  if (value === undefined) return;
  section.byte(identifier);
  section.byte(value);
}

function addFlag(identifier: number, value: boolean | undefined): void {
  if (value !== undefined) addByte(identifier, value ? 1 : 0);
}

function addU16(identifier: number, value: number | undefined): void {
  if (value === undefined) return;
  section.byte(identifier);
  section.u16(value);
}

function addU32(identifier: number, value: number | undefined): void {
  if (value === undefined) return;
  section.byte(identifier);
  section.u32(value);
}

function addText(identifier: number, value: string | Uint8Array | undefined): void {
  if (value === undefined) return;
  section.byte(identifier);
  section.text(value);
}
