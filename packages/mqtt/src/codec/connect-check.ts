import type { DecodeScratch } from './ack-decoder.ts';
import type { ProtocolVersion, UserProperty } from './packet.ts';
import type { PacketReader } from './packet-reader.ts';
import { checkProperties } from './property-check.ts';
import {
  fault,
  inConnect,
  malformed,
  protocolError,
  type ProtocolFault,
} from './protocol-fault.ts';
import { topicNameFault } from './publish-decoder.ts';
import { ReasonCode } from './reason-code.ts';
import { topicNameProblem, TopicProblem } from './topic.ts';

/** What the check of a CONNECT keeps, since the library's parser loses it. */
export interface ConnectFindings {
  readonly kind: 'connect-findings';
  readonly protocolVersion: ProtocolVersion;
  readonly userProperties: readonly UserProperty[];
  readonly willUserProperties: readonly UserProperty[];
  /** Position of the connect flags. */
  readonly flagsAt: number;
  /** Flags that are set without the field that they announce: MQTT 3.1 allows it, the library does not. */
  readonly flagsWithoutField: number;
}

const passwordFlag = 0x40;
const userNameFlag = 0x80;

interface ConnectFlags {
  readonly clean: boolean;
  readonly will: boolean;
  readonly password: boolean;
  readonly userName: boolean;
}

/** Checks the body that the scratch's reader stands on. [MQTT5 section 3.1, MQTT section 3.1] */
export function checkConnect(scratch: DecodeScratch): ConnectFindings | ProtocolFault {
  const { reader } = scratch;
  const version = checkProtocol(reader);
  if (typeof version !== 'number') return version;
  const found = checkBody(scratch, version);
  return reader.fault === undefined ? found : inConnect(reader.fault, version);
}

/** [MQTT5-3.1.2-1, -3.1.2-2, MQTT-3.1.2-1, -3.1.2-2] */
function checkProtocol(reader: PacketReader): ProtocolVersion | ProtocolFault {
  reader.text('the protocol name');
  const name = reader.buffer.toString('latin1', reader.valueStart, reader.position);
  const level = reader.byte('the protocol version');
  if (reader.fault !== undefined) return reader.fault;
  if (name === 'MQTT') {
    if (level === 4 || level === 5) return level;
    // Bridges set the high bit of the version that they speak. Whoever is newer than 5 understands
    // the CONNACK of 5 rather than that of 3.1.1.
    return refuseVersion(name, level, (level & 0x7f) > 4 ? 5 : 4);
  }
  if (name === 'MQIsdp') {
    return level === 3 ? 3 : refuseVersion(name, level, 3);
  }
  return versionFault('MQTT5-3.1.2-1', 'that protocol name', level);
}

function refuseVersion(name: string, level: number, answer: ProtocolVersion): ProtocolFault {
  const clause = answer === 5 ? 'MQTT5-3.1.2-2' : 'MQTT-3.1.2-2';
  return inConnect(versionFault(clause, name, level), answer);
}

function versionFault(clause: string, name: string, level: number): ProtocolFault {
  const message = `${name} with version ${level} is not served: 3.1, 3.1.1 and 5 are`;
  return fault(ReasonCode.unsupportedProtocolVersion, clause, message);
}

function checkBody(scratch: DecodeScratch, version: ProtocolVersion): ConnectFindings {
  const { reader, findings, limits } = scratch;
  const flagsAt = reader.position;
  const flags = checkFlags(reader, version);
  reader.u16('the keep alive');
  let userProperties: readonly UserProperty[] = [];
  if (version === 5) {
    checkProperties(reader, 'connect', findings, limits.userPropertiesMax);
    userProperties = findings.userProperties;
  }
  checkClientId(reader, version, flags.clean);
  const willUserProperties = flags.will ? checkWill(scratch, version) : [];
  const flagsWithoutField = checkCredentials(reader, version, flags);
  reader.finish('CONNECT');
  return {
    kind: 'connect-findings',
    protocolVersion: version,
    userProperties,
    willUserProperties,
    flagsAt,
    flagsWithoutField,
  };
}

function checkFlags(reader: PacketReader, version: ProtocolVersion): ConnectFlags {
  const bits = reader.byte('the connect flags');
  const flags: ConnectFlags = {
    clean: (bits & 0x02) !== 0,
    will: (bits & 0x04) !== 0,
    password: (bits & passwordFlag) !== 0,
    userName: (bits & userNameFlag) !== 0,
  };
  const willQos = (bits >> 3) & 3;
  if ((bits & 0x01) !== 0) {
    reader.fail(malformed('MQTT5-3.1.2-3', 'the reserved connect flag is set'));
  } else if (willQos === 3) {
    reader.fail(malformed('MQTT5-3.1.2-12', 'the will has QoS 3'));
  } else if (!flags.will && willQos !== 0) {
    reader.fail(protocolError('MQTT5-3.1.2-11', `will QoS ${willQos} without a will`));
  } else if (!flags.will && (bits & 0x20) !== 0) {
    reader.fail(protocolError('MQTT5-3.1.2-13', 'will retain without a will'));
  } else if (version !== 5 && flags.password && !flags.userName) {
    reader.fail(protocolError('MQTT-3.1.2-22', 'a password without a user name'));
  }
  return flags;
}

/** The remaining length takes precedence over the flags in MQTT 3.1, so both fields may be missing. */
function checkCredentials(
  reader: PacketReader,
  version: ProtocolVersion,
  flags: ConnectFlags,
): number {
  let missing = 0;
  if (flags.userName) {
    if (version === 3 && reader.remaining === 0) missing |= userNameFlag;
    else reader.text('the user name');
  }
  if (flags.password) {
    if (version === 3 && reader.remaining === 0) missing |= passwordFlag;
    else reader.binary('the password');
  }
  return missing;
}

/** [MQTT5-3.1.3-3..-6, MQTT-3.1.3-7, -3.1.3-8]; MQTT 3.1 wants at least one character. */
function checkClientId(reader: PacketReader, version: ProtocolVersion, clean: boolean): void {
  reader.text('the client identifier');
  const empty = reader.position === reader.valueStart;
  if (!empty || version === 5 || (version === 4 && clean)) return;
  const message = 'an empty client identifier needs CleanSession and MQTT 3.1.1';
  reader.fail(fault(ReasonCode.clientIdentifierNotValid, 'MQTT-3.1.3-8', message));
}

function checkWill(scratch: DecodeScratch, version: ProtocolVersion): readonly UserProperty[] {
  const { reader, findings, limits } = scratch;
  let userProperties: readonly UserProperty[] = [];
  if (version === 5) {
    checkProperties(reader, 'will', findings, limits.userPropertiesMax);
    userProperties = findings.userProperties;
  }
  reader.text('the will topic');
  if (reader.fault === undefined) {
    const { buffer, valueStart, position } = reader;
    const problem = topicNameProblem(buffer, valueStart, position, limits.topicLevelsMax);
    if (problem !== TopicProblem.none) reader.fail(topicNameFault(problem));
  }
  reader.binary('the will payload');
  return userProperties;
}
