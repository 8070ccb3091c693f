import type { Entity } from '@robustmq/kernel';
import type {
  MqttDisconnected,
  MqttReplay,
  MqttSessionGranted,
  MqttSubscription,
  MqttTrimmed,
  MqttWindowEntry,
} from '@robustmq/rpc';

/** A session that is kept in the coordinator's log. */
export interface Session extends Entity {
  readonly clientId: string;
  /** The last grant; its will is absent once it was published or discarded. */
  granted: MqttSessionGranted;
  /** Undefined while it is connected. */
  disconnected: MqttDisconnected | undefined;
  /** By filter. */
  readonly subscriptions: Map<string, MqttSubscription>;
  /** Bytes of the subscriptions, about. */
  subscriptionBytes: number;
  /** Offset by shard. */
  readonly positions: Map<number, number>;
  /** What retention took before it had read it. */
  trimmed: MqttTrimmed | undefined;
  /** Replays that it still owes, by filter. */
  readonly replays: Map<string, MqttReplay>;
  /** In the order of sending. */
  window: MqttWindowEntry[];
  /** QoS 2 publishes of the client that are stored and not released, by packet id. */
  readonly inbound: Map<number, InboundPublish>;
  inboundBytes: number;
  /** Releases that are not confirmed: the newest release's id by packet id. */
  readonly releases: Map<number, number>;
}

/** What is to be known of a stored QoS 2 publish. */
export interface InboundPublish {
  readonly topic: string;
  /** What it counts for the session's bound. */
  readonly bytes: number;
}

/** What a coordinator knows of a client id. */
export type SessionView =
  | { readonly status: 'absent' }
  /** Connected, in memory only. */
  | { readonly status: 'transient'; readonly granted: MqttSessionGranted }
  | { readonly status: 'connected'; readonly session: Readonly<Session> }
  | { readonly status: 'disconnected'; readonly session: Readonly<Session> };

export type SessionStatus = SessionView['status'];

/** Expiry of a session that never ends by itself. [MQTT5-3.1.2.11.2] */
export const neverExpires = 0xff_ff_ff_ff;

export function newSession(clientId: string, granted: MqttSessionGranted): Session {
  return {
    snapshotMark: 0,
    clientId,
    granted,
    disconnected: undefined,
    subscriptions: new Map(),
    subscriptionBytes: 0,
    positions: new Map(),
    trimmed: undefined,
    replays: new Map(),
    window: [],
    inbound: new Map(),
    inboundBytes: 0,
    releases: new Map(),
  };
}

const startOffsetBytes = 16;

/** Bytes that a subscription takes, about. */
export function subscriptionBytes({ filter, startOffsets }: MqttSubscription): number {
  return filter.length + startOffsets.length * startOffsetBytes;
}
