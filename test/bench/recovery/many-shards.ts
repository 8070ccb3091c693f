import { join } from 'node:path';

import type { ShardId } from '@robustmq/core';

import { Cluster } from '../../harness/cluster.ts';
import type { BenchOptions } from '../bench-options.ts';
import { quantileOf } from '../measure/statistics.ts';
import type { ManyShardsScenario } from '../scenario.ts';
import { inMs, type ScenarioOutcome, type ScenarioTools } from '../scenario-outcome.ts';
import { ProbeClient } from './probe-client.ts';

const victim = 'journal-1';
/** Partitions that a topic can have. */
const partitionsMax = 10_000;

/** Kills a journal that leads many shards with replicas elsewhere: when can all of them be written again? */
export async function runManyShards(
  { journals }: ManyShardsScenario,
  options: BenchOptions,
  tools: ScenarioTools,
): Promise<ScenarioOutcome> {
  await using cluster = await Cluster.start({
    dataDir: join(tools.dataDir, 'robustmq'),
    journals,
    brokers: 0,
  });
  await using client = await ProbeClient.connect(cluster.role('placement').address('grpc'));
  const shards = await makeShards(client, journals * options.restartShards);
  const firstMs = Math.max(...(await client.appendToEach(shards)));
  const led = shards.filter((id) => client.leaderOf(id) === victim);
  tools.progress(`${shards.length} shards opened and appended to in ${inMs(firstMs)}`);
  tools.progress(`${victim} leads ${led.length} of them`);

  const begin = performance.now();
  const killed = cluster.role(victim).kill();
  const timesMs = await client.appendToEach(led);
  await killed;
  const allWritableMs = performance.now() - begin;
  const spread = { p50: quantileOf(timesMs, 0.5), p99: quantileOf(timesMs, 0.99) };
  return {
    ours: `${led.length} shards in ${inMs(allWritableMs)}`,
    mosquitto: '-',
    ratio: '-',
    latencies: `${inMs(spread.p50)} / ${inMs(spread.p99)}`,
    memory: '-',
    cpu: '-',
    figures: { allWritableMs },
    details: { firstMs, shards: shards.length, led: led.length, allWritableMs, ...spread },
  };
}

async function makeShards(client: ProbeClient, count: number): Promise<ShardId[]> {
  const shards: ShardId[] = [];
  while (shards.length < count) {
    const partitions = Math.min(partitionsMax, count - shards.length);
    shards.push(...(await client.createTopic(`bench-${shards.length}`, partitions)));
  }
  return shards;
}
