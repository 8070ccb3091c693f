/** Where properties stand: the packets, and the will inside CONNECT. */
export type PropertyCarrier =
  | 'connect'
  | 'will'
  | 'connack'
  | 'publish'
  | 'puback'
  | 'pubrec'
  | 'pubrel'
  | 'pubcomp'
  | 'subscribe'
  | 'suback'
  | 'unsubscribe'
  | 'unsuback'
  | 'disconnect'
  | 'auth';

export type PropertyType = 'byte' | 'u16' | 'u32' | 'varint' | 'text' | 'binary' | 'pair';

/** What a value must be beyond its type. */
export type PropertyRange = 'any' | 'boolean' | 'positive' | 'topic';

export interface PropertyRule {
  readonly id: number;
  readonly name: string;
  readonly type: PropertyType;
  readonly range: PropertyRange;
  /** Packets in which a client may send it. */
  readonly fromClient: readonly PropertyCarrier[];
  /** Packets in which only the server may. */
  readonly fromServer: readonly PropertyCarrier[];
}

/** Identifiers of the properties. [MQTT5 section 2.2.2.2] */
export const PropertyId = {
  payloadFormatIndicator: 0x01,
  messageExpiryInterval: 0x02,
  contentType: 0x03,
  responseTopic: 0x08,
  correlationData: 0x09,
  subscriptionIdentifier: 0x0b,
  sessionExpiryInterval: 0x11,
  assignedClientIdentifier: 0x12,
  serverKeepAlive: 0x13,
  authenticationMethod: 0x15,
  authenticationData: 0x16,
  requestProblemInformation: 0x17,
  willDelayInterval: 0x18,
  requestResponseInformation: 0x19,
  responseInformation: 0x1a,
  serverReference: 0x1c,
  reasonString: 0x1f,
  receiveMaximum: 0x21,
  topicAliasMaximum: 0x22,
  topicAlias: 0x23,
  maximumQos: 0x24,
  retainAvailable: 0x25,
  userProperty: 0x26,
  maximumPacketSize: 0x27,
  wildcardSubscriptionAvailable: 0x28,
  subscriptionIdentifierAvailable: 0x29,
  sharedSubscriptionAvailable: 0x2a,
} as const;

/** One more than the largest identifier. */
export const propertyIdBound = 0x2b;

const acks: readonly PropertyCarrier[] = ['puback', 'pubrec', 'pubrel', 'pubcomp'];
const message: readonly PropertyCarrier[] = ['publish', 'will'];
const clientCarriers: readonly PropertyCarrier[] = [
  'connect',
  'will',
  'publish',
  ...acks,
  'subscribe',
  'unsubscribe',
  'disconnect',
  'auth',
];

type RuleRow = readonly [
  id: number,
  name: string,
  type: PropertyType,
  range: PropertyRange,
  fromClient: readonly PropertyCarrier[],
  fromServer: readonly PropertyCarrier[],
];

const id = PropertyId;
const rows: readonly RuleRow[] = [
  [id.payloadFormatIndicator, 'Payload Format Indicator', 'byte', 'boolean', message, []],
  [id.messageExpiryInterval, 'Message Expiry Interval', 'u32', 'any', message, []],
  [id.contentType, 'Content Type', 'text', 'any', message, []],
  [id.responseTopic, 'Response Topic', 'text', 'topic', message, []],
  [id.correlationData, 'Correlation Data', 'binary', 'any', message, []],
  // Only the server says in a PUBLISH which subscriptions it is for. [MQTT5-3.3.4-6]
  [
    id.subscriptionIdentifier,
    'Subscription Identifier',
    'varint',
    'positive',
    ['subscribe'],
    ['publish'],
  ],
  [
    id.sessionExpiryInterval,
    'Session Expiry Interval',
    'u32',
    'any',
    ['connect', 'disconnect'],
    ['connack'],
  ],
  [id.assignedClientIdentifier, 'Assigned Client Identifier', 'text', 'any', [], ['connack']],
  [id.serverKeepAlive, 'Server Keep Alive', 'u16', 'any', [], ['connack']],
  [
    id.authenticationMethod,
    'Authentication Method',
    'text',
    'any',
    ['connect', 'auth'],
    ['connack'],
  ],
  [id.authenticationData, 'Authentication Data', 'binary', 'any', ['connect', 'auth'], ['connack']],
  [id.requestProblemInformation, 'Request Problem Information', 'byte', 'boolean', ['connect'], []],
  [id.willDelayInterval, 'Will Delay Interval', 'u32', 'any', ['will'], []],
  [
    id.requestResponseInformation,
    'Request Response Information',
    'byte',
    'boolean',
    ['connect'],
    [],
  ],
  [id.responseInformation, 'Response Information', 'text', 'any', [], ['connack']],
  // Only the server refers to another server. [MQTT5 3.14.2.2.5]
  [id.serverReference, 'Server Reference', 'text', 'any', [], ['connack', 'disconnect']],
  [
    id.reasonString,
    'Reason String',
    'text',
    'any',
    [...acks, 'disconnect', 'auth'],
    ['connack', 'suback', 'unsuback'],
  ],
  [id.receiveMaximum, 'Receive Maximum', 'u16', 'positive', ['connect'], ['connack']],
  [id.topicAliasMaximum, 'Topic Alias Maximum', 'u16', 'any', ['connect'], ['connack']],
  [id.topicAlias, 'Topic Alias', 'u16', 'positive', ['publish'], []],
  [id.maximumQos, 'Maximum QoS', 'byte', 'boolean', [], ['connack']],
  [id.retainAvailable, 'Retain Available', 'byte', 'boolean', [], ['connack']],
  [
    id.userProperty,
    'User Property',
    'pair',
    'any',
    clientCarriers,
    ['connack', 'suback', 'unsuback'],
  ],
  [id.maximumPacketSize, 'Maximum Packet Size', 'u32', 'positive', ['connect'], ['connack']],
  [
    id.wildcardSubscriptionAvailable,
    'Wildcard Subscription Available',
    'byte',
    'boolean',
    [],
    ['connack'],
  ],
  [
    id.subscriptionIdentifierAvailable,
    'Subscription Identifier Available',
    'byte',
    'boolean',
    [],
    ['connack'],
  ],
  [
    id.sharedSubscriptionAvailable,
    'Shared Subscription Available',
    'byte',
    'boolean',
    [],
    ['connack'],
  ],
];

const ruleById = new Map<number, PropertyRule>(
  rows.map(([id, name, type, range, fromClient, fromServer]) => [
    id,
    { id, name, type, range, fromClient, fromServer },
  ]),
);

/** The rule of an identifier; undefined when MQTT 5 has no such property. */
export function propertyRule(identifier: number): PropertyRule | undefined {
  return ruleById.get(identifier);
}
