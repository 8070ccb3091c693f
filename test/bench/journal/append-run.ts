import { setTimeout as delay } from 'node:timers/promises';

import type { Cluster } from '../../harness/cluster.ts';
import { GeneratorProcess } from '../load/generator-process.ts';
import { cpuSeconds, difference, type PerRole, perRole } from '../measure/process-usage.ts';
import { scrape } from '../measure/scrape.ts';
import { quantileOf } from '../measure/statistics.ts';
import type { AppendPlan, AppendReport } from './append-plan.ts';
import type { JournalBenchOptions } from './journal-options.ts';

/** A cluster without brokers, and how many journals it has. */
export interface JournalTier {
  readonly cluster: Cluster;
  readonly journals: number;
}

/** One measured run. */
export interface AppendRun {
  /** Bytes of records a second that were acknowledged. */
  readonly bytesPerSecond: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
  /** By process. */
  readonly cpuSecondsPerGib: PerRole;
  /** Part of the machine's time, by process. */
  readonly coresBusy: PerRole;
  /** Of all journals together. */
  readonly log: LogUse;
}

interface LogUse {
  readonly syncsPerSecond: number;
  /** Mean bytes of one write to the log with its sync. */
  readonly bytesPerSync: number;
  /** Mean time of one sync. */
  readonly msPerSync: number;
  /** Bytes written to the log, and to segment files, for each byte of records. */
  readonly logShare: number;
  readonly segmentShare: number;
}

const GIB = 1024 ** 3;
const pollMs = 250;
const fillWithinMs = 120_000;

/** So that it does not mark its heap for each few batches: see packages/cli/bin/robustmq.mjs. */
const generatorFlags = [
  '--heap-growing-percent=2000',
  '--external-memory-accounted-in-global-limit',
];

/** When the log begins to use its files again, instead of making new ones. */
const steadyLogBytes = 640 * 1024 ** 2;

/** Appends until every journal uses the files of its log again; nothing is measured. */
export async function fillLogs(tier: JournalTier, options: JournalBenchOptions): Promise<void> {
  await withLoad(tier, options, 'fill', async () => {
    const deadline = performance.now() + fillWithinMs;
    while (performance.now() < deadline) {
      await delay(pollMs);
      const written = await Promise.all(names(tier).map((name) => countersOf(tier, name)));
      if (written.every(({ logBytes }) => logBytes >= steadyLogBytes)) return;
    }
    throw new Error(`the journals have not written ${steadyLogBytes} bytes in ${fillWithinMs} ms`);
  });
}

/** Appends as fast as the window lets it; measured after the warm-up. */
export function runAppends(
  tier: JournalTier,
  options: JournalBenchOptions,
  topic: string,
): Promise<AppendRun> {
  return withLoad(tier, options, topic, async (generator) => {
    await delay(options.warmUpSeconds * 1000);
    const before = await sample(tier, generator);
    await delay(options.seconds * 1000);
    const after = await sample(tier, generator);
    return measured(before, after);
  });
}

async function withLoad<T>(
  { cluster }: JournalTier,
  { shards, window, recordBytes, batchBytes }: JournalBenchOptions,
  topic: string,
  work: (generator: GeneratorProcess<AppendReport>) => Promise<T>,
): Promise<T> {
  const placement = cluster.role('placement').address('grpc');
  const plan: AppendPlan = { placement, topic, shards, window, recordBytes, batchBytes };
  const module = new URL('append-process.ts', import.meta.url);
  await using generator = new GeneratorProcess<AppendReport>(module, plan, generatorFlags);
  const result = await work(generator);
  generator.send('stop');
  await generator.next();
  return result;
}

interface Sample {
  readonly atMs: number;
  readonly report: AppendReport;
  readonly cpu: PerRole;
  readonly counters: Counters;
}

async function sample(
  tier: JournalTier,
  generator: GeneratorProcess<AppendReport>,
): Promise<Sample> {
  const { cluster } = tier;
  const roles = ['placement', ...names(tier)].map(
    (name) => [name, cluster.role(name).pid] as const,
  );
  const processes = { ...Object.fromEntries(roles), generator: generator.pid };
  generator.send('sample');
  const report = await generator.next();
  const atMs = performance.now();
  const cpu = perRole(processes, cpuSeconds);
  const counters = await Promise.all(names(tier).map((name) => countersOf(tier, name)));
  return { atMs, report, cpu, counters: counters.reduce(added) };
}

function measured(before: Sample, after: Sample): AppendRun {
  const seconds = (after.atMs - before.atMs) / 1000;
  const { bytes, latenciesMs } = after.report;
  if (bytes === 0) throw new Error('nothing was acknowledged');
  const cpu = difference(after.cpu, before.cpu);
  const scaled = (factor: number): PerRole =>
    Object.fromEntries(Object.entries(cpu).map(([role, used]) => [role, used * factor] as const));
  const count = (name: keyof Counters): number => after.counters[name] - before.counters[name];
  return {
    bytesPerSecond: bytes / seconds,
    p50Ms: quantileOf(latenciesMs, 0.5),
    p99Ms: quantileOf(latenciesMs, 0.99),
    cpuSecondsPerGib: scaled(GIB / bytes),
    coresBusy: scaled(1 / seconds),
    log: {
      syncsPerSecond: count('syncs') / seconds,
      bytesPerSync: count('logBytes') / count('syncs'),
      msPerSync: (count('syncSeconds') / count('syncs')) * 1000,
      logShare: count('logBytes') / bytes,
      segmentShare: count('segmentBytes') / bytes,
    },
  };
}

interface Counters {
  readonly logBytes: number;
  readonly segmentBytes: number;
  readonly syncs: number;
  readonly syncSeconds: number;
}

async function countersOf({ cluster }: JournalTier, name: string): Promise<Counters> {
  const samples = await scrape(cluster.role(name).address('http'));
  const value = (metric: string): number => samples.get(`robustmq_journal_${metric}`) ?? 0;
  return {
    logBytes: value('wal_written_bytes_total'),
    segmentBytes: value('segment_written_bytes_total'),
    syncs: value('sync_seconds_count'),
    syncSeconds: value('sync_seconds_sum'),
  };
}

function added(a: Counters, b: Counters): Counters {
  return {
    logBytes: a.logBytes + b.logBytes,
    segmentBytes: a.segmentBytes + b.segmentBytes,
    syncs: a.syncs + b.syncs,
    syncSeconds: a.syncSeconds + b.syncSeconds,
  };
}

function names({ journals }: JournalTier): string[] {
  return Array.from({ length: journals }, (_, index) => `journal-${index + 1}`);
}
