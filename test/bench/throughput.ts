import type { BenchOptions } from './bench-options.ts';
import { type LoadRun, runLoad } from './load/load-run.ts';
import { median } from './measure/statistics.ts';
import { total } from './measure/process-usage.ts';
import type { LoadScenario } from './scenario.ts';
import {
  inMebibytes,
  inMs,
  inThousands,
  type ScenarioOutcome,
  type ScenarioTools,
} from './scenario-outcome.ts';
import type { BrokerSystem, SystemName } from './systems/broker-system.ts';
import { startSystem } from './systems/start-system.ts';

/** Runs of each system, in order: those of the same index are a pair. */
type RunsBySystem = Readonly<Record<SystemName, LoadRun[]>>;

/** Alternates between the systems, each started once for the scenario, and takes the median of the ratios. */
export async function runThroughput(
  scenario: LoadScenario,
  options: BenchOptions,
  tools: ScenarioTools,
): Promise<ScenarioOutcome> {
  const runs: RunsBySystem = { ours: [], mosquitto: [] };
  await using stack = new AsyncDisposableStack();
  const systems: BrokerSystem[] = [];
  for (const name of tools.systems) {
    tools.progress(`starting ${name}`);
    systems.push(stack.use(await startSystem(name, tools.dataDir)));
  }
  for (let pair = 0; pair < options.pairs; pair++) {
    for (const [position, system] of systems.entries()) {
      const runId = pair * systems.length + position + 1;
      const run = await runOnce(system, scenario, options, runId);
      runs[system.name].push(run);
      tools.progress(`pair ${pair + 1} of ${options.pairs}: ${system.name} ${describe(run)}`);
    }
  }
  return outcomeOf(runs);
}

function runOnce(
  system: BrokerSystem,
  scenario: LoadScenario,
  options: BenchOptions,
  runId: number,
): Promise<LoadRun> {
  return runLoad(system, {
    ...scenario.shape,
    host: system.host,
    port: system.port,
    runId,
    topicPrefix: `bench/${scenario.name}`,
    warmUpSeconds: options.warmUpSeconds,
    measuredSeconds: options.seconds,
    threads: Math.min(options.threads, scenario.shape.subscribers),
  });
}

function describe(run: LoadRun): string {
  const { p50, p99 } = run.latencyUs;
  return [
    `${inThousands(run.deliveredPerSecond)} delivered/s`,
    `p50 ${inMs(p50 / 1000)}, p99 ${inMs(p99 / 1000)}`,
    `CPU ${perRoleText(run.serverCpuSeconds, (seconds) => `${seconds.toFixed(1)} s`)}`,
    `generator ${run.generatorCpuSeconds.toFixed(1)} s`,
    `RSS ${perRoleText(run.serverResidentBytes, inMebibytes)}`,
  ].join(', ');
}

function perRoleText(
  values: Readonly<Record<string, number>>,
  text: (value: number) => string,
): string {
  return Object.entries(values)
    .map(([role, value]) => `${role} ${text(value)}`)
    .join(' ');
}

function outcomeOf(runs: RunsBySystem): ScenarioOutcome {
  const ratios = runs.ours.flatMap((run, pair) => {
    const peer = runs.mosquitto[pair];
    return peer === undefined ? [] : [run.deliveredPerSecond / peer.deliveredPerSecond];
  });
  const of = (runs: readonly LoadRun[], value: (run: LoadRun) => number): number =>
    median(runs.map(value));
  const each = (text: (runs: readonly LoadRun[]) => string): string =>
    [runs.ours, runs.mosquitto].map((some) => (some.length === 0 ? '-' : text(some))).join(' · ');
  const rate = (some: readonly LoadRun[]): string =>
    some.length === 0 ? '-' : `${inThousands(of(some, (run) => run.deliveredPerSecond))}/s`;
  return {
    ours: rate(runs.ours),
    mosquitto: rate(runs.mosquitto),
    ratio: ratios.length === 0 ? '-' : ratioText(ratios),
    latencies: each(
      (some) =>
        `${inMs(of(some, (run) => run.latencyUs.p50 / 1000))} / ${inMs(of(some, (run) => run.latencyUs.p99 / 1000))}`,
    ),
    memory: each((some) => inMebibytes(of(some, (run) => total(run.serverResidentBytes)))),
    cpu: each(
      (some) =>
        `${of(some, (run) => total(run.serverCpuSeconds)).toFixed(1)} + ${of(some, (run) => run.generatorCpuSeconds).toFixed(1)} s`,
    ),
    figures: {
      ...(ratios.length > 0 && { ratio: median(ratios) }),
      ...(runs.ours.length > 0 && {
        p50Ms: of(runs.ours, (run) => run.latencyUs.p50 / 1000),
        p99Ms: of(runs.ours, (run) => run.latencyUs.p99 / 1000),
      }),
    },
    details: { ...runs, ratios },
  };
}

function ratioText(ratios: readonly number[]): string {
  const [least, most] = [Math.min(...ratios), Math.max(...ratios)];
  return `${median(ratios).toFixed(2)} × (${least.toFixed(2)} to ${most.toFixed(2)})`;
}
