import { availableParallelism, tmpdir } from 'node:os';
import { parseArgs } from 'node:util';

import { type Scenario, scenarios } from './scenario.ts';
import type { SystemName } from './systems/broker-system.ts';

export interface BenchOptions {
  readonly scenarios: readonly Scenario[];
  /** Runs of each system in a scenario. */
  readonly pairs: number;
  /** Measured seconds of each run. */
  readonly seconds: number;
  readonly warmUpSeconds: number;
  /** How long idle connections are held. */
  readonly idleSeconds: number;
  readonly idleConnections: number;
  readonly restartShards: number;
  /** Rounds of each fault in the scenario outage. */
  readonly rounds: number;
  /** Threads of the load generator. */
  readonly threads: number;
  readonly systems: readonly SystemName[];
  /** Folder in which each scenario makes a data folder of its own. */
  readonly dataDir: string;
  /** File for everything that was measured. */
  readonly json: string | undefined;
}

/** Half of the cores: a load generator with more threads takes from the brokers what it measures. */
const threadsDefault = Math.max(1, Math.min(4, Math.floor(availableParallelism() / 2)));

const numbers = {
  pairs: { value: 5, help: 'runs of each system in a scenario, alternating' },
  seconds: { value: 5, help: 'measured seconds of each run' },
  'warm-up': { value: 2, help: 'seconds before them' },
  threads: { value: threadsDefault, help: 'threads of the load generator' },
  'idle-seconds': { value: 60, help: 'how long idle connections are held' },
  'idle-connections': { value: 10_000, help: 'how many of them' },
  'restart-shards': { value: 5_000, help: 'shards of the journal that is restarted or killed' },
  rounds: { value: 20, help: 'rounds of each fault in the scenario outage' },
} as const;

type NumberName = keyof typeof numbers;

/** The options of the command line; undefined when help was asked for. Throws on anything unknown. */
export function parseBenchOptions(args: readonly string[]): BenchOptions | undefined {
  const { values, positionals } = parseArgs({
    args: [...args],
    allowPositionals: true,
    options: {
      help: { type: 'boolean', short: 'h' },
      scenario: { type: 'string', multiple: true },
      only: { type: 'string' },
      'data-dir': { type: 'string' },
      json: { type: 'string' },
      ...(Object.fromEntries(
        Object.keys(numbers).map((name) => [name, { type: 'string' }] as const),
      ) as Record<NumberName, { type: 'string' }>),
    },
  });
  if (values.help || positionals[0] === undefined) return undefined;
  if (positionals.join(' ') !== 'mqtt') {
    throw new Error(`bench ${positionals.join(' ')}: there are "mqtt" and "journal"`);
  }
  const number = (name: NumberName): number => positive(name, values[name]);
  return {
    scenarios: chosenScenarios(values.scenario),
    pairs: number('pairs'),
    seconds: number('seconds'),
    warmUpSeconds: number('warm-up'),
    idleSeconds: number('idle-seconds'),
    idleConnections: number('idle-connections'),
    restartShards: number('restart-shards'),
    rounds: number('rounds'),
    threads: number('threads'),
    systems: chosenSystems(values.only),
    dataDir: values['data-dir'] ?? tmpdir(),
    json: values.json,
  };
}

export const usage = [
  'usage: pnpm bench mqtt [options]',
  '       pnpm bench journal [options], see pnpm bench journal --help',
  '',
  `  --scenario NAME[,...]  of ${scenarios.map(({ name }) => name).join(', ')}; default: all but ${scenarios
    .filter(({ isLong }) => isLong)
    .map(({ name }) => name)
    .join(', ')}`,
  '  --only NAME            ours or mosquitto',
  "  --data-dir DIR         a folder on a disk; default: the system's temporary folder",
  '  --json FILE            writes everything that was measured',
  ...Object.entries(numbers).map(
    ([name, { value, help }]) => `  ${`--${name} N`.padEnd(21)}  ${help}; default: ${value}`,
  ),
].join('\n');

function positive(name: NumberName, text: string | undefined): number {
  if (text === undefined) return numbers[name].value;
  const value = Number(text);
  if (!(value > 0)) throw new Error(`--${name} ${text}: must be a number above 0`);
  return value;
}

function chosenScenarios(lists: readonly string[] | undefined): readonly Scenario[] {
  if (lists === undefined) return scenarios.filter(({ isLong }) => isLong !== true);
  return lists
    .flatMap((list) => list.split(','))
    .map((name) => {
      const found = scenarios.find((scenario) => scenario.name === name);
      if (found !== undefined) return found;
      const known = scenarios.map((scenario) => scenario.name).join(', ');
      throw new Error(`--scenario ${name}: there are ${known}`);
    });
}

function chosenSystems(only: string | undefined): readonly SystemName[] {
  if (only === undefined) return ['ours', 'mosquitto'];
  if (only === 'ours' || only === 'mosquitto') return [only];
  throw new Error(`--only ${only}: must be ours or mosquitto`);
}
