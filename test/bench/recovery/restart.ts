import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';

import type { ShardId } from '@robustmq/core';

import { Cluster } from '../../harness/cluster.ts';
import type { BenchOptions } from '../bench-options.ts';
import { residentBytes } from '../measure/process-usage.ts';
import { quantileOf } from '../measure/statistics.ts';
import {
  inMebibytes,
  inMs,
  type ScenarioOutcome,
  type ScenarioTools,
} from '../scenario-outcome.ts';
import { ProbeClient } from './probe-client.ts';

const journal = 'journal-1';
/** Segments are counted once their number has not changed for so long. */
const settledMs = 3_000;
const settleWithinMs = 60_000;

/** Kills a journal with many shards and starts it again: when are all writable, and does an idle restart add segments? */
export async function runRestart(
  options: BenchOptions,
  tools: ScenarioTools,
): Promise<ScenarioOutcome> {
  await using cluster = await Cluster.start({
    dataDir: join(tools.dataDir, 'robustmq'),
    brokers: 0,
  });
  await using client = await ProbeClient.connect(cluster.role('placement').address('grpc'));
  const shards = await client.createTopic('bench-restart', options.restartShards);
  const firstMs = Math.max(...(await client.appendToEach(shards)));
  tools.progress(`${shards.length} shards opened and appended to in ${inMs(firstMs)}`);

  const { timesMs, readyMs } = await killUnderProbes(cluster, client, shards);
  const allWritableMs = Math.max(...timesMs);
  tools.progress(`ready ${inMs(readyMs)} after SIGKILL, all writable after ${inMs(allWritableMs)}`);

  // The first idle restart may still close what the probes opened; the second one has nothing to do.
  const counts: Map<ShardId, number>[] = [];
  for (const which of ['first', 'second']) {
    await killAndRestart(cluster);
    const settled = await settledCounts(client, shards);
    counts.push(settled);
    tools.progress(`after the ${which} idle restart: ${sum(settled)} segments`);
  }
  const segmentsAdded = added(counts[0], counts[1]);
  const rss = residentBytes(cluster.role(journal).pid);
  const spread = { p50: quantileOf(timesMs, 0.5), p99: quantileOf(timesMs, 0.99) };
  return {
    ours: `${inMs(allWritableMs)}; ${segmentsAdded} segments added`,
    mosquitto: '-',
    ratio: '-',
    latencies: `${inMs(spread.p50)} / ${inMs(spread.p99)}`,
    memory: `journal ${inMebibytes(rss)}`,
    cpu: '-',
    figures: { allWritableMs, segmentsAdded },
    details: { firstMs, readyMs, allWritableMs, ...spread, segments: counts.map(sum) },
  };
}

/** Probes every shard from the kill on, as brokers under load would. */
async function killUnderProbes(
  cluster: Cluster,
  client: ProbeClient,
  shards: readonly ShardId[],
): Promise<{ timesMs: number[]; readyMs: number }> {
  const begin = performance.now();
  const killed = cluster.role(journal).kill();
  const probes = client.appendToEach(shards);
  const [readyMs, timesMs] = await Promise.all([
    killed.then(() => cluster.restart(journal)).then(() => performance.now() - begin),
    probes,
  ]);
  return { timesMs, readyMs };
}

async function killAndRestart(cluster: Cluster): Promise<void> {
  await cluster.role(journal).kill();
  await cluster.restart(journal);
}

/** Segments open and close in the background after a start: waits until that is over. */
async function settledCounts(
  client: ProbeClient,
  shards: readonly ShardId[],
): Promise<Map<ShardId, number>> {
  const deadline = performance.now() + settleWithinMs;
  let counts = await client.segmentCounts(shards);
  while (performance.now() < deadline) {
    await delay(settledMs);
    const later = await client.segmentCounts(shards);
    if (added(counts, later) === 0 && added(later, counts) === 0) return later;
    counts = later;
  }
  throw new Error(`the chains still change ${settleWithinMs} ms after a restart`);
}

/** Segments that shards have more than before. */
function added(
  before: ReadonlyMap<ShardId, number> | undefined,
  after: ReadonlyMap<ShardId, number> | undefined,
): number {
  const grown = [...(after ?? [])].map(([id, count]) =>
    Math.max(0, count - (before?.get(id) ?? 0)),
  );
  return grown.reduce((total, count) => total + count, 0);
}

function sum(counts: ReadonlyMap<ShardId, number>): number {
  return [...counts.values()].reduce((total, count) => total + count, 0);
}
