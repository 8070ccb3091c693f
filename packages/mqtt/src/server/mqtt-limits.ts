import { limits } from '@robustmq/core';

/** Bounds of the adapter. Every one can be configured; none is silent when it is reached. */
export interface MqttLimits {
  /** Connections that the broker takes; more are refused. */
  readonly connectionsMax: number;
  /** Connections of one address (IPv6: of one network of 64 bits). 0: no limit. */
  readonly connectionsPerAddressMax: number;
  /** Connections that the broker takes in a second; as many may come at once. 0: no limit. */
  readonly connectsPerSecondMax: number;
  /** Time for a CONNECT to arrive; as much again for what comes before it: TLS, WebSocket, PROXY header. */
  readonly connectTimeoutMs: number;
  readonly packetBytesBeforeAuthMax: number;
  readonly packetBytesMax: number;
  /** QoS 1 and 2 publishes of one client that are not acknowledged: our Receive Maximum. */
  readonly receiveMaximum: number;
  /** QoS 1 and 2 messages under way to one client, whatever its Receive Maximum allows. */
  readonly windowMax: number;
  /** Messages of one shared subscription under way to one client. */
  readonly sharedWindowMax: number;
  /** Longest keep alive of an MQTT 5 client; others are told to use it. 0: no limit. */
  readonly keepAliveSecondsMax: number;
  /** Longest that a session is kept after its connection; MQTT 5 clients are told. 0xffffffff: for ever. */
  readonly sessionExpirySecondsMax: number;
  /** Topic aliases that a client may set. */
  readonly topicAliasMaximum: number;
  /** Topic aliases that the broker sets for one client, if that allows so many. */
  readonly outboundTopicAliasesMax: number;
  /** Subscriptions of one session. */
  readonly subscriptionsMax: number;
  /** Bytes that wait in a socket: above it QoS 0 is dropped and QoS 1 and 2 stay in the log. */
  readonly socketBytesMax: number;
  /** A client whose socket is over that bound and does not drain for so long is disconnected. */
  readonly stalledTimeoutMs: number;
  /** A read of a session that lags. */
  readonly catchUpReadBytes: number;
  /** How far behind the stored progress of a durable session may be. */
  readonly progressDelayMs: number;
  /** How far behind that of a connected session may be which sends and settles nothing. */
  readonly idleProgressMs: number;
  /** Bytes of the retained messages of one coordinator; above it publishes that set one are refused. */
  readonly retainedBytesMax: number;
  /** Retained messages that the broker sends for new subscriptions in a second. 0: no limit. */
  readonly replayRateMax: number;
  /** Those that one client is sent in a second. 0: no limit. */
  readonly clientReplayRateMax: number;
  /** Names whose matches are remembered, per topic. */
  readonly matchCacheMax: number;
  readonly routeCacheMax: number;
}

export const mqttLimitsDefault: MqttLimits = {
  connectionsMax: 100_000,
  connectionsPerAddressMax: 0,
  connectsPerSecondMax: 0,
  connectTimeoutMs: 10_000,
  packetBytesBeforeAuthMax: limits.packetBytesBeforeAuthMax,
  packetBytesMax: limits.mqttPacketBytesMax,
  receiveMaximum: 1000,
  windowMax: 1000,
  sharedWindowMax: 100,
  keepAliveSecondsMax: 0,
  sessionExpirySecondsMax: 0xffffffff,
  topicAliasMaximum: 32,
  outboundTopicAliasesMax: 32,
  subscriptionsMax: 10_000,
  socketBytesMax: 1024 * 1024,
  stalledTimeoutMs: 60_000,
  catchUpReadBytes: 256 * 1024,
  progressDelayMs: 500,
  idleProgressMs: 30_000,
  retainedBytesMax: 512 * 1024 * 1024,
  replayRateMax: 50_000,
  clientReplayRateMax: 10_000,
  matchCacheMax: 100_000,
  routeCacheMax: 100_000,
};
