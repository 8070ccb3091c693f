import type { ErrorCode } from '@robustmq/core';

/** MQTT 5 reason codes by name. [MQTT5 section 2.4] */
export const ReasonCode = {
  /** Also "Normal disconnection" and "Granted QoS 0". */
  success: 0x00,
  grantedQos1: 0x01,
  grantedQos2: 0x02,
  disconnectWithWill: 0x04,
  noMatchingSubscribers: 0x10,
  noSubscriptionExisted: 0x11,
  continueAuthentication: 0x18,
  reAuthenticate: 0x19,
  unspecifiedError: 0x80,
  malformedPacket: 0x81,
  protocolError: 0x82,
  implementationSpecificError: 0x83,
  unsupportedProtocolVersion: 0x84,
  clientIdentifierNotValid: 0x85,
  badUserNameOrPassword: 0x86,
  notAuthorized: 0x87,
  serverUnavailable: 0x88,
  serverBusy: 0x89,
  banned: 0x8a,
  serverShuttingDown: 0x8b,
  badAuthenticationMethod: 0x8c,
  keepAliveTimeout: 0x8d,
  sessionTakenOver: 0x8e,
  topicFilterInvalid: 0x8f,
  topicNameInvalid: 0x90,
  packetIdentifierInUse: 0x91,
  packetIdentifierNotFound: 0x92,
  receiveMaximumExceeded: 0x93,
  topicAliasInvalid: 0x94,
  packetTooLarge: 0x95,
  messageRateTooHigh: 0x96,
  quotaExceeded: 0x97,
  administrativeAction: 0x98,
  payloadFormatInvalid: 0x99,
  retainNotSupported: 0x9a,
  qosNotSupported: 0x9b,
  useAnotherServer: 0x9c,
  serverMoved: 0x9d,
  sharedSubscriptionsNotSupported: 0x9e,
  connectionRateExceeded: 0x9f,
  maximumConnectTime: 0xa0,
  subscriptionIdentifiersNotSupported: 0xa1,
  wildcardSubscriptionsNotSupported: 0xa2,
} as const;

export type ReasonCode = (typeof ReasonCode)[keyof typeof ReasonCode];

/** Packets that carry a reason code. */
export type ReasonCarrier =
  | 'connack'
  | 'puback'
  | 'pubrec'
  | 'pubrel'
  | 'pubcomp'
  | 'suback'
  | 'unsuback'
  | 'disconnect'
  | 'auth';

const pubackCodes = [0x00, 0x10, 0x80, 0x83, 0x87, 0x90, 0x91, 0x97, 0x99] as const;
const pubrelCodes = [0x00, 0x92] as const;

/** Which packet may carry which code, whoever sends it. [MQTT5 section 2.4] */
const codesOf = {
  connack: [
    0x00, 0x80, 0x81, 0x82, 0x83, 0x84, 0x85, 0x86, 0x87, 0x88, 0x89, 0x8a, 0x8c, 0x90, 0x95, 0x97,
    0x99, 0x9a, 0x9b, 0x9c, 0x9d, 0x9f,
  ],
  puback: pubackCodes,
  pubrec: pubackCodes,
  pubrel: pubrelCodes,
  pubcomp: pubrelCodes,
  suback: [0x00, 0x01, 0x02, 0x80, 0x83, 0x87, 0x8f, 0x91, 0x97, 0x9e, 0xa1, 0xa2],
  unsuback: [0x00, 0x11, 0x80, 0x83, 0x87, 0x8f, 0x91],
  disconnect: [
    0x00, 0x04, 0x80, 0x81, 0x82, 0x83, 0x87, 0x89, 0x8b, 0x8c, 0x8d, 0x8e, 0x8f, 0x90, 0x93, 0x94,
    0x95, 0x96, 0x97, 0x98, 0x99, 0x9a, 0x9b, 0x9c, 0x9d, 0x9e, 0x9f, 0xa0, 0xa1, 0xa2,
  ],
  auth: [0x00, 0x18, 0x19],
} as const satisfies Record<ReasonCarrier, readonly ReasonCode[]>;

/** What a client may put into a DISCONNECT; the other codes are the server's. [MQTT5 3.14.2.1] */
const clientDisconnectCodes: readonly ReasonCode[] = [
  0x00, 0x04, 0x80, 0x81, 0x82, 0x83, 0x90, 0x93, 0x94, 0x95, 0x96, 0x97, 0x98, 0x99,
];

/** What a client may put into an AUTH; Success is the server's. [MQTT5 3.15.2.1] */
const clientAuthCodes: readonly ReasonCode[] = [0x18, 0x19];

/** Every value that may stand in `carrier`, ascending. */
export function reasonCodesOf(carrier: ReasonCarrier): readonly ReasonCode[] {
  return codesOf[carrier];
}

/** Whether `value` may stand in `carrier` when a client sent it. */
export function isClientReasonCode(carrier: ReasonCarrier, value: number): value is ReasonCode {
  const codes: readonly number[] =
    carrier === 'disconnect'
      ? clientDisconnectCodes
      : carrier === 'auth'
        ? clientAuthCodes
        : codesOf[carrier];
  return codes.includes(value);
}

/** `reason` if `carrier` may carry it, else Unspecified error (Success stays Success everywhere). */
export function reasonFor(carrier: ReasonCarrier, reason: ReasonCode): ReasonCode {
  const codes: readonly ReasonCode[] = codesOf[carrier];
  if (codes.includes(reason)) return reason;
  return carrier === 'pubrel' || carrier === 'pubcomp'
    ? ReasonCode.packetIdentifierNotFound
    : ReasonCode.unspecifiedError;
}

/**
 * What a client is told in a PUBACK, PUBREC, SUBACK or UNSUBACK when the operation ended with an
 * operating error. (UNSUBACK has no Quota exceeded: pass the result through {@link reasonFor}.)
 */
export const ackReasonByError: Record<ErrorCode, ReasonCode> = {
  INVALID_ARGUMENT: ReasonCode.implementationSpecificError,
  NOT_FOUND: ReasonCode.unspecifiedError,
  ALREADY_EXISTS: ReasonCode.implementationSpecificError,
  NOT_LEADER: ReasonCode.unspecifiedError,
  FENCED: ReasonCode.unspecifiedError,
  WRITER_FENCED: ReasonCode.unspecifiedError,
  PRODUCER_FENCED: ReasonCode.unspecifiedError,
  OUT_OF_ORDER_SEQUENCE: ReasonCode.unspecifiedError,
  // The batch is in the log, only its offset is unknown, and MQTT has no offsets.
  DUPLICATE_SEQUENCE: ReasonCode.success,
  OFFSET_OUT_OF_RANGE: ReasonCode.unspecifiedError,
  CORRUPT_BATCH: ReasonCode.unspecifiedError,
  BATCH_TOO_LARGE: ReasonCode.quotaExceeded,
  RESOURCE_EXHAUSTED: ReasonCode.quotaExceeded,
  DISK_FULL: ReasonCode.quotaExceeded,
  UNAVAILABLE: ReasonCode.unspecifiedError,
  INDETERMINATE: ReasonCode.unspecifiedError,
  SEGMENT_UNKNOWN: ReasonCode.unspecifiedError,
  DAMAGED: ReasonCode.unspecifiedError,
  WRONG_CLUSTER: ReasonCode.unspecifiedError,
  CONFLICT: ReasonCode.unspecifiedError,
  COMPACTED: ReasonCode.unspecifiedError,
  STREAM_SUSPENDED: ReasonCode.unspecifiedError,
  NOT_AUTHORIZED: ReasonCode.notAuthorized,
  CANCELLED: ReasonCode.unspecifiedError,
  UNSUPPORTED: ReasonCode.implementationSpecificError,
  INTERNAL: ReasonCode.unspecifiedError,
  NOT_ENOUGH_REPLICAS: ReasonCode.unspecifiedError,
  OLD_STORE: ReasonCode.unspecifiedError,
};

/** What a client is told in a CONNACK when accepting it ended with an operating error. */
export const connackReasonByError: Record<ErrorCode, ReasonCode> = {
  INVALID_ARGUMENT: ReasonCode.implementationSpecificError,
  NOT_FOUND: ReasonCode.serverUnavailable,
  ALREADY_EXISTS: ReasonCode.serverUnavailable,
  NOT_LEADER: ReasonCode.serverUnavailable,
  FENCED: ReasonCode.serverUnavailable,
  WRITER_FENCED: ReasonCode.serverUnavailable,
  PRODUCER_FENCED: ReasonCode.serverUnavailable,
  OUT_OF_ORDER_SEQUENCE: ReasonCode.serverUnavailable,
  DUPLICATE_SEQUENCE: ReasonCode.serverUnavailable,
  OFFSET_OUT_OF_RANGE: ReasonCode.serverUnavailable,
  CORRUPT_BATCH: ReasonCode.serverUnavailable,
  BATCH_TOO_LARGE: ReasonCode.quotaExceeded,
  RESOURCE_EXHAUSTED: ReasonCode.serverBusy,
  DISK_FULL: ReasonCode.serverUnavailable,
  UNAVAILABLE: ReasonCode.serverUnavailable,
  INDETERMINATE: ReasonCode.serverUnavailable,
  SEGMENT_UNKNOWN: ReasonCode.serverUnavailable,
  DAMAGED: ReasonCode.serverUnavailable,
  WRONG_CLUSTER: ReasonCode.serverUnavailable,
  CONFLICT: ReasonCode.serverBusy,
  COMPACTED: ReasonCode.serverUnavailable,
  STREAM_SUSPENDED: ReasonCode.serverBusy,
  NOT_AUTHORIZED: ReasonCode.notAuthorized,
  CANCELLED: ReasonCode.serverUnavailable,
  UNSUPPORTED: ReasonCode.implementationSpecificError,
  INTERNAL: ReasonCode.unspecifiedError,
  NOT_ENOUGH_REPLICAS: ReasonCode.serverUnavailable,
  OLD_STORE: ReasonCode.serverUnavailable,
};

/** CONNACK return codes of MQTT 3.1 and 3.1.1. [MQTT-3.2.2.3] */
export const ConnackReturnCode = {
  accepted: 0,
  unacceptableProtocolVersion: 1,
  identifierRejected: 2,
  serverUnavailable: 3,
  badUserNameOrPassword: 4,
  notAuthorized: 5,
} as const;

export type ConnackReturnCode = (typeof ConnackReturnCode)[keyof typeof ConnackReturnCode];

/** The 3.x return code that comes closest to a reason code. */
export function connackReturnCodeOf(reason: ReasonCode): ConnackReturnCode {
  switch (reason) {
    case ReasonCode.success:
      return ConnackReturnCode.accepted;
    case ReasonCode.unsupportedProtocolVersion:
      return ConnackReturnCode.unacceptableProtocolVersion;
    case ReasonCode.clientIdentifierNotValid:
      return ConnackReturnCode.identifierRejected;
    case ReasonCode.badUserNameOrPassword:
    case ReasonCode.badAuthenticationMethod:
      return ConnackReturnCode.badUserNameOrPassword;
    case ReasonCode.notAuthorized:
    case ReasonCode.banned:
    // A will to a topic of the server's.
    case ReasonCode.topicNameInvalid:
      return ConnackReturnCode.notAuthorized;
    default:
      return ConnackReturnCode.serverUnavailable;
  }
}
