import { limits } from '@robustmq/core';

/** Bounds of the adapter. Every one can be configured; none is silent when it is reached. */
export interface MqttLimits {
  /** Connections that the broker takes; more are closed at once. */
  readonly connectionsMax: number;
  /** Time for a CONNECT to arrive. */
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
  /** Topic aliases that a client may set. */
  readonly topicAliasMaximum: number;
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
  /** Names whose matches are remembered, per topic. */
  readonly matchCacheMax: number;
  readonly routeCacheMax: number;
}

export const mqttLimitsDefault: MqttLimits = {
  connectionsMax: 100_000,
  connectTimeoutMs: 10_000,
  packetBytesBeforeAuthMax: limits.packetBytesBeforeAuthMax,
  packetBytesMax: limits.mqttPacketBytesMax,
  receiveMaximum: 1000,
  windowMax: 1000,
  sharedWindowMax: 100,
  keepAliveSecondsMax: 0,
  topicAliasMaximum: 32,
  subscriptionsMax: 10_000,
  socketBytesMax: 1024 * 1024,
  stalledTimeoutMs: 60_000,
  catchUpReadBytes: 256 * 1024,
  progressDelayMs: 500,
  matchCacheMax: 100_000,
  routeCacheMax: 100_000,
};
