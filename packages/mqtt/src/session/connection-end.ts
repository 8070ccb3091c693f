import type { MqttDisconnect, MqttTarget } from '@robustmq/rpc';
import type { SessionEventBody, StepContext } from './session-input.ts';
import { neverExpires, type Session } from './session-state.ts';

/** How a connection has ended. */
export type ConnectionEnd = Pick<MqttDisconnect, 'publishWill' | 'expirySeconds' | 'progress'>;

/** The end of a connection whose broker says nothing any more: its will is published. [MQTT5-3.1.2-8] */
export const lostConnection: ConnectionEnd = {
  publishWill: true,
  expirySeconds: undefined,
  progress: undefined,
};

/** The end of a connection that had no CONNACK: its will was never accepted. [MQTT5-3.1.2-7] */
const unacceptedConnection: ConnectionEnd = { ...lostConnection, publishWill: false };

/** The events that end what a refused CONNECT has made: the session, if there was none before it. */
export function abandonConnection(
  session: Readonly<Session>,
  context: StepContext,
): SessionEventBody[] {
  return session.granted.present
    ? endConnection(session, unacceptedConnection, context)
    : [{ $case: 'removed', value: {} }];
}

/**
 * The events that end the connection of a logged session. The will is due after its delay or with the
 * session, whichever is first [MQTT5-3.1.2-8]; when it is due at once but cannot be routed, the session
 * stays until it can.
 */
export function endConnection(
  session: Readonly<Session>,
  end: ConnectionEnd,
  context: StepContext,
): SessionEventBody[] {
  const events: SessionEventBody[] = [];
  if (end.progress !== undefined) events.push({ $case: 'progressed', value: end.progress });
  const expirySeconds = end.expirySeconds ?? session.granted.expirySeconds;
  const will = end.publishWill ? session.granted.will : undefined;
  let willAtMs: number | undefined;
  if (will !== undefined) {
    willAtMs = context.nowMs + Math.min(will.delaySeconds, expirySeconds) * 1000;
    const fired = willAtMs === context.nowMs ? fireWill(session, context) : undefined;
    if (fired !== undefined) {
      events.push(fired);
      willAtMs = undefined;
    }
  }
  if (expirySeconds === 0 && willAtMs === undefined) {
    events.push({ $case: 'removed', value: {} });
    return events;
  }
  const expiresAtMs =
    expirySeconds === neverExpires ? undefined : context.nowMs + expirySeconds * 1000;
  const atMs = context.nowMs;
  events.push({
    $case: 'disconnected',
    value: { atMs, expirySeconds, expiresAtMs, willAtMs },
  });
  return events;
}

/** The event that publishes the will; undefined when there is none or it cannot be routed now. */
export function fireWill(
  session: Readonly<Session>,
  context: StepContext,
): SessionEventBody | undefined {
  const topic = session.granted.will?.message?.topic;
  const target = topic === undefined ? undefined : targetOf(topic, context);
  return target && { $case: 'willFired', value: { target } };
}

/** Where a stored message goes, decided now; undefined while it cannot be taken. */
export function targetOf(mqttTopic: string, context: StepContext): MqttTarget | undefined {
  const target = context.route(mqttTopic);
  return target && { ...target, timestampMs: context.nowMs };
}
