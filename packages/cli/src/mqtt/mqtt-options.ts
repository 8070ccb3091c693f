import type { MqttLimits } from '@robustmq/mqtt';

import { bytes, count, flag, type OptionRow, wholeNumber } from '../option-row.ts';
import { listenerList, packetBytes } from './listener-config.ts';

const roles = ['start', 'broker', 'dev'] as const;

/** Options of the MQTT listeners, and limits of the broker that listeners may narrow for themselves. */
export const mqttOptionTable = {
  'mqtt-listen': {
    roles,
    value: 'LISTENER[,...]',
    schema: listenerList,
    default: '127.0.0.1:1883',
    help:
      'where MQTT clients connect: HOST:PORT, or mqtt://, mqtts://, ws:// or wss://HOST:PORT with ' +
      'parameters (docs/operations.md), or "off"',
  },
  'insecure-mqtt': {
    roles: ['start', 'broker'],
    schema: flag,
    help: 'let MQTT listeners leave loopback without authentication',
  },
  'mqtt-connections-max': {
    roles,
    value: 'N',
    schema: count,
    default: '100000',
    help: 'MQTT connections that the broker takes',
  },
  'mqtt-connections-per-address-max': {
    roles,
    value: 'N',
    schema: wholeNumber(0),
    default: '0',
    help: 'of one address, IPv6: of one network of 64 bits; 0: no limit',
  },
  'mqtt-connect-rate': {
    roles,
    value: 'N',
    schema: wholeNumber(0),
    default: '0',
    help: 'MQTT connections that the broker takes in a second; 0: no limit',
  },
  'mqtt-connect-timeout-ms': {
    roles,
    value: 'MS',
    schema: count,
    default: '10000',
    help: 'time for a CONNECT to come, and as much for what comes before it',
  },
  'mqtt-packet-bytes-max': {
    roles,
    value: 'BYTES',
    schema: packetBytes,
    default: '4MiB',
    help: 'largest MQTT packet',
  },
  'mqtt-packet-bytes-before-auth-max': {
    roles,
    value: 'BYTES',
    schema: packetBytes,
    default: '64KiB',
    help: 'largest CONNECT',
  },
  'mqtt-keep-alive-seconds-max': {
    roles,
    value: 'SECONDS',
    schema: wholeNumber(0, 0xffff),
    default: '0',
    help: 'longest keep alive, told to MQTT 5 clients that want more or none; 0: no limit',
  },
  'mqtt-session-expiry-seconds-max': {
    roles,
    value: 'SECONDS',
    schema: wholeNumber(0, 0xffffffff),
    default: '4294967295',
    help: 'how long a session is kept after its connection at most; 4294967295: for ever',
  },
  'mqtt-receive-max': {
    roles,
    value: 'N',
    schema: wholeNumber(1, 0xffff),
    default: '1000',
    help: 'publishes at QoS 1 and 2 that a client may have unacknowledged',
  },
  'mqtt-window-max': {
    roles,
    value: 'N',
    schema: wholeNumber(1, 0xffff),
    default: '1000',
    help: 'messages at QoS 1 and 2 under way to a client, whatever it allows',
  },
  'mqtt-shared-window-max': {
    roles,
    value: 'N',
    schema: wholeNumber(1, 0xffff),
    default: '100',
    help: 'messages of one shared subscription under way to a client',
  },
  'mqtt-topic-alias-max': {
    roles,
    value: 'N',
    schema: wholeNumber(0, 0xffff),
    default: '32',
    help: 'topic aliases that a client may set',
  },
  'mqtt-outbound-topic-aliases-max': {
    roles,
    value: 'N',
    schema: wholeNumber(0, 0xffff),
    default: '32',
    help: 'topic aliases that the broker sets for one client, if that allows so many',
  },
  'mqtt-subscriptions-max': {
    roles,
    value: 'N',
    schema: count,
    default: '10000',
    help: 'subscriptions of one session',
  },
  'mqtt-socket-bytes-max': {
    roles,
    value: 'BYTES',
    schema: bytes,
    default: '1MiB',
    help: 'bytes that wait in a socket; above it QoS 0 is dropped, QoS 1 and 2 stay in the log',
  },
  'mqtt-stalled-timeout-ms': {
    roles,
    value: 'MS',
    schema: count,
    default: '60000',
    help: 'a client whose socket stays over that bound for so long is disconnected',
  },
  'mqtt-catch-up-read-bytes': {
    roles,
    value: 'BYTES',
    schema: bytes,
    default: '256KiB',
    help: 'size of a read of a session that lags',
  },
  'mqtt-progress-delay-ms': {
    roles,
    value: 'MS',
    schema: wholeNumber(0, 1_000),
    default: '500',
    help: 'how far behind the stored progress of a durable session may be',
  },
  'mqtt-idle-progress-ms': {
    roles,
    value: 'MS',
    schema: count,
    default: '30000',
    help: 'how far behind that of a connected session may be that gets nothing: retention waits for it',
  },
  'mqtt-retained-bytes-max': {
    roles,
    value: 'BYTES',
    schema: bytes,
    default: '512MiB',
    help:
      'memory for the retained messages of one of the 16 coordinators; above it publishes that set one ' +
      'are refused',
  },
  'mqtt-replay-rate': {
    roles,
    value: 'N',
    schema: wholeNumber(0),
    default: '50000',
    help: 'retained messages that the broker sends for new subscriptions in a second; 0: no limit',
  },
  'mqtt-client-replay-rate': {
    roles,
    value: 'N',
    schema: wholeNumber(0),
    default: '10000',
    help: 'those that one client is sent in a second; 0: no limit',
  },
  'mqtt-match-cache-max': {
    roles,
    value: 'N',
    schema: wholeNumber(0),
    default: '100000',
    help: 'topic names whose subscribers are remembered, per topic',
  },
  'mqtt-route-cache-max': {
    roles,
    value: 'N',
    schema: wholeNumber(0),
    default: '100000',
    help: 'topic names whose partition is remembered',
  },
} as const satisfies Record<string, OptionRow>;

/** Which limit each option sets. One that is missing does not compile. */
const optionOf = {
  connectionsMax: 'mqtt-connections-max',
  connectionsPerAddressMax: 'mqtt-connections-per-address-max',
  connectsPerSecondMax: 'mqtt-connect-rate',
  connectTimeoutMs: 'mqtt-connect-timeout-ms',
  packetBytesBeforeAuthMax: 'mqtt-packet-bytes-before-auth-max',
  packetBytesMax: 'mqtt-packet-bytes-max',
  receiveMaximum: 'mqtt-receive-max',
  windowMax: 'mqtt-window-max',
  keepAliveSecondsMax: 'mqtt-keep-alive-seconds-max',
  sessionExpirySecondsMax: 'mqtt-session-expiry-seconds-max',
  sharedWindowMax: 'mqtt-shared-window-max',
  topicAliasMaximum: 'mqtt-topic-alias-max',
  outboundTopicAliasesMax: 'mqtt-outbound-topic-aliases-max',
  subscriptionsMax: 'mqtt-subscriptions-max',
  socketBytesMax: 'mqtt-socket-bytes-max',
  stalledTimeoutMs: 'mqtt-stalled-timeout-ms',
  catchUpReadBytes: 'mqtt-catch-up-read-bytes',
  progressDelayMs: 'mqtt-progress-delay-ms',
  idleProgressMs: 'mqtt-idle-progress-ms',
  retainedBytesMax: 'mqtt-retained-bytes-max',
  replayRateMax: 'mqtt-replay-rate',
  clientReplayRateMax: 'mqtt-client-replay-rate',
  matchCacheMax: 'mqtt-match-cache-max',
  routeCacheMax: 'mqtt-route-cache-max',
} as const satisfies Record<keyof MqttLimits, keyof typeof mqttOptionTable>;

type LimitOption = (typeof optionOf)[keyof MqttLimits];

/** Options that set limits, for whoever hands them on. */
export const mqttLimitOptions: readonly LimitOption[] = Object.values(optionOf);

export function mqttLimits(
  options: Readonly<Partial<Record<LimitOption, number | undefined>>>,
): Partial<MqttLimits> {
  const given = Object.entries(optionOf).flatMap(([limit, option]) => {
    const value = options[option];
    return value === undefined ? [] : [[limit, value] as const];
  });
  return Object.fromEntries(given);
}
