import type { JournalClient } from '@robustmq/journal-client';
import type { CoordinatorHost, ShareGroupCounts } from '@robustmq/kernel';
import type { MetricFamily } from '@robustmq/mqtt';
import { Counter, Gauge, type Registry } from 'prom-client';

/** Puts what the broker counts into the registry; it is read when the metrics are scraped. */
export function registerMetrics(
  registry: Registry,
  from: {
    mqtt: readonly MetricFamily[];
    access: readonly MetricFamily[];
    journal: JournalClient;
    host: CoordinatorHost;
    shares: ShareGroupCounts;
  },
): void {
  const { mqtt, access, journal, host, shares } = from;
  for (const family of [
    ...mqtt,
    ...access,
    ...journalFamilies(journal),
    coordinators(host),
    shareRecords(shares),
  ]) {
    register(registry, family);
  }
}

function register(registry: Registry, family: MetricFamily): void {
  const { name, help, kind } = family;
  const labelNames = [...new Set(family.read().flatMap(({ labels }) => Object.keys(labels)))];
  const names = labelNames.length > 0 ? labelNames : (family.labelNames ?? []);
  const common = { name, help, labelNames: names, registers: [] };
  const metric =
    kind === 'gauge'
      ? new Gauge({
          ...common,
          collect() {
            this.reset();
            for (const { labels, value } of family.read()) this.set({ ...labels }, value);
          },
        })
      : new Counter({
          ...common,
          collect() {
            this.reset();
            for (const { labels, value } of family.read()) this.inc({ ...labels }, value);
          },
        });
  registry.registerMetric(metric);
}

function journalFamilies(journal: JournalClient): MetricFamily[] {
  const one = (
    kind: 'counter' | 'gauge',
    name: string,
    help: string,
    value: () => number,
  ): MetricFamily => ({
    name: `robustmq_broker_${name}`,
    help,
    kind,
    read: () => [{ labels: {}, value: value() }],
  });
  return [
    one(
      'counter',
      'appended_records_total',
      'Records appended.',
      () => journal.stats.appendedRecords,
    ),
    one(
      'counter',
      'appended_batches_total',
      'Batches appended.',
      () => journal.stats.appendedBatches,
    ),
    one(
      'gauge',
      'append_in_flight_bytes',
      'Bytes of appends without an answer.',
      () => journal.stats.inFlightBytes,
    ),
    {
      name: 'robustmq_broker_append_retries_total',
      help: 'Appends sent again, by reason.',
      kind: 'counter',
      labelNames: ['code'],
      read: () =>
        Object.entries(journal.stats.retries).map(([code, value]) => ({ labels: { code }, value })),
    },
  ];
}

function coordinators(host: CoordinatorHost): MetricFamily {
  return {
    name: 'robustmq_broker_coordinators',
    help: 'Coordinators that this broker owns, by kind and phase.',
    kind: 'gauge',
    labelNames: ['kind', 'phase'],
    read: () => {
      const counts = new Map<string, number>();
      for (const { kind, phase } of host.coordinators()) {
        const key = `${kind} ${phase}`;
        counts.set(key, (counts.get(key) ?? 0) + 1);
      }
      return [...counts].map(([key, value]) => {
        const [kind = '', phase = ''] = key.split(' ');
        return { labels: { kind, phase }, value };
      });
    },
  };
}

function shareRecords(counts: ShareGroupCounts): MetricFamily {
  return {
    name: 'robustmq_broker_share_group_records_total',
    help: 'Records of the share groups that this broker runs, by what became of them.',
    kind: 'counter',
    read: () => [
      { labels: { outcome: 'handed_out' }, value: counts.handedOut },
      { labels: { outcome: 'timed_out' }, value: counts.timedOut },
      { labels: { outcome: 'expired' }, value: counts.expired },
      { labels: { outcome: 'trimmed' }, value: counts.trimmed },
    ],
  };
}
