/**
 * `pnpm bench mqtt`: the system as separate processes under load, beside Mosquitto in memory.
 * `pnpm bench journal`: appends to one journal and to three, beside the disk.
 */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

import { unreachable } from '@robustmq/core';

import { type BenchOptions, parseBenchOptions, usage } from './bench-options.ts';
import { runIdle } from './idle.ts';
import { benchJournal } from './journal/journal-bench.ts';
import { measureSync, refuseMemoryDisk } from './measure/data-disk.ts';
import { machineLine } from './measure/machine.ts';
import { runFailover } from './recovery/failover.ts';
import { runManyShards } from './recovery/many-shards.ts';
import { runOutage } from './recovery/outage.ts';
import { runRestart } from './recovery/restart.ts';
import { renderTable, type ReportedScenario } from './report.ts';
import type { Scenario } from './scenario.ts';
import type { ScenarioOutcome, ScenarioTools } from './scenario-outcome.ts';
import { systemSettings } from './systems/broker-system.ts';
import { mosquittoVersion } from './systems/mosquitto-system.ts';
import { runThroughput } from './throughput.ts';

try {
  const [name, ...rest] = process.argv.slice(2);
  const options = name === 'journal' ? 'journal' : parseBenchOptions(process.argv.slice(2));
  if (options === 'journal') await benchJournal(rest);
  else if (options === undefined) console.log(usage);
  else process.exitCode = (await bench(options)) ? 0 : 1;
} catch (error) {
  console.error(`bench: ${reasonOf(error)}`);
  process.exitCode = 1;
}

/** Whether all runs counted. Targets that were missed stand in the table and fail nothing. */
async function bench(wanted: BenchOptions): Promise<boolean> {
  const options = withInstalledSystems(wanted);
  mkdirSync(options.dataDir, { recursive: true });
  refuseMemoryDisk(options.dataDir);
  const conditions = conditionsOf(options);
  console.log(conditions.join('\n'));
  const reported: ReportedScenario[] = [];
  // Ctrl-C ends the children, and with them the scenario; what was made on disk is still removed.
  let interrupted = false;
  process.once('SIGINT', () => (interrupted = true));
  for (const scenario of options.scenarios) {
    if (interrupted) break;
    const result = await report(scenario, options);
    if (result !== undefined) reported.push(result);
  }
  console.log(`\n${renderTable(reported)}`);
  if (options.json !== undefined) {
    writeFileSync(options.json, `${JSON.stringify({ conditions, options, reported }, null, 2)}\n`);
  }
  return reported.every(({ failure }) => failure === undefined);
}

function withInstalledSystems(options: BenchOptions): BenchOptions {
  if (!options.systems.includes('mosquitto') || mosquittoVersion() !== undefined) return options;
  console.log('Mosquitto is not installed: ours is measured alone, without ratios.');
  return { ...options, systems: options.systems.filter((name) => name !== 'mosquitto') };
}

function conditionsOf(options: BenchOptions): string[] {
  const sync = measureSync(options.dataDir);
  const version = mosquittoVersion();
  return [
    `machine     ${machineLine()}`,
    `data        ${options.dataDir}: fdatasync of 4 KiB p50 ${sync.p50Ms.toFixed(2)} ms, p99 ${sync.p99Ms.toFixed(2)} ms`,
    `ours        ${systemSettings.ours}`,
    ...(version === undefined ? [] : [`mosquitto   ${version}: ${systemSettings.mosquitto}`]),
    `load        MQTT 3.1.1, clean sessions, TCP_NODELAY, one process with ${options.threads} thread(s), ${options.pairs} pairs, ${options.warmUpSeconds} s warm-up and ${options.seconds} s measured each`,
  ];
}

/** Runs a scenario in a folder of its own; undefined when none of the chosen systems can run it. */
async function report(
  scenario: Scenario,
  options: BenchOptions,
): Promise<ReportedScenario | undefined> {
  const oursOnly = scenario.kind !== 'load' && scenario.kind !== 'idle';
  if (oursOnly && !options.systems.includes('ours')) return undefined;
  console.log(`\n${scenario.name}: ${scenario.title}`);
  const dataDir = mkdtempSync(join(options.dataDir, 'robustmq-bench-'));
  const progress = (text: string): void => console.log(`  ${text}`);
  try {
    const tools = { dataDir, systems: options.systems, progress };
    return { scenario, outcome: await outcomeOf(scenario, options, tools) };
  } catch (error) {
    progress(`FAILED: ${reasonOf(error)}`);
    return { scenario, failure: reasonOf(error) };
  } finally {
    rmSync(dataDir, { recursive: true, force: true });
  }
}

function outcomeOf(
  scenario: Scenario,
  options: BenchOptions,
  tools: ScenarioTools,
): Promise<ScenarioOutcome> {
  switch (scenario.kind) {
    case 'load':
      return runThroughput(scenario, options, tools);
    case 'idle':
      return runIdle(options, tools);
    case 'restart':
      return runRestart(options, tools);
    case 'failover':
      return runFailover(options, tools);
    case 'outage':
      return runOutage(options, tools);
    case 'many-shards':
      return runManyShards(scenario, options, tools);
    default:
      return unreachable(scenario);
  }
}

function reasonOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
