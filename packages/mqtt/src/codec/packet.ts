import type { ReasonCode } from './reason-code.ts';

/** Protocol level as on the wire: 3 is MQTT 3.1, 4 is 3.1.1. */
export type ProtocolVersion = 3 | 4 | 5;
export type Qos = 0 | 1 | 2;

/** One user property; order and repeated names matter. [MQTT5-3.3.2-18] */
export interface UserProperty {
  readonly name: string;
  readonly value: string;
}

/** Buffers in it have a size of their own: it may be kept. */
export interface Will {
  readonly topic: string;
  readonly payload: Buffer;
  readonly qos: Qos;
  readonly retain: boolean;
  readonly delaySeconds: number;
  readonly payloadFormat: 0 | 1 | undefined;
  readonly messageExpirySeconds: number | undefined;
  readonly contentType: string | undefined;
  readonly responseTopic: string | undefined;
  readonly correlationData: Buffer | undefined;
  readonly userProperties: readonly UserProperty[];
}

/** What a 3.x client cannot say has the value that means the same in MQTT 5. Buffers are copies. */
export interface ConnectPacket {
  readonly kind: 'connect';
  readonly protocolVersion: ProtocolVersion;
  /** CleanSession in 3.x. */
  readonly cleanStart: boolean;
  /** 0: no keep alive. */
  readonly keepAliveSeconds: number;
  /** May be empty: the server assigns one. */
  readonly clientId: string;
  readonly will: Will | undefined;
  readonly userName: string | undefined;
  readonly password: Buffer | undefined;
  /** 0xFFFFFFFF: never, as for a 3.x client without CleanSession. [MQTT5 3.1.2.11.2] */
  readonly sessionExpirySeconds: number;
  /** QoS 1 and 2 messages that the client takes unacknowledged, 1 to 65,535. */
  readonly receiveMaximum: number;
  /** Largest packet the client takes, fixed header included. */
  readonly packetBytesMax: number;
  readonly topicAliasMaximum: number;
  readonly requestResponseInformation: boolean;
  /** False: no reason strings and user properties but on PUBLISH, CONNACK, DISCONNECT. [MQTT5-3.1.2-29] */
  readonly requestProblemInformation: boolean;
  readonly authenticationMethod: string | undefined;
  readonly authenticationData: Buffer | undefined;
  readonly userProperties: readonly UserProperty[];
}

export interface SubscriptionRequest {
  /** As sent, `$share/…` included. */
  readonly filter: string;
  readonly qos: Qos;
  readonly noLocal: boolean;
  readonly retainAsPublished: boolean;
  /** 0 send at subscribe, 1 only if new, 2 never. */
  readonly retainHandling: 0 | 1 | 2;
}

export interface SubscribePacket {
  readonly kind: 'subscribe';
  readonly packetId: number;
  /** At least one. */
  readonly subscriptions: readonly SubscriptionRequest[];
  /** 1 to 268,435,455. */
  readonly subscriptionId: number | undefined;
  readonly userProperties: readonly UserProperty[];
}

export interface UnsubscribePacket {
  readonly kind: 'unsubscribe';
  readonly packetId: number;
  /** At least one. */
  readonly filters: readonly string[];
  readonly userProperties: readonly UserProperty[];
}

/**
 * A PUBLISH as positions in `buffer`; nothing is copied or decoded. The decoder uses one object
 * again and again: take what you need before the next decode. Text ranges are well-formed UTF-8.
 * A range that is absent has start = end = 0 (no range of a packet begins at position 0).
 */
export interface PublishPacket {
  readonly kind: 'publish';
  readonly buffer: Buffer;
  readonly dup: boolean;
  readonly qos: Qos;
  readonly retain: boolean;
  /** 0 with QoS 0. */
  readonly packetId: number;
  /** Empty only when `topicAlias` is set. */
  readonly topicStart: number;
  readonly topicEnd: number;
  /** 0: none. The maximum is the connection's to check (0x94). */
  readonly topicAlias: number;
  readonly propertiesStart: number;
  readonly propertiesEnd: number;
  /** -1: absent. */
  readonly payloadFormat: number;
  /** Seconds; -1: absent. */
  readonly messageExpiry: number;
  readonly contentTypeStart: number;
  readonly contentTypeEnd: number;
  readonly responseTopicStart: number;
  readonly responseTopicEnd: number;
  readonly correlationDataStart: number;
  readonly correlationDataEnd: number;
  /** Read them with `forEachUserProperty` or `readUserProperties`. */
  readonly userPropertyCount: number;
  readonly payloadStart: number;
  readonly payloadEnd: number;
}

export type AckKind = 'puback' | 'pubrec' | 'pubrel' | 'pubcomp';

/** The decoder uses one object again and again: take what you need before the next decode. */
export interface AckPacket {
  readonly kind: AckKind;
  readonly packetId: number;
  readonly reasonCode: ReasonCode;
}

export interface PingreqPacket {
  readonly kind: 'pingreq';
}

export interface DisconnectPacket {
  readonly kind: 'disconnect';
  readonly reasonCode: ReasonCode;
  readonly sessionExpirySeconds: number | undefined;
  readonly reasonString: string | undefined;
  readonly userProperties: readonly UserProperty[];
}

export interface AuthPacket {
  readonly kind: 'auth';
  readonly reasonCode: ReasonCode;
  readonly authenticationMethod: string;
  /** A copy. */
  readonly authenticationData: Buffer | undefined;
  readonly reasonString: string | undefined;
  readonly userProperties: readonly UserProperty[];
}

/** Everything a client may send. */
export type ClientPacket =
  | ConnectPacket
  | PublishPacket
  | AckPacket
  | SubscribePacket
  | UnsubscribePacket
  | PingreqPacket
  | DisconnectPacket
  | AuthPacket;

/** Type numbers of the fixed header. [MQTT5 section 2.1.2] */
export const PacketType = {
  connect: 1,
  connack: 2,
  publish: 3,
  puback: 4,
  pubrec: 5,
  pubrel: 6,
  pubcomp: 7,
  subscribe: 8,
  suback: 9,
  unsubscribe: 10,
  unsuback: 11,
  pingreq: 12,
  pingresp: 13,
  disconnect: 14,
  auth: 15,
} as const;
