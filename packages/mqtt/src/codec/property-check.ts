import type { UserProperty } from './packet.ts';
import { type PacketReader, readUserProperty } from './packet-reader.ts';
import {
  type PropertyCarrier,
  PropertyId,
  propertyIdBound,
  type PropertyRule,
  propertyRule,
} from './property.ts';
import { fault, malformed, protocolError, type ProtocolFault } from './protocol-fault.ts';
import { ReasonCode } from './reason-code.ts';
import { explainTopicProblem, topicNameProblem, TopicProblem } from './topic.ts';

/** What {@link checkProperties} found worth keeping; filled anew by each call. */
export class PropertyFindings {
  /** In the order of the packet; the library's parser loses the order across names. */
  userProperties: UserProperty[] = [];
  readonly #seen = new Uint8Array(propertyIdBound);

  clear(): void {
    this.userProperties = [];
    this.#seen.fill(0);
  }

  has(identifier: number): boolean {
    return this.#seen[identifier] === 1;
  }

  add(identifier: number): void {
    this.#seen[identifier] = 1;
  }
}

/**
 * Checks a property section as a client may send it in `carrier`: its length, every identifier, type
 * and value, and that nothing but a user property occurs twice. Leaves the reader behind it.
 */
export function checkProperties(
  reader: PacketReader,
  carrier: PropertyCarrier,
  findings: PropertyFindings,
  userPropertiesMax: number,
): void {
  findings.clear();
  const length = reader.variableByteInteger('the property length');
  const packetEnd = reader.end;
  const end = reader.position + length;
  if (end > packetEnd) {
    reader.fail(malformed('MQTT5-2.2.2.1', `${length} bytes of properties do not fit the packet`));
    return;
  }
  // A property must not reach beyond the section either.
  reader.end = end;
  while (reader.position < end && reader.fault === undefined) {
    checkProperty(reader, carrier, findings);
    if (findings.userProperties.length > userPropertiesMax) {
      reader.fail(tooManyUserProperties(userPropertiesMax));
    }
  }
  reader.end = packetEnd;
  const data = findings.has(PropertyId.authenticationData);
  if (data && !findings.has(PropertyId.authenticationMethod)) {
    reader.fail(protocolError('MQTT5-3.1.2.11.10', 'Authentication Data without a method'));
  }
}

/** A bound of this server, not of the protocol. */
export function tooManyUserProperties(userPropertiesMax: number): ProtocolFault {
  const message = `more than ${userPropertiesMax} user properties, the limit of this server`;
  return fault(ReasonCode.quotaExceeded, 'MQTT5-4.13.2', message);
}

function checkProperty(
  reader: PacketReader,
  carrier: PropertyCarrier,
  findings: PropertyFindings,
): void {
  const identifier = reader.variableByteInteger('a property identifier');
  if (reader.fault !== undefined) return;
  const rule = propertyRule(identifier);
  const wrong = identifierFault(rule, identifier, carrier, findings);
  if (rule === undefined || wrong !== undefined) {
    if (wrong !== undefined) reader.fail(wrong);
    return;
  }
  findings.add(identifier);
  if (rule.type === 'pair') {
    const start = reader.position;
    reader.text('the name of a user property');
    reader.text('the value of a user property');
    if (reader.fault === undefined) {
      findings.userProperties.push(readUserProperty(reader.buffer, start));
    }
    return;
  }
  const value = readValue(reader, rule);
  checkRange(reader, rule, value);
}

/** Unknown or foreign: malformed. The server's, or a second time: protocol error. [MQTT5 section 2.2.2.2] */
function identifierFault(
  rule: PropertyRule | undefined,
  identifier: number,
  carrier: PropertyCarrier,
  findings: PropertyFindings,
): ProtocolFault | undefined {
  if (rule === undefined) {
    return malformed('MQTT5-2.2.2.2', `property ${identifier} does not exist`);
  }
  if (!rule.fromClient.includes(carrier)) {
    if (rule.fromServer.includes(carrier)) return serverPropertyFault(rule, carrier);
    return malformed('MQTT5-2.2.2.2', `${rule.name} has no place in ${carrier}`);
  }
  if (rule.type !== 'pair' && findings.has(identifier)) return duplicateFault(rule);
  return undefined;
}

/** A property that only the server sends in this packet. */
function serverPropertyFault(rule: PropertyRule, carrier: PropertyCarrier): ProtocolFault {
  const clause = rule.id === PropertyId.subscriptionIdentifier ? 'MQTT5-3.3.4-6' : 'MQTT5-2.2.2.2';
  return protocolError(clause, `a client sends no ${rule.name} in ${carrier}`);
}

function duplicateFault(rule: PropertyRule): ProtocolFault {
  return protocolError('MQTT5-2.2.2.2', `${rule.name} occurs more than once`);
}

/** Number properties: the value. Others: 0, and the reader has the range. */
function readValue(reader: PacketReader, rule: PropertyRule): number {
  switch (rule.type) {
    case 'byte':
      return reader.byte(rule.name);
    case 'u16':
      return reader.u16(rule.name);
    case 'u32':
      return reader.u32(rule.name);
    case 'varint':
      return reader.variableByteInteger(rule.name);
    case 'text':
      reader.text(rule.name);
      return 0;
    default:
      reader.binary(rule.name);
      return 0;
  }
}

function checkRange(reader: PacketReader, rule: PropertyRule, value: number): void {
  if (reader.fault !== undefined) return;
  if (rule.range === 'boolean' && value > 1) {
    reader.fail(protocolError('MQTT5-2.2.2.2', `${rule.name} is ${value}, not 0 or 1`));
  } else if (rule.range === 'positive' && value === 0) {
    reader.fail(zeroFault(rule));
  } else if (rule.range === 'topic') {
    const problem = topicNameProblem(reader.buffer, reader.valueStart, reader.position);
    if (problem !== TopicProblem.none) reader.fail(responseTopicFault(problem));
  }
}

function zeroFault(rule: PropertyRule): ProtocolFault {
  if (rule.id === PropertyId.topicAlias) {
    return fault(ReasonCode.topicAliasInvalid, 'MQTT5-3.3.2-8', 'the topic alias is 0');
  }
  return protocolError('MQTT5-2.2.2.2', `${rule.name} is 0`);
}

/** [MQTT5-3.3.2-14] for PUBLISH, and the same for a will. */
export function responseTopicFault(problem: TopicProblem): ProtocolFault {
  return protocolError('MQTT5-3.3.2-14', `the response topic ${explainTopicProblem(problem)}`);
}
