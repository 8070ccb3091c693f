import type { ConnackSpec } from '../codec/control-encoder.ts';
import type { ConnectPacket } from '../codec/packet.ts';
import { ReasonCode } from '../codec/reason-code.ts';
import { hasReservedName, storedHeadersOfWill } from '../message/header-encoder.ts';
import { publisherHash } from '../message/publisher-hash.ts';
import type { MqttLimits } from '../server/mqtt-limits.ts';
import type { WillToStore } from '../session/session-gateway.ts';

const keepAliveFactor = 1.5;

/** Why a CONNECT is refused; undefined: it is not. */
export function refusalOf(packet: ConnectPacket): ReasonCode | undefined {
  if (packet.clientId === '' && packet.protocolVersion !== 5) {
    // 3.1 wants an id always, 3.1.1 when the session is to be kept. [MQTT-3.1.3-8]
    const isAllowed = packet.protocolVersion === 4 && packet.cleanStart;
    if (!isAllowed) return ReasonCode.clientIdentifierNotValid;
  }
  const { will } = packet;
  if (will?.userProperties.some(({ name }) => hasReservedName(name)) === true) {
    return ReasonCode.implementationSpecificError;
  }
  return undefined;
}

/** The will of a CONNECT as the session keeps it. */
export function willToStore({ will }: ConnectPacket, clientId: string): WillToStore | undefined {
  if (will === undefined) return undefined;
  const clears = will.retain && will.payload.length === 0;
  return {
    topic: will.topic,
    value: clears ? null : will.payload,
    headers: storedHeadersOfWill(will, publisherHash(clientId)),
    delaySeconds: will.delaySeconds,
  };
}

/** Keep alive that an MQTT 5 client is told to use instead of its own; undefined: its own. [MQTT5-3.2.2-21] */
export function serverKeepAlive(packet: ConnectPacket, limits: MqttLimits): number | undefined {
  const { protocolVersion, keepAliveSeconds } = packet;
  const { keepAliveSecondsMax } = limits;
  if (protocolVersion !== 5 || keepAliveSecondsMax === 0) return undefined;
  const isWithin = keepAliveSeconds > 0 && keepAliveSeconds <= keepAliveSecondsMax;
  return isWithin ? undefined : keepAliveSecondsMax;
}

/** How long a client may be silent; 0: as long as it likes. [MQTT5-3.1.2-22] */
export function silenceMsMax(packet: ConnectPacket, limits: MqttLimits): number {
  const seconds = serverKeepAlive(packet, limits) ?? packet.keepAliveSeconds;
  return seconds * 1000 * keepAliveFactor;
}

/** The keep alive that silence of so much is the bound of. */
export function keepAliveSecondsOf(silenceMs: number): number {
  return silenceMs / 1000 / keepAliveFactor;
}

/** How long the session is kept after its connection. */
export function sessionExpirySeconds(
  asked: number,
  { sessionExpirySecondsMax }: Pick<MqttLimits, 'sessionExpirySecondsMax'>,
): number {
  return Math.min(asked, sessionExpirySecondsMax);
}

/** The CONNACK that accepts a CONNECT. */
export function acceptance(
  packet: ConnectPacket,
  accepted: {
    sessionPresent: boolean;
    clientId: string;
    limits: MqttLimits;
    /** By which the server has proved itself. */
    authenticationData: Buffer | undefined;
  },
): ConnackSpec {
  const { sessionPresent, clientId, limits, authenticationData } = accepted;
  const expirySeconds = sessionExpirySeconds(packet.sessionExpirySeconds, limits);
  return {
    sessionPresent,
    reasonCode: ReasonCode.success,
    receiveMaximum: limits.receiveMaximum,
    packetBytesMax: limits.packetBytesMax,
    topicAliasMaximum: limits.topicAliasMaximum,
    serverKeepAliveSeconds: serverKeepAlive(packet, limits),
    // Absent means: as asked for. [MQTT5 3.2.2.3.2]
    sessionExpirySeconds: expirySeconds < packet.sessionExpirySeconds ? expirySeconds : undefined,
    // [MQTT5-3.2.2-16]
    assignedClientId: packet.clientId === '' ? clientId : undefined,
    // [MQTT5-4.12.0-5]
    authenticationMethod: packet.authenticationMethod,
    authenticationData,
  };
}
