import { PacketType, type ProtocolVersion, type Qos } from './packet.ts';
import { type PacketWriter, type Text, textSize } from './packet-writer.ts';
import { PropertyId } from './property.ts';
import { variableByteIntegerSize } from './variable-byte-integer.ts';

/** A user property to send. */
export interface UserPropertyText {
  readonly name: Text;
  readonly value: Text;
}

/**
 * What only MQTT 5 says about a message. `undefined` is left out. Texts and binary data are at most
 * 65,535 bytes and legal MQTT text, which whoever takes them from another protocol sees to.
 */
export interface PublishProperties {
  payloadFormat: 0 | 1 | undefined;
  messageExpirySeconds: number | undefined;
  contentType: Text | undefined;
  responseTopic: Text | undefined;
  correlationData: Uint8Array | undefined;
  /** In this order. [MQTT5-3.3.2-18] */
  userProperties: readonly UserPropertyText[];
}

/** One outgoing PUBLISH. May be filled anew for each message. */
export interface PublishSpec {
  /** Empty with an alias that the client knows already. */
  topic: Text;
  payload: Uint8Array;
  qos: Qos;
  retain: boolean;
  dup: boolean;
  /** Ignored with QoS 0. 0 when it is patched later, see {@link patchPacketId}. */
  packetId: number;
  /** 0: none. Ignored before MQTT 5. */
  topicAlias: number;
  /** Of the subscriptions that the message is for. Ignored before MQTT 5. [MQTT5-3.3.4-3, -3.3.4-4] */
  subscriptionIds: readonly number[];
  /** Ignored before MQTT 5. */
  properties: PublishProperties | undefined;
}

/** Bytes of the whole packet: what the client's Maximum Packet Size is compared with. */
export function publishSize(version: ProtocolVersion, spec: PublishSpec): number {
  const body = bodySize(spec, version === 5 ? propertiesSize(spec) : -1);
  return 1 + variableByteIntegerSize(body) + body;
}

/**
 * Appends the packet. Returns where its packet identifier stands, counted from the packet's first
 * byte; 0 with QoS 0.
 */
export function encodePublish(
  writer: PacketWriter,
  version: ProtocolVersion,
  spec: PublishSpec,
): number {
  const propertyBytes = version === 5 ? propertiesSize(spec) : -1;
  const body = bodySize(spec, propertyBytes);
  const headBytes = 1 + variableByteIntegerSize(body);
  writer.reserve(headBytes + body);
  const start = writer.length;
  const flags = (spec.dup ? 0x08 : 0) | (spec.qos << 1) | (spec.retain ? 0x01 : 0);
  writer.byte((PacketType.publish << 4) | flags);
  writer.variableByteInteger(body);
  writer.text(spec.topic);
  let packetIdAt = 0;
  if (spec.qos > 0) {
    packetIdAt = writer.length - start;
    writer.u16(spec.packetId);
  }
  if (propertyBytes >= 0) writeProperties(writer, spec, propertyBytes);
  writer.bytes(spec.payload);
  return packetIdAt;
}

/**
 * Puts a packet identifier into a copy of an encoded PUBLISH that begins at `start`. (A copy that was
 * appended to a writer is patched with `PacketWriter.patchU16`.)
 */
export function patchPacketId(
  packet: Buffer,
  start: number,
  packetIdAt: number,
  packetId: number,
): void {
  packet.writeUInt16BE(packetId, start + packetIdAt);
}

/** Marks a copy of an encoded PUBLISH that begins at `start` as sent before. [MQTT5-3.3.1-1] */
export function patchDup(packet: Buffer, start: number): void {
  packet[start] = (packet[start] ?? 0) | 0x08;
}

/** `propertyBytes` -1: the version has no properties. */
function bodySize(spec: PublishSpec, propertyBytes: number): number {
  const packetIdBytes = spec.qos > 0 ? 2 : 0;
  const section = propertyBytes < 0 ? 0 : variableByteIntegerSize(propertyBytes) + propertyBytes;
  return 2 + textSize(spec.topic) + packetIdBytes + section + spec.payload.length;
}

function propertiesSize({ topicAlias, subscriptionIds, properties }: PublishSpec): number {
  let bytes = topicAlias > 0 ? 3 : 0;
  for (const id of subscriptionIds) bytes += 1 + variableByteIntegerSize(id);
  if (properties === undefined) return bytes;
  const { contentType, responseTopic, correlationData, userProperties } = properties;
  if (properties.payloadFormat !== undefined) bytes += 2;
  if (properties.messageExpirySeconds !== undefined) bytes += 5;
  if (contentType !== undefined) bytes += 3 + textSize(contentType);
  if (responseTopic !== undefined) bytes += 3 + textSize(responseTopic);
  if (correlationData !== undefined) bytes += 3 + correlationData.length;
  for (const { name, value } of userProperties) bytes += 5 + textSize(name) + textSize(value);
  return bytes;
}

function writeProperties(writer: PacketWriter, spec: PublishSpec, propertyBytes: number): void {
  writer.variableByteInteger(propertyBytes);
  if (spec.topicAlias > 0) {
    writer.byte(PropertyId.topicAlias);
    writer.u16(spec.topicAlias);
  }
  for (const id of spec.subscriptionIds) {
    writer.byte(PropertyId.subscriptionIdentifier);
    writer.variableByteInteger(id);
  }
  if (spec.properties !== undefined) writeMessageProperties(writer, spec.properties);
}

function writeMessageProperties(writer: PacketWriter, properties: PublishProperties): void {
  const { contentType, responseTopic, correlationData } = properties;
  if (properties.payloadFormat !== undefined) {
    writer.byte(PropertyId.payloadFormatIndicator);
    writer.byte(properties.payloadFormat);
  }
  if (properties.messageExpirySeconds !== undefined) {
    writer.byte(PropertyId.messageExpiryInterval);
    writer.u32(properties.messageExpirySeconds);
  }
  writeText(writer, PropertyId.contentType, contentType);
  writeText(writer, PropertyId.responseTopic, responseTopic);
  writeText(writer, PropertyId.correlationData, correlationData);
  for (const { name, value } of properties.userProperties) {
    writer.byte(PropertyId.userProperty);
    writer.text(name);
    writer.text(value);
  }
}

function writeText(writer: PacketWriter, identifier: number, value: Text | undefined): void {
  if (value === undefined) return;
  writer.byte(identifier);
  writer.text(value);
}
