import type { MetricFamily } from '../server/mqtt-metrics.ts';
import type { RetainedStats } from './retained-room.ts';

/** What the coordinators of retained messages at this broker hold. */
export function retainedMetrics(stats: RetainedStats): MetricFamily[] {
  const one = (
    kind: 'counter' | 'gauge',
    name: string,
    help: string,
    value: () => number,
  ): MetricFamily => ({
    name: `robustmq_mqtt_retained_${name}`,
    help,
    kind,
    read: () => [{ labels: {}, value: value() }],
  });
  return [
    one('gauge', 'messages', 'Retained messages of coordinators here.', () => stats.messages),
    one('gauge', 'bytes', 'Memory of retained messages, about.', () => stats.bytes),
    one('gauge', 'full_coordinators', 'Coordinators here without room.', () => stats.full),
    one(
      'counter',
      'lost_total',
      'Retained messages that were acknowledged and not kept for lack of room.',
      () => stats.refusals,
    ),
  ];
}
