import type { OperatingError } from '@robustmq/core';
import type { Caller } from '@robustmq/kernel';
import type {
  MqttAnnouncedSession,
  MqttConnect,
  MqttDisconnect,
  MqttProgress,
  MqttReleaseInbound,
  MqttSessionEvent,
  MqttSessionGranted,
  MqttStoreInbound,
  MqttSubscribe,
  MqttUnsubscribe,
} from '@robustmq/rpc';

/** What happens to a session. Commands of a connection carry the epoch of its grant. */
export interface SessionInputs {
  connect: { readonly connect: MqttConnect; readonly caller: Caller };
  subscribe: { readonly epoch: number; readonly subscribe: MqttSubscribe };
  unsubscribe: { readonly epoch: number; readonly unsubscribe: MqttUnsubscribe };
  progress: { readonly epoch: number; readonly progress: MqttProgress };
  storeInbound: { readonly epoch: number; readonly storeInbound: MqttStoreInbound };
  releaseInbound: { readonly epoch: number; readonly releaseInbound: MqttReleaseInbound };
  disconnect: { readonly epoch: number; readonly disconnect: MqttDisconnect };
  /** A CONNECT was refused: whatever it was granted is nobody's. */
  abandon: { readonly connectionId: string };
  /** A broker says that it has this session, which a former coordinator knew. */
  announced: { readonly announced: MqttAnnouncedSession; readonly caller: Caller };
  /** The broker that holds the grant is gone. */
  holderGone: { readonly epoch: number };
  /** A deadline of a disconnected session has passed. */
  deadline: { readonly willDue: boolean; readonly expired: boolean };
}

export type SessionInputKind = keyof SessionInputs;

/** Where a message is appended. */
export interface MessageTarget {
  readonly shardId: number;
  readonly key: Buffer | undefined;
}

/** What a decision may ask for besides the session. */
export interface StepContext {
  readonly clientId: string;
  /** Wall clock, ms since 1970. */
  readonly nowMs: number;
  /** Higher than every epoch that was granted: for the grant of this step, if it makes one. */
  readonly nextEpoch: number;
  /** No session more can be kept. */
  readonly atCapacity: boolean;
  readonly limits: SessionLimits;
  /** Where a message goes now; undefined while it cannot be taken. */
  route(mqttTopic: string): MessageTarget | undefined;
}

/** Bounds of what a coordinator keeps. */
export interface SessionLimits {
  /** Sessions of one coordinator, of all kinds. */
  readonly sessionsMax: number;
  /** Bytes of one session's QoS 2 publishes that are stored and not released. */
  readonly inboundBytesMax: number;
  /** Bytes of one session's subscriptions. */
  readonly subscriptionBytesMax: number;
}

export type SessionEventBody = NonNullable<MqttSessionEvent['event']>;

/** A grant that has ended. */
export interface Revocation {
  readonly holder: Caller;
  readonly epoch: number;
  readonly reason: 'taken-over' | 'administrative';
}

/**
 * What is answered once the events are applied: the session as it is granted, what became of a
 * release, or just that it is done; or why not.
 */
export type SessionAnswer =
  | { readonly kind: 'granted' }
  | { readonly kind: 'released'; readonly packetId: number }
  | { readonly kind: 'done' }
  | { readonly kind: 'refused'; readonly error: OperatingError };

/** What a step leads to. */
export interface Decision {
  /** Logged and applied, in order, all or none. */
  readonly events: readonly SessionEventBody[];
  readonly answer: SessionAnswer;
  /** Becomes the session in memory; undefined ends the one that is there. Absent: nothing changes. */
  readonly transient?: MqttSessionGranted | undefined;
  readonly revoked?: Revocation;
  /** The deadline cannot be met yet: try again. */
  readonly retry?: boolean;
}
