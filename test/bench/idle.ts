import type { BenchOptions } from './bench-options.ts';
import { GeneratorProcess } from './load/generator-process.ts';
import type { IdlePlan, IdleReport } from './load/idle-process.ts';
import { residentBytes } from './measure/process-usage.ts';
import { inMebibytes, type ScenarioOutcome, type ScenarioTools } from './scenario-outcome.ts';
import type { BrokerSystem } from './systems/broker-system.ts';
import { startSystem } from './systems/start-system.ts';

/** What the idle connections cost one broker. */
interface IdleRun {
  readonly beforeBytes: number;
  readonly afterBytes: number;
  readonly kibibytesEach: number;
  readonly connectsPerSecond: number;
}

/** Resident memory of the broker with idle connections, less what it had before, for each. */
export async function runIdle(
  options: BenchOptions,
  tools: ScenarioTools,
): Promise<ScenarioOutcome> {
  const runs: Partial<Record<BrokerSystem['name'], IdleRun>> = {};
  for (const name of tools.systems) {
    tools.progress(`starting ${name}`);
    await using system = await startSystem(name, tools.dataDir);
    runs[name] = await holdConnections(system, options, tools);
  }
  const { ours, mosquitto } = runs;
  const each = (run: IdleRun | undefined): string =>
    run === undefined ? '-' : `${run.kibibytesEach.toFixed(1)} KiB each`;
  const memory = (run: IdleRun | undefined): string =>
    run === undefined ? '-' : `${inMebibytes(run.beforeBytes)} → ${inMebibytes(run.afterBytes)}`;
  return {
    ours: each(ours),
    mosquitto: each(mosquitto),
    ratio: '-',
    latencies: '-',
    memory: `${memory(ours)} · ${memory(mosquitto)}`,
    cpu: '-',
    figures: ours === undefined ? {} : { kibibytesEach: ours.kibibytesEach },
    details: runs,
  };
}

async function holdConnections(
  system: BrokerSystem,
  options: BenchOptions,
  tools: ScenarioTools,
): Promise<IdleRun> {
  const connections = options.idleConnections;
  const plan: IdlePlan = {
    host: system.host,
    port: system.port,
    topicPrefix: 'bench/idle',
    connections,
    keepAliveSeconds: 60,
    pinging: Math.ceil(connections / 20),
    pingEachMs: 10_000,
    holdSeconds: options.idleSeconds,
  };
  const beforeBytes = residentBytes(system.processes.broker);
  const module = new URL('load/idle-process.ts', import.meta.url);
  await using generator = new GeneratorProcess<IdleReport>(module, plan);
  const connected = await generator.next();
  if (connected.kind !== 'connected') throw new Error('the connections were never complete');
  const { connectsPerSecond } = connected;
  tools.progress(
    `${system.name}: ${connections} connected at ${connectsPerSecond.toFixed(0)}/s, ` +
      `broker ${inMebibytes(residentBytes(system.processes.broker))}; holding ${options.idleSeconds} s`,
  );
  const held = await generator.next();
  const afterBytes = residentBytes(system.processes.broker);
  if (held.kind !== 'held') throw new Error('the connections were complete twice');
  if (held.alive !== connections || held.pings - held.pongs > 1 || held.pongs === 0) {
    const { alive, pings, pongs } = held;
    throw new Error(
      `the run does not count: ${alive} of ${connections} connections lived, ${pongs} of ${pings} pings were answered`,
    );
  }
  const kibibytesEach = (afterBytes - beforeBytes) / 1024 / connections;
  tools.progress(`${system.name}: ${kibibytesEach.toFixed(1)} KiB each`);
  return { beforeBytes, afterBytes, kibibytesEach, connectsPerSecond };
}
