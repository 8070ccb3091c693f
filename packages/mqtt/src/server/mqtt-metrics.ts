import type { MqttListener } from '../listener/mqtt-listener.ts';
import type { TopicMeter } from '../slow/topic-meters.ts';
import type { MqttServer } from './mqtt-server.ts';

/** One metric family as plain data; the broker hands it to its registry. */
export interface MetricFamily {
  readonly name: string;
  readonly help: string;
  readonly kind: 'counter' | 'gauge';
  /** Needed when there may be no values at first. */
  readonly labelNames?: readonly string[];
  /** Values now, each with its labels. */
  read(): readonly { readonly labels: Readonly<Record<string, string>>; readonly value: number }[];
}

/** What an MQTT server can tell, by Prometheus' conventions for names. */
export function mqttMetrics(server: MqttServer): MetricFamily[] {
  const { counters } = server;
  const one = (
    kind: 'counter' | 'gauge',
    name: string,
    help: string,
    value: () => number,
  ): MetricFamily => ({
    name: `robustmq_mqtt_${name}`,
    help,
    kind,
    read: () => [{ labels: {}, value: value() }],
  });
  const byQos = (name: string, help: string, values: readonly number[]): MetricFamily => ({
    name: `robustmq_mqtt_${name}`,
    help,
    kind: 'counter',
    read: () => values.map((value, qos) => ({ labels: { qos: String(qos) }, value })),
  });
  const byListener = (
    kind: 'counter' | 'gauge',
    name: string,
    help: string,
    value: (listener: MqttListener) => number,
  ): MetricFamily => ({
    name: `robustmq_mqtt_${name}`,
    help,
    kind,
    labelNames: ['listener'],
    read: () =>
      server.listeners.map((listener) => ({
        labels: { listener: listener.name },
        value: value(listener),
      })),
  });
  return [
    one('gauge', 'connections', 'Open MQTT connections.', () => counters.connections),
    byListener(
      'gauge',
      'listener_connections',
      'Connections with a place, handshakes among them, by listener.',
      ({ connections }) => connections,
    ),
    byListener(
      'counter',
      'connections_total',
      'Connections that came through, by listener.',
      ({ connectionsTotal }) => connectionsTotal,
    ),
    {
      name: 'robustmq_mqtt_connections_refused_total',
      labelNames: ['listener', 'reason'],
      help: 'Connections that did not come through, by listener and reason.',
      kind: 'counter',
      read: () =>
        server.listeners.flatMap(({ name: listener, refusals }) =>
          [...refusals.counts].map(([reason, value]) => ({ labels: { listener, reason }, value })),
        ),
    },
    one(
      'gauge',
      'subscriptions',
      'Subscriptions of connected sessions.',
      () => server.subscriptions,
    ),
    one('gauge', 'lagging_sessions', 'Connected sessions that read on from the log.', () =>
      lagging(server),
    ),
    one(
      'gauge',
      'slow_clients',
      'Clients that got a message late in the last 5 minutes.',
      () => server.slowClients.count,
    ),
    ...topicFamilies(server),
    byQos('publishes_received_total', 'PUBLISH packets from clients.', counters.publishesIn),
    byQos('publishes_sent_total', 'PUBLISH packets to clients.', counters.publishesOut),
    one('counter', 'received_bytes_total', 'Bytes from clients.', () => counters.bytesIn),
    one('counter', 'sent_bytes_total', 'Bytes to clients.', () => counters.bytesOut),
    one('counter', 'packets_received_total', 'Packets from clients.', () => counters.packetsIn),
    one('counter', 'packets_sent_total', 'Packets to clients.', () => counters.packetsOut),
    one(
      'counter',
      'events_dropped_total',
      'Events of clients that were too many in a second to be told.',
      () => server.eventsDropped,
    ),
    {
      name: 'robustmq_mqtt_dropped_messages_total',
      help: 'Messages that were not taken or not delivered, by reason.',
      kind: 'counter',
      read: () => [
        { labels: { reason: 'queue_full' }, value: counters.droppedIn },
        { labels: { reason: 'not_authorized' }, value: counters.droppedUnauthorized },
        { labels: { reason: 'socket_full' }, value: counters.droppedOut },
        { labels: { reason: 'too_large' }, value: counters.droppedTooLarge },
        { labels: { reason: 'expired' }, value: counters.droppedExpired },
        { labels: { reason: 'trimmed' }, value: server.trims.records },
      ],
    },
    {
      name: 'robustmq_mqtt_trimmed_records_total',
      labelNames: ['topic'],
      help: 'Records that were trimmed before a session had read them, or the live path of this broker.',
      kind: 'counter',
      read: () => [...server.trims.byTopic].map(([topic, value]) => ({ labels: { topic }, value })),
    },
    {
      name: 'robustmq_mqtt_retained_refused_total',
      labelNames: ['outcome'],
      help: 'Publishes whose message could not be retained for lack of room: refused, or delivered only.',
      kind: 'counter',
      read: () => [
        { labels: { outcome: 'refused' }, value: counters.retainedRefused.told },
        { labels: { outcome: 'delivered_only' }, value: counters.retainedRefused.deliveredOnly },
      ],
    },
    {
      name: 'robustmq_mqtt_faults_total',
      labelNames: ['reason_code'],
      help: 'Connections ended for a fault of the client, by reason code.',
      kind: 'counter',
      read: () =>
        [...counters.faults].map(([code, value]) => ({
          labels: { reason_code: `0x${code.toString(16).padStart(2, '0')}` },
          value,
        })),
    },
    one(
      'counter',
      'subscriptions_refused_total',
      'Filters of SUBSCRIBEs that the rules do not allow.',
      () => counters.subscriptionsUnauthorized,
    ),
    one(
      'gauge',
      'muted_subscriptions',
      'Subscriptions of connected sessions that the rules do not cover any more.',
      () => muted(server),
    ),
    one(
      'counter',
      'revoked_connections_total',
      'Connections ended by a ban, an expiry, or a change of their users.',
      () => counters.revoked,
    ),
    one(
      'counter',
      'takeovers_total',
      'Sessions that went to another connection.',
      () => counters.takeovers,
    ),
    one(
      'counter',
      'stalled_total',
      'Connections ended because the client took nothing for too long.',
      () => counters.stalled,
    ),
    one(
      'counter',
      'headers_left_out_total',
      'Record headers that MQTT cannot spell.',
      () => counters.headersLeftOut,
    ),
  ];
}

function muted(server: MqttServer): number {
  let count = 0;
  for (const session of server.sessions()) count += session.mutedSubscriptions;
  return count;
}

/** Of the topic filters that operators have asked for. */
function topicFamilies({ topicMeters }: MqttServer): MetricFamily[] {
  if (topicMeters.all.length === 0) return [];
  const byWay = (
    name: string,
    help: string,
    values: (meter: TopicMeter) => readonly [way: string, value: number][],
  ): MetricFamily => ({
    name: `robustmq_mqtt_topic_${name}`,
    help,
    kind: 'counter',
    read: () =>
      topicMeters.all.flatMap((meter) =>
        values(meter).map(([way, value]) => ({ labels: { filter: meter.filter, way }, value })),
      ),
  });
  return [
    byWay('messages_total', 'Messages of a topic filter: in, out, dropped.', (meter) => [
      ['in', meter.messagesIn],
      ['out', meter.messagesOut],
      ['dropped', meter.messagesDropped],
    ]),
    byWay('payload_bytes_total', 'Payloads of a topic filter: in, out, dropped.', (meter) => [
      ['in', meter.bytesIn],
      ['out', meter.bytesOut],
      ['dropped', meter.bytesDropped],
    ]),
  ];
}

function lagging(server: MqttServer): number {
  let count = 0;
  for (const session of server.sessions()) if (session.lagging) count++;
  return count;
}
