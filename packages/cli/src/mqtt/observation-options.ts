import { toOperatingError } from '@robustmq/core';
import { clientEventKinds, type MqttObservation, TopicMeters } from '@robustmq/mqtt';
import { z } from 'zod';

import { duration, type OptionRow } from '../option-row.ts';

const roles = ['start', 'broker'] as const;

const eventKind = z.enum(
  clientEventKinds,
  `must be "off" or some of ${clientEventKinds.join(', ')}`,
);
const eventKinds = z
  .string()
  .transform((list) => (list === 'off' ? [] : list.split(',').map((item) => item.trim())))
  .pipe(z.array(eventKind));

const topicFilters = z
  .string()
  .transform((list) => list.split(',').map((item) => item.trim()))
  .superRefine((filters, context) => {
    try {
      TopicMeters.check(filters);
    } catch (thrown) {
      context.addIssue({ code: 'custom', message: toOperatingError(thrown).message });
    }
  });

/** Options for what operators see of the MQTT clients. */
export const observationOptionTable = {
  'mqtt-sys-interval': {
    roles,
    value: 'TIME',
    schema: duration,
    default: '10s',
    help: 'how often the values below $SYS/ are published; 0: there are none',
  },
  'mqtt-events': {
    roles,
    value: 'EVENT[,...]',
    schema: eventKinds,
    default: 'connected,disconnected',
    help: `events of clients that are published below $SYS/: ${clientEventKinds.join(', ')}, or "off"`,
  },
  'mqtt-slow-threshold': {
    roles,
    value: 'TIME',
    schema: duration,
    default: '500ms',
    help: 'a client that gets a message so long after its append is slow; 0: none is',
  },
  'mqtt-topic-metrics': {
    roles,
    value: 'FILTER[,...]',
    schema: topicFilters,
    help: 'topic filters whose messages and bytes are counted one by one in /metrics, 64 at most',
  },
} as const satisfies Record<string, OptionRow>;

/** What the options say of it. */
export function mqttObservation(options: {
  readonly 'mqtt-sys-interval'?: number | undefined;
  readonly 'mqtt-events'?: MqttObservation['events'] | undefined;
  readonly 'mqtt-slow-threshold'?: number | undefined;
  readonly 'mqtt-topic-metrics'?: readonly string[] | undefined;
}): Partial<MqttObservation> {
  const { 'mqtt-sys-interval': sysIntervalMs, 'mqtt-events': events } = options;
  const { 'mqtt-slow-threshold': slowThresholdMs, 'mqtt-topic-metrics': topicMetrics } = options;
  return {
    ...(sysIntervalMs !== undefined && { sysIntervalMs }),
    ...(events !== undefined && { events }),
    ...(slowThresholdMs !== undefined && { slowThresholdMs }),
    ...(topicMetrics !== undefined && { topicMetrics }),
  };
}
