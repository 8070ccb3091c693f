import {
  type IAuthPacket,
  type IConnectPacket,
  type IDisconnectPacket,
  type ISubscribePacket,
  type IUnsubscribePacket,
  type Packet,
  parser,
} from 'mqtt-packet';
import type { ConnectFindings } from './connect-check.ts';
import type { Frame } from './framer.ts';
import type {
  AuthPacket,
  ConnectPacket,
  DisconnectPacket,
  ProtocolVersion,
  SubscribePacket,
  UnsubscribePacket,
  UserProperty,
  Will,
} from './packet.ts';
import type { ReasonCode } from './reason-code.ts';

/** Fixed header flags without the DUP that MQTT 3.1 may set on SUBSCRIBE and UNSUBSCRIBE. */
const withoutDup = 0xf7;
/** A fixed header and the largest remaining length. [MQTT5 section 2.1.4] */
const anyPacketBytes = 268_435_460;
const neverExpires = 0xffffffff;

/**
 * Decodes a frame that was checked before with mqtt-packet. A parser of its own for each packet: the
 * library's keeps the last CONNECT, password included. Undefined when the library refuses it.
 */
export function parseFrame(frame: Frame, version: ProtocolVersion): Packet | undefined {
  const library = parser({ protocolVersion: version });
  let parsed: Packet | undefined;
  let refused = false;
  library.on('packet', (packet) => {
    parsed = packet;
  });
  library.on('error', () => {
    refused = true;
  });
  library.parse(Buffer.of(frame.firstByte & withoutDup));
  library.parse(frame.buffer.subarray(frame.start + 1, frame.end));
  return refused ? undefined : parsed;
}

/** The library's CONNECT in this package's shape, with the defaults of MQTT 5 filled in. */
export function toConnect(packet: IConnectPacket, found: ConnectFindings): ConnectPacket {
  const version = found.protocolVersion;
  const properties = packet.properties ?? {};
  const clean = packet.clean ?? false;
  const endsWithConnection = version === 5 || clean;
  return {
    kind: 'connect',
    protocolVersion: version,
    cleanStart: clean,
    keepAliveSeconds: packet.keepalive ?? 0,
    clientId: packet.clientId,
    will: packet.will === undefined ? undefined : toWill(packet.will, found.willUserProperties),
    userName: packet.username,
    password: copyOf(packet.password),
    sessionExpirySeconds:
      properties.sessionExpiryInterval ?? (endsWithConnection ? 0 : neverExpires),
    receiveMaximum: properties.receiveMaximum ?? 65_535,
    packetBytesMax: properties.maximumPacketSize ?? anyPacketBytes,
    topicAliasMaximum: properties.topicAliasMaximum ?? 0,
    requestResponseInformation: properties.requestResponseInformation ?? false,
    requestProblemInformation: properties.requestProblemInformation ?? true,
    authenticationMethod: properties.authenticationMethod,
    authenticationData: copyOf(properties.authenticationData),
    userProperties: found.userProperties,
  };
}

function toWill(
  will: NonNullable<IConnectPacket['will']>,
  userProperties: readonly UserProperty[],
): Will {
  const properties = will.properties ?? {};
  const format = properties.payloadFormatIndicator;
  return {
    topic: will.topic,
    payload: ownBytes(typeof will.payload === 'string' ? Buffer.from(will.payload) : will.payload),
    qos: will.qos ?? 0,
    retain: will.retain ?? false,
    delaySeconds: properties.willDelayInterval ?? 0,
    payloadFormat: format === undefined ? undefined : format ? 1 : 0,
    messageExpirySeconds: properties.messageExpiryInterval,
    contentType: properties.contentType,
    responseTopic: properties.responseTopic,
    correlationData: copyOf(properties.correlationData),
    userProperties,
  };
}

export function toSubscribe(
  packet: ISubscribePacket,
  userProperties: readonly UserProperty[],
): SubscribePacket {
  return {
    kind: 'subscribe',
    packetId: packet.messageId ?? 0,
    subscriptions: packet.subscriptions.map(({ topic, qos, nl, rap, rh }) => ({
      filter: topic,
      qos,
      noLocal: nl ?? false,
      retainAsPublished: rap ?? false,
      retainHandling: rh === 1 || rh === 2 ? rh : 0,
    })),
    subscriptionId: packet.properties?.subscriptionIdentifier,
    userProperties,
  };
}

export function toUnsubscribe(
  packet: IUnsubscribePacket,
  userProperties: readonly UserProperty[],
): UnsubscribePacket {
  return {
    kind: 'unsubscribe',
    packetId: packet.messageId ?? 0,
    filters: packet.unsubscriptions,
    userProperties,
  };
}

export function toDisconnect(
  packet: IDisconnectPacket,
  userProperties: readonly UserProperty[],
): DisconnectPacket {
  return {
    kind: 'disconnect',
    reasonCode: (packet.reasonCode ?? 0) as ReasonCode,
    sessionExpirySeconds: packet.properties?.sessionExpiryInterval,
    reasonString: packet.properties?.reasonString,
    userProperties,
  };
}

export function toAuth(packet: IAuthPacket, userProperties: readonly UserProperty[]): AuthPacket {
  return {
    kind: 'auth',
    reasonCode: packet.reasonCode as ReasonCode,
    authenticationMethod: packet.properties?.authenticationMethod ?? '',
    authenticationData: copyOf(packet.properties?.authenticationData),
    reasonString: packet.properties?.reasonString,
    userProperties,
  };
}

/** The library's buffers are views on the socket's chunk. */
function copyOf(view: Buffer | undefined): Buffer | undefined {
  return view === undefined ? undefined : ownBytes(view);
}

function ownBytes(view: Uint8Array): Buffer {
  const copy = Buffer.allocUnsafeSlow(view.length);
  copy.set(view);
  return copy;
}
