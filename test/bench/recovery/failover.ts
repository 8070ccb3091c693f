import { join } from 'node:path';

import { Cluster } from '../../harness/cluster.ts';
import type { BenchOptions } from '../bench-options.ts';
import { range } from '../load/load-plan.ts';
import { median, quantileOf } from '../measure/statistics.ts';
import { inMs, type ScenarioOutcome, type ScenarioTools } from '../scenario-outcome.ts';
import { FailoverPublisher, FailoverSession } from './failover-session.ts';

const sessionCount = 50;
/** A session that is not served by then never will be. */
const givenUpMs = 30_000;

interface Round {
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly timesMs: readonly number[];
}

/**
 * Kills the broker that has the sessions, in a new cluster each round. A session is served when its
 * client has its session back at the other broker and a message published after the kill.
 */
export async function runFailover(
  options: BenchOptions,
  tools: ScenarioTools,
): Promise<ScenarioOutcome> {
  const rounds: Round[] = [];
  for (const index of range(options.pairs)) {
    const timesMs = await runRound(join(tools.dataDir, `round-${index}`));
    const p50Ms = quantileOf(timesMs, 0.5);
    const p99Ms = quantileOf(timesMs, 0.99);
    rounds.push({ p50Ms, p99Ms, timesMs });
    tools.progress(
      `round ${index + 1} of ${options.pairs}: p50 ${inMs(p50Ms)}, p99 ${inMs(p99Ms)}`,
    );
  }
  const p50Ms = median(rounds.map((round) => round.p50Ms));
  const p99Ms = Math.max(...rounds.map((round) => round.p99Ms));
  return {
    ours: `worst p99 ${inMs(p99Ms)}`,
    mosquitto: '-',
    ratio: '-',
    latencies: `${inMs(p50Ms)} / ${inMs(p99Ms)}`,
    memory: '-',
    cpu: '-',
    figures: { p50Ms, p99Ms },
    details: { rounds },
  };
}

/** Time in ms from SIGKILL until each session was served. */
async function runRound(dataDir: string): Promise<number[]> {
  // The first broker comes alone, so that the coordinators of the sessions begin with it.
  await using cluster = await Cluster.start({ dataDir, brokers: 1 });
  const sessions = range(sessionCount).map((index) => new FailoverSession(index));
  await Promise.all(sessions.map((session) => session.establish(cluster.mqtt('broker-1'))));
  await cluster.startBroker('broker-2');
  const survivor = cluster.mqtt('broker-2');
  const publisher = new FailoverPublisher(survivor);
  await publisher.ready();

  const begin = performance.now();
  const signal = AbortSignal.timeout(givenUpMs);
  const killed = cluster.role('broker-1').kill();
  const published = publisher.publish(sessions.map((session) => session.topic));
  const timesMs = await Promise.all(
    sessions.map(async (session) => {
      await withSignal(session.resume(survivor, signal), signal);
      return performance.now() - begin;
    }),
  );
  await Promise.all([killed, published]);
  for (const one of [...sessions, publisher]) one.close();
  return timesMs;
}

function withSignal<T>(work: Promise<T>, signal: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    signal.addEventListener('abort', () => reject(signal.reason), { once: true });
    work.then(resolve, reject);
  });
}
