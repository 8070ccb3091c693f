/** The load generator as a process of its own: starts the threads, keeps time, adds up. */
import { setTimeout as delay } from 'node:timers/promises';
import { Worker } from 'node:worker_threads';

import { LatencyHistogram } from './latency-histogram.ts';
import { LoadCounters, phases } from './load-counters.ts';
import { type LoadPlan, type LoadResult, range } from './load-plan.ts';
import type { ThreadOrder, ThreadTask } from './load-thread.ts';

/** What the process tells its parent, in this order. */
export type LoadReport = 'measuring' | 'measured' | LoadResult;

/** How long messages under way may take to arrive once nothing more is sent. */
const drainMs = 15_000;
/** How long to listen for duplicates once everything has arrived. */
const lateMs = 100;

process.once('message', (plan: LoadPlan) => {
  void run(plan);
});

async function run(plan: LoadPlan): Promise<void> {
  const counters = new LoadCounters(plan);
  const threads = range(plan.threads).map((thread) => startThread(plan, thread, counters));
  await Promise.all(threads.map((thread) => nextMessage(thread)));
  order(threads, 'send');
  await delay(plan.warmUpSeconds * 1000);
  const measured = await measure(plan, counters);
  await drain(counters);
  report(resultOf(plan, counters, measured));
  order(threads, 'close');
  process.disconnect();
}

interface Measured {
  readonly seconds: number;
  readonly sent: number;
  readonly delivered: number;
}

async function measure(plan: LoadPlan, counters: LoadCounters): Promise<Measured> {
  report('measuring');
  counters.phase = phases.measured;
  const begin = { at: performance.now(), ...snapshot(counters) };
  await delay(plan.measuredSeconds * 1000);
  const end = { at: performance.now(), ...snapshot(counters) };
  report('measured');
  return {
    seconds: (end.at - begin.at) / 1000,
    sent: end.sent - begin.sent,
    delivered: end.delivered - begin.delivered,
  };
}

function snapshot(counters: LoadCounters): { sent: number; delivered: number } {
  return { sent: counters.totalSent(), delivered: counters.totalDelivered() };
}

/** Stops sending and waits until everything has arrived, or until nobody can hope for that. */
async function drain(counters: LoadCounters): Promise<void> {
  counters.phase = phases.drain;
  const deadline = performance.now() + drainMs;
  const underWay = (): boolean => {
    const { expected, delivered, skipped, unacknowledged } = counters.totals();
    return delivered + skipped < expected || unacknowledged > 0;
  };
  while (performance.now() < deadline && underWay()) await delay(5);
  await delay(lateMs);
}

function resultOf(plan: LoadPlan, counters: LoadCounters, measured: Measured): LoadResult {
  const histogram = new LatencyHistogram();
  for (const thread of range(plan.threads)) histogram.add(counters.histogram(thread));
  return {
    seconds: measured.seconds,
    publishedPerSecond: measured.sent / measured.seconds,
    deliveredPerSecond: measured.delivered / measured.seconds,
    latencyUs: {
      p50: histogram.quantile(0.5),
      p99: histogram.quantile(0.99),
      p999: histogram.quantile(0.999),
    },
    sent: counters.totalSent(),
    deliveries: counters.totals(),
  };
}

function startThread(plan: LoadPlan, thread: number, counters: LoadCounters): Worker {
  const workerData: ThreadTask = { plan, thread, memory: counters.memory };
  const worker = new Worker(new URL('load-thread.ts', import.meta.url), { workerData });
  // A run with a dead thread is worth nothing: the process ends and says why.
  worker.on('error', (error) => {
    throw error;
  });
  return worker;
}

function nextMessage(worker: Worker): Promise<void> {
  return new Promise((resolve) => {
    worker.once('message', () => resolve());
  });
}

function order(threads: readonly Worker[], what: ThreadOrder): void {
  for (const thread of threads) thread.postMessage(what);
}

function report(message: LoadReport): void {
  process.send?.(message);
}
