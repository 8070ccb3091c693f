import type { ProtocolVersion } from './packet.ts';
import { ConnackReturnCode, ReasonCode } from './reason-code.ts';

/**
 * What a peer did wrong, as data. Ends its own connection, nothing else.
 *
 * - *Malformed* (0x81): the bytes cannot be parsed as the specification says.
 * - *Protocol error* (0x82): they parse, but hold what the protocol does not allow. [MQTT5 section 1.2]
 * - A more precise code where the specification or common use has one (0x84, 0x85, 0x8F, 0x90, …).
 */
export interface ProtocolFault {
  readonly kind: 'fault';
  /** For a DISCONNECT, or for the CONNACK when the CONNECT is at fault (MQTT 5). */
  readonly reasonCode: ReasonCode;
  /** MQTT 3.x: return code of the CONNACK; undefined means close without an answer. */
  readonly connackCode: ConnackReturnCode | undefined;
  /** Says what was wrong, with what value. */
  readonly message: string;
  /** The clause that was broken, e.g. `MQTT5-3.3.1-4`. */
  readonly clause: string;
  /** Fault in a CONNECT: the version to answer in; undefined means close without an answer. */
  readonly answerVersion: ProtocolVersion | undefined;
}

/** A fault with any reason code. `clause` is the rule that was broken. */
export function fault(reasonCode: ReasonCode, clause: string, message: string): ProtocolFault {
  return {
    kind: 'fault',
    reasonCode,
    connackCode: connackCodeOf(reasonCode),
    message,
    clause,
    answerVersion: undefined,
  };
}

/** The bytes cannot be parsed. */
export function malformed(clause: string, message: string): ProtocolFault {
  return fault(ReasonCode.malformedPacket, clause, message);
}

/** The packet parses, but what it says is not allowed. */
export function protocolError(clause: string, message: string): ProtocolFault {
  return fault(ReasonCode.protocolError, clause, message);
}

/** The same fault, found in a CONNECT of `version`. */
export function inConnect(found: ProtocolFault, version: ProtocolVersion): ProtocolFault {
  return { ...found, answerVersion: version };
}

/** MQTT 3.x answers these two; every other fault in a CONNECT closes silently. [MQTT-3.1.4-1] */
function connackCodeOf(reasonCode: ReasonCode): ConnackReturnCode | undefined {
  if (reasonCode === ReasonCode.unsupportedProtocolVersion) {
    return ConnackReturnCode.unacceptableProtocolVersion;
  }
  if (reasonCode === ReasonCode.clientIdentifierNotValid) {
    return ConnackReturnCode.identifierRejected;
  }
  return undefined;
}
