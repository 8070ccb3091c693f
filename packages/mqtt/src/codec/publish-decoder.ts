import type { Frame } from './framer.ts';
import type { ProtocolVersion, PublishPacket, Qos, UserProperty } from './packet.ts';
import { readUserProperty } from './packet-reader.ts';
import { PropertyId, propertyRule } from './property.ts';
import { responseTopicFault, tooManyUserProperties } from './property-check.ts';
import { fault, malformed, protocolError, type ProtocolFault } from './protocol-fault.ts';
import { ReasonCode } from './reason-code.ts';
import { clauseOfProblem, explainTopicProblem, topicNameProblem, TopicProblem } from './topic.ts';
import { isMqttText } from './utf8.ts';
import {
  integerMalformed,
  readVariableByteInteger,
  variableByteIntegerSize,
} from './variable-byte-integer.ts';

type Mutable<T> = { -readonly [K in keyof T]: T[K] };
type PublishPositions = Mutable<PublishPacket>;

const noBytes = Buffer.alloc(0);

/** Bounds of this server that decoding enforces. */
export interface DecodeLimits {
  readonly topicLevelsMax: number;
  /** Per packet; the will counts by itself. */
  readonly userPropertiesMax: number;
}

/** An object for {@link decodePublish} to fill, again and again. */
export function newPublishPacket(): PublishPacket {
  return {
    kind: 'publish',
    buffer: noBytes,
    dup: false,
    qos: 0,
    retain: false,
    packetId: 0,
    topicStart: 0,
    topicEnd: 0,
    topicAlias: 0,
    propertiesStart: 0,
    propertiesEnd: 0,
    payloadFormat: -1,
    messageExpiry: -1,
    contentTypeStart: 0,
    contentTypeEnd: 0,
    responseTopicStart: 0,
    responseTopicEnd: 0,
    correlationDataStart: 0,
    correlationDataEnd: 0,
    userPropertyCount: 0,
    payloadStart: 0,
    payloadEnd: 0,
  };
}

/** Forgets the buffer of the last packet, so that it can be collected. */
export function releasePublishPacket(packet: PublishPacket): void {
  const into: PublishPositions = packet;
  into.buffer = noBytes;
}

/**
 * Decodes a PUBLISH into `packet` without allocating (ASCII text; other text costs a view each).
 * On a fault the packet's content means nothing.
 */
export function decodePublish(
  frame: Frame,
  version: ProtocolVersion,
  packet: PublishPacket,
  limits: DecodeLimits,
): ProtocolFault | undefined {
  const into: PublishPositions = packet;
  const { buffer, bodyStart, end, firstByte } = frame;
  const qos = (firstByte >> 1) & 3;
  if (qos === 3) return malformed('MQTT5-3.3.1-4', 'a PUBLISH has QoS 3');
  const dup = (firstByte & 0x08) !== 0;
  if (dup && qos === 0) return protocolError('MQTT5-3.3.1-2', 'a PUBLISH with QoS 0 has DUP set');
  into.buffer = buffer;
  into.qos = qos as Qos;
  into.dup = dup;
  into.retain = (firstByte & 1) === 1;

  const topicStart = bodyStart + 2;
  if (topicStart > end) return cutOff('the topic name');
  const topicEnd = topicStart + u16(buffer, bodyStart);
  if (topicEnd > end) return cutOff('the topic name');
  into.topicStart = topicStart;
  into.topicEnd = topicEnd;
  const problem = topicNameProblem(buffer, topicStart, topicEnd, limits.topicLevelsMax);
  if (problem !== TopicProblem.none && (problem !== TopicProblem.empty || version !== 5)) {
    return topicNameFault(problem);
  }

  let position = topicEnd;
  into.packetId = 0;
  if (qos > 0) {
    position += 2;
    if (position > end) return cutOff('the packet identifier');
    into.packetId = u16(buffer, topicEnd);
    if (into.packetId === 0) {
      return protocolError('MQTT5-2.2.1-3', 'the packet identifier is 0');
    }
  }

  clearProperties(into, position);
  if (version === 5) {
    const wrong = decodeProperties(into, position, end, limits.userPropertiesMax);
    if (wrong !== undefined) return wrong;
    if (problem === TopicProblem.empty && into.topicAlias === 0) {
      return protocolError('MQTT5-3.3.2.1', 'a PUBLISH has neither a topic name nor an alias');
    }
    position = into.propertiesEnd;
  }
  into.payloadStart = position;
  into.payloadEnd = end;
  return undefined;
}

function clearProperties(into: PublishPositions, position: number): void {
  into.topicAlias = 0;
  into.propertiesStart = position;
  into.propertiesEnd = position;
  into.payloadFormat = -1;
  into.messageExpiry = -1;
  into.contentTypeStart = 0;
  into.contentTypeEnd = 0;
  into.responseTopicStart = 0;
  into.responseTopicEnd = 0;
  into.correlationDataStart = 0;
  into.correlationDataEnd = 0;
  into.userPropertyCount = 0;
}

function decodeProperties(
  into: PublishPositions,
  start: number,
  packetEnd: number,
  userPropertiesMax: number,
): ProtocolFault | undefined {
  const buffer = into.buffer;
  const length = readVariableByteInteger(buffer, start, packetEnd);
  if (length < 0) return lengthFault(length);
  let position = start + variableByteIntegerSize(length);
  const end = position + length;
  if (end > packetEnd) {
    return malformed('MQTT5-2.2.2.1', `${length} bytes of properties do not fit the packet`);
  }
  into.propertiesStart = position;
  into.propertiesEnd = end;
  while (position < end) {
    const valueEnd = propertyEnd(buffer, position, end);
    if (valueEnd < 0) return unreadableProperty(buffer, position, end);
    const wrong = takeProperty(into, position, valueEnd);
    if (wrong !== undefined) return wrong;
    position = valueEnd;
  }
  if (into.userPropertyCount > userPropertiesMax) return tooManyUserProperties(userPropertiesMax);
  return undefined;
}

/** End of the property at `position`; -1 when it is none of a PUBLISH, or ends beyond `end`. */
function propertyEnd(buffer: Buffer, position: number, end: number): number {
  let next = position + 1;
  switch (buffer[position]) {
    case PropertyId.payloadFormatIndicator:
      next += 1;
      break;
    case PropertyId.topicAlias:
      next += 2;
      break;
    case PropertyId.messageExpiryInterval:
      next += 4;
      break;
    case PropertyId.userProperty:
      next = stringEnd(buffer, next, end);
      if (next > end) return -1;
      next = stringEnd(buffer, next, end);
      break;
    case PropertyId.contentType:
    case PropertyId.responseTopic:
    case PropertyId.correlationData:
      next = stringEnd(buffer, next, end);
      break;
    default:
      return -1;
  }
  return next > end ? -1 : next;
}

/** Beyond `end` when the two bytes of length already are. */
function stringEnd(buffer: Buffer, position: number, end: number): number {
  return position + 2 > end ? end + 1 : position + 2 + u16(buffer, position);
}

function unreadableProperty(buffer: Buffer, position: number, end: number): ProtocolFault {
  const identifier = readVariableByteInteger(buffer, position, end);
  if (identifier < 0) return lengthFault(identifier);
  const rule = propertyRule(identifier);
  if (rule?.fromClient.includes('publish')) return cutOff(rule.name);
  if (rule?.fromServer.includes('publish')) {
    return protocolError('MQTT5-3.3.4-6', `a client sends no ${rule.name} in publish`);
  }
  const message =
    rule === undefined
      ? `property ${identifier} does not exist`
      : `${rule.name} has no place in publish`;
  return malformed('MQTT5-2.2.2.2', message);
}

/** Takes the property whose identifier stands at `at` and which ends at `end`. */
function takeProperty(into: PublishPositions, at: number, end: number): ProtocolFault | undefined {
  const buffer = into.buffer;
  const text = at + 3;
  switch (buffer[at]) {
    case PropertyId.payloadFormatIndicator:
      return takePayloadFormat(into, buffer[at + 1] ?? 0);
    case PropertyId.messageExpiryInterval:
      if (into.messageExpiry >= 0) return duplicate(PropertyId.messageExpiryInterval);
      into.messageExpiry = buffer.readUInt32BE(at + 1);
      return undefined;
    case PropertyId.topicAlias:
      return takeTopicAlias(into, u16(buffer, at + 1));
    case PropertyId.contentType:
      if (into.contentTypeEnd > 0) return duplicate(PropertyId.contentType);
      into.contentTypeStart = text;
      into.contentTypeEnd = end;
      return textFault(buffer, text, end);
    case PropertyId.responseTopic:
      return takeResponseTopic(into, text, end);
    case PropertyId.correlationData:
      if (into.correlationDataEnd > 0) return duplicate(PropertyId.correlationData);
      into.correlationDataStart = text;
      into.correlationDataEnd = end;
      return undefined;
    default:
      return takeUserProperty(into, at, end);
  }
}

function takePayloadFormat(into: PublishPositions, value: number): ProtocolFault | undefined {
  if (into.payloadFormat >= 0) return duplicate(PropertyId.payloadFormatIndicator);
  into.payloadFormat = value;
  if (value <= 1) return undefined;
  return protocolError('MQTT5-3.3.2.3.2', `Payload Format Indicator is ${value}, not 0 or 1`);
}

function takeTopicAlias(into: PublishPositions, value: number): ProtocolFault | undefined {
  if (into.topicAlias > 0) return duplicate(PropertyId.topicAlias);
  into.topicAlias = value;
  if (value > 0) return undefined;
  return fault(ReasonCode.topicAliasInvalid, 'MQTT5-3.3.2-8', 'the topic alias is 0');
}

function takeResponseTopic(
  into: PublishPositions,
  start: number,
  end: number,
): ProtocolFault | undefined {
  if (into.responseTopicEnd > 0) return duplicate(PropertyId.responseTopic);
  into.responseTopicStart = start;
  into.responseTopicEnd = end;
  const wrong = textFault(into.buffer, start, end);
  if (wrong !== undefined) return wrong;
  const problem = topicNameProblem(into.buffer, start, end);
  return problem === TopicProblem.none ? undefined : responseTopicFault(problem);
}

function takeUserProperty(
  into: PublishPositions,
  at: number,
  end: number,
): ProtocolFault | undefined {
  into.userPropertyCount++;
  const nameEnd = at + 3 + u16(into.buffer, at + 1);
  return textFault(into.buffer, at + 3, nameEnd) ?? textFault(into.buffer, nameEnd + 2, end);
}

/** Receives one user property: positions of name and value. */
export type UserPropertyVisitor = (
  nameStart: number,
  nameEnd: number,
  valueStart: number,
  valueEnd: number,
) => void;

/** Walks the user properties of a decoded PUBLISH in their order, without decoding them. */
export function forEachUserProperty(packet: PublishPacket, visit: UserPropertyVisitor): void {
  if (packet.userPropertyCount === 0) return;
  const { buffer, propertiesEnd } = packet;
  let at = packet.propertiesStart;
  while (at < propertiesEnd) {
    const end = propertyEnd(buffer, at, propertiesEnd);
    if (buffer[at] === PropertyId.userProperty) {
      const nameEnd = at + 3 + u16(buffer, at + 1);
      visit(at + 3, nameEnd, nameEnd + 2, end);
    }
    at = end;
  }
}

/** The user properties of a decoded PUBLISH as strings, in their order. */
export function readUserProperties(packet: PublishPacket): UserProperty[] {
  const found: UserProperty[] = [];
  forEachUserProperty(packet, (nameStart) => {
    found.push(readUserProperty(packet.buffer, nameStart - 2));
  });
  return found;
}

/** A topic name that may not be published to. */
export function topicNameFault(problem: TopicProblem): ProtocolFault {
  const message = `the topic name ${explainTopicProblem(problem)}`;
  const clause = problem === TopicProblem.wildcard ? 'MQTT5-3.3.2-2' : clauseOfProblem(problem);
  if (problem === TopicProblem.text || problem === TopicProblem.nul) {
    return malformed(clause, message);
  }
  return fault(ReasonCode.topicNameInvalid, clause, message);
}

function textFault(buffer: Buffer, start: number, end: number): ProtocolFault | undefined {
  if (isMqttText(buffer, start, end)) return undefined;
  return malformed('MQTT5-1.5.4-1', 'a property is not well-formed UTF-8 or contains U+0000');
}

function duplicate(identifier: number): ProtocolFault {
  const name = propertyRule(identifier)?.name ?? '';
  return protocolError('MQTT5-2.2.2.2', `${name} occurs more than once`);
}

function cutOff(what: string): ProtocolFault {
  return malformed('MQTT5-2.1.4', `the packet ends inside ${what}`);
}

function lengthFault(read: number): ProtocolFault {
  if (read !== integerMalformed) return cutOff('the properties');
  return malformed('MQTT5-1.5.5-1', 'a length in the properties has more bytes than it needs');
}

function u16(buffer: Buffer, at: number): number {
  return ((buffer[at] ?? 0) << 8) | (buffer[at + 1] ?? 0);
}
