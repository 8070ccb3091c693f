import { Counter, Gauge, Histogram, type Registry } from 'prom-client';
import type { FollowerLag } from './node/follower-link.ts';
import type { JournalNode } from './node/journal-node.ts';

const SECOND_MS = 1_000;
/** From a fast disk's cache to one that hangs. */
const syncBuckets = [0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5, 1, 5];

interface Named {
  readonly name: string;
  readonly help: string;
  readonly value: (node: JournalNode) => number;
}

const counters: readonly Named[] = [
  {
    name: 'appends_total',
    help: 'Batches that came in',
    value: ({ counters: { appends } }) => appends,
  },
  {
    name: 'appended_records_total',
    help: 'Records acknowledged, duplicates included',
    value: ({ counters: { appendedRecords } }) => appendedRecords,
  },
  {
    name: 'appended_bytes_total',
    help: 'Bytes of frames written to the log',
    value: ({ counters: { appendedBytes } }) => appendedBytes,
  },
  {
    name: 'duplicate_batches_total',
    help: 'Batches that were in the log already',
    value: ({ counters: { duplicates } }) => duplicates,
  },
  {
    name: 'read_bytes_total',
    help: 'Bytes of frames given to reads',
    value: ({ counters: { readBytes } }) => readBytes,
  },
  {
    name: 'tail_bytes_total',
    help: 'Bytes of frames given to tails',
    value: ({ counters: { tailBytes } }) => tailBytes,
  },
  {
    name: 'rolls_total',
    help: 'Segments sealed with an end that their leader knew',
    value: ({ counters: { rolls } }) => rolls,
  },
  {
    name: 'wal_written_bytes_total',
    help: 'Bytes written to the write-ahead log',
    value: ({ storage }) => storage.stats.walBytesWritten,
  },
  {
    name: 'segment_written_bytes_total',
    help: 'Bytes written to segment files',
    value: ({ storage }) => storage.stats.segmentBytesWritten,
  },
  {
    name: 'damages_found_total',
    help: 'Replicas that were found damaged since the start',
    value: ({ storage }) => storage.damages.count,
  },
  {
    name: 'scrubbed_bytes_total',
    help: 'Bytes of sealed replicas that were read again to see whether they are intact',
    value: ({ storage }) => storage.scrub.bytesTotal,
  },
];

const gauges: readonly Named[] = [
  {
    name: 'unflushed_bytes',
    help: 'Bytes in the log that are not yet in segment files',
    value: ({ storage }) => storage.stats.unflushedBytes,
  },
  {
    name: 'free_bytes',
    help: 'Free bytes on the disk of the data folder',
    value: ({ storage }) => storage.stats.freeBytes,
  },
  {
    name: 'read_only',
    help: '1 while appends are refused for lack of space',
    value: ({ storage }) => Number(storage.stats.readOnly),
  },
  {
    name: 'sync_age_seconds',
    help: 'Time since a sync last completed while one is wanted',
    value: ({ storage }) => storage.stats.syncAgeMs / SECOND_MS,
  },
  {
    name: 'led_segments',
    help: 'Segments that this journal leads',
    value: ({ ledSegments }) => ledSegments,
  },
  {
    name: 'replicas',
    help: 'Replicas in the data folder',
    value: ({ replicaCount }) => replicaCount,
  },
  {
    name: 'damaged_replicas',
    help: 'Replicas that fail their checksums',
    value: ({ damagedReplicas }) => damagedReplicas,
  },
  {
    name: 'quarantined_files',
    help: 'Files in quarantine: damaged replicas that were replaced, and what nobody knows',
    value: ({ storage }) => storage.quarantined.files,
  },
  {
    name: 'quarantined_bytes',
    help: 'Bytes of these files',
    value: ({ storage }) => storage.quarantined.bytes,
  },
  {
    name: 'scrub_left_bytes',
    help: 'Bytes that the scrub which runs has still to read',
    value: ({ storage: { scrub } }) =>
      scrub.isRunning ? Math.max(0, scrub.bytes - scrub.bytesRead) : 0,
  },
  {
    name: 'scrub_completed_timestamp_seconds',
    help: 'When all sealed replicas had been read again last, since 1970; 0 when never',
    value: ({ storage }) => storage.scrub.completedMs / SECOND_MS,
  },
  {
    name: 'in_flight_bytes',
    help: 'Bytes of batches that have no answer yet',
    value: ({ inFlightBytes }) => inFlightBytes,
  },
  {
    name: 'producers',
    help: 'Producers in memory',
    value: ({ takeover }) => takeover.producers,
  },
];

/** Shows the node's numbers as `robustmq_journal_*`, read when they are asked for. */
export function registerJournalMetrics(registry: Registry, node: JournalNode): SyncTimes {
  for (const { name, help, value } of counters) {
    registerCounter(registry, name, help, () => value(node));
  }
  for (const { name, help, value } of gauges) {
    const gauge: Gauge = new Gauge({
      name: `robustmq_journal_${name}`,
      help,
      registers: [registry],
      collect: () => gauge.set(value(node)),
    });
  }
  registerRefusals(registry, node);
  registerLags(registry, node);
  return registerSyncs(registry, node);
}

/** The times of the last syncs. */
export class SyncTimes {
  readonly #ms = new Float64Array(256);
  #count = 0;

  note(ms: number): void {
    this.#ms[this.#count++ % this.#ms.length] = ms;
  }

  /** 99th percentile of the last 256, in whole ms; 0 before the first. */
  get p99Ms(): number {
    const known = this.#ms.slice(0, Math.min(this.#count, this.#ms.length)).toSorted();
    return Math.round(known[Math.ceil(known.length * 0.99) - 1] ?? 0);
  }
}

function registerLags(registry: Registry, node: JournalNode): void {
  const gauge = (name: string, help: string): Gauge<'follower'> =>
    new Gauge({ name: `robustmq_journal_${name}`, help, labelNames: ['follower'], registers: [] });
  const records = gauge(
    'replication_lag_records',
    'Records of segments led here that the follower has not confirmed',
  );
  const seconds = gauge('replication_lag_seconds', 'Age of the oldest of them');
  const collect = (metric: Gauge<'follower'>, read: (lag: FollowerLag) => number): void => {
    metric.reset();
    for (const lag of node.followerLags) metric.set({ follower: lag.nodeId }, read(lag));
  };
  Object.assign(records, { collect: () => collect(records, (lag) => lag.records) });
  Object.assign(seconds, { collect: () => collect(seconds, (lag) => lag.behindMs / SECOND_MS) });
  registry.registerMetric(records);
  registry.registerMetric(seconds);
}

function registerCounter(
  registry: Registry,
  name: string,
  help: string,
  value: () => number,
): void {
  const counter: Counter = new Counter({
    name: `robustmq_journal_${name}`,
    help,
    registers: [registry],
    collect: () => {
      counter.reset();
      counter.inc(value());
    },
  });
}

function registerRefusals(registry: Registry, node: JournalNode): void {
  const refusals: Counter = new Counter({
    name: 'robustmq_journal_refusals_total',
    help: 'Appends, reads and tails that were refused, by error code',
    labelNames: ['code'],
    registers: [registry],
    collect: () => {
      refusals.reset();
      for (const [code, count] of node.counters.refusals) refusals.inc({ code }, count);
    },
  });
}

/** One observation for each group of syncs that the node was told of. */
function registerSyncs(registry: Registry, node: JournalNode): SyncTimes {
  const times = new SyncTimes();
  const histogram = new Histogram({
    name: 'robustmq_journal_sync_seconds',
    help: 'Time to write and sync one group of the log',
    buckets: syncBuckets,
    registers: [registry],
  });
  const { stats } = node.storage;
  let { syncs, syncMsSum } = stats;
  node.onSynced = () => {
    const count = stats.syncs - syncs;
    if (count > 0) {
      const ms = (stats.syncMsSum - syncMsSum) / count;
      histogram.observe(ms / SECOND_MS);
      times.note(ms);
    }
    ({ syncs, syncMsSum } = stats);
  };
  return times;
}
