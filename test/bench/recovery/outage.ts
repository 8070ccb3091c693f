import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';

import type { ShardId } from '@robustmq/core';

import { Cluster } from '../../harness/cluster.ts';
import type { BenchOptions } from '../bench-options.ts';
import { range } from '../load/load-plan.ts';
import { quantileOf } from '../measure/statistics.ts';
import { inMs, type ScenarioOutcome, type ScenarioTools } from '../scenario-outcome.ts';
import { ProbeClient } from './probe-client.ts';
import { SteadyWriters } from './steady-writers.ts';

const journalCount = 3;
const shardCount = 12;
/** How long the writers are watched after each fault: longer than any outage should be. */
const watchedMs = { SIGKILL: 2_500, SIGSTOP: 6_000 } as const;
const undisturbedMs = 2_500;
const settleWithinMs = 60_000;

type Fault = keyof typeof watchedMs;

/** The longest write outages of shards, in ms, by what they lost. */
interface Outages {
  /** In the time before each fault: what the machine and the disk do without one. */
  readonly nothing: number[];
  readonly leader: number[];
  readonly follower: number[];
}

/**
 * Kills and stops journals under steady writers, one at a time: how long was each shard without an
 * acknowledgement, when it lost its leader, and when it lost a follower?
 */
export async function runOutage(
  options: BenchOptions,
  tools: ScenarioTools,
): Promise<ScenarioOutcome> {
  await using cluster = await Cluster.start({
    dataDir: join(tools.dataDir, 'robustmq'),
    journals: journalCount,
    brokers: 0,
  });
  await using client = await ProbeClient.connect(cluster.role('placement').address('grpc'));
  const shards = await client.createTopic('bench-outage', shardCount);
  await using writers = new SteadyWriters(client, shards);
  const measured = { SIGKILL: emptyOutages(), SIGSTOP: emptyOutages() };
  for (const fault of ['SIGKILL', 'SIGSTOP'] as const) {
    for (const round of range(options.rounds)) {
      await settled(client, shards);
      const victim = `journal-${(round % journalCount) + 1}`;
      await runRound({ cluster, client, writers }, victim, fault, measured[fault]);
    }
    tools.progress(`before each ${fault}: ${spreadOf(measured[fault].nothing)}`);
    tools.progress(`${fault}, leader lost: ${spreadOf(measured[fault].leader)}`);
    tools.progress(`${fault}, follower lost: ${spreadOf(measured[fault].follower)}`);
  }
  const { SIGKILL: killed, SIGSTOP: stopped } = measured;
  const p50Ms = quantileOf(killed.leader, 0.5);
  const figures = {
    leaderKilledP99Ms: quantileOf(killed.leader, 0.99),
    followerKilledP99Ms: quantileOf(killed.follower, 0.99),
    leaderStoppedP99Ms: quantileOf(stopped.leader, 0.99),
  };
  const { leaderKilledP99Ms, followerKilledP99Ms, leaderStoppedP99Ms } = figures;
  return {
    ours: `p99 ${inMs(leaderKilledP99Ms)}, ${inMs(followerKilledP99Ms)}, ${inMs(leaderStoppedP99Ms)}`,
    mosquitto: '-',
    ratio: '-',
    latencies: `${inMs(p50Ms)} / ${inMs(leaderKilledP99Ms)}`,
    memory: '-',
    cpu: '-',
    figures,
    details: measured,
  };
}

interface Scene {
  readonly cluster: Cluster;
  readonly client: ProbeClient;
  readonly writers: SteadyWriters;
}

async function runRound(
  { cluster, client, writers }: Scene,
  victim: string,
  fault: Fault,
  outages: Outages,
): Promise<void> {
  writers.reset();
  await delay(undisturbedMs);
  outages.nothing.push(...writers.longestMs().values());
  const lost = new Map([...writers.longestMs().keys()].map((id) => [id, client.leaderOf(id)]));
  writers.reset();
  const role = cluster.role(victim);
  if (fault === 'SIGKILL') await role.kill();
  else role.signal('SIGSTOP');
  await delay(watchedMs[fault]);
  for (const [id, longestMs] of writers.longestMs()) {
    (lost.get(id) === victim ? outages.leader : outages.follower).push(longestMs);
  }
  if (fault === 'SIGKILL') await cluster.restart(victim);
  else role.signal('SIGCONT');
}

/** Waits until each shard is led and has all its replicas again. */
async function settled(client: ProbeClient, shards: readonly ShardId[]): Promise<void> {
  const deadline = performance.now() + settleWithinMs;
  const isWhole = (id: ShardId): boolean => client.liveReplicas(id) === journalCount;
  while (!shards.every(isWhole)) {
    if (performance.now() > deadline) throw new Error('a shard did not get its replicas back');
    await delay(100);
  }
}

function emptyOutages(): Outages {
  return { nothing: [], leader: [], follower: [] };
}

function spreadOf(timesMs: readonly number[]): string {
  const at = (fraction: number): string => inMs(quantileOf(timesMs, fraction));
  return `${timesMs.length} shards, p50 ${at(0.5)}, p90 ${at(0.9)}, p99 ${at(0.99)}, longest ${at(1)}`;
}
