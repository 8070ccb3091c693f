import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';

import { Cluster } from '../../harness/cluster.ts';
import { RoundRobinProxy } from '../../harness/round-robin-proxy.ts';
import { runSuiteFile, type SuiteTest } from './suite-run.ts';

/** The files of the suite that play a client, with the tests that each has at least. */
const files = [
  { name: 'MQTT 5', file: 'client_test5.py', tests: 27 },
  { name: 'MQTT 3.1.1', file: 'client_test.py', tests: 10 },
] as const;

const systems = [
  { name: 'one broker', brokers: 1 },
  { name: 'two brokers in turn', brokers: 2 },
] as const;

/** What the suite expects of a server: README of its interoperability folder. */
const access = `anonymous: allow
default: allow
rules:
  - deny: subscribe
    mqtt: test/nosubscribe
`;
const keepAliveSecondsMax = 60;

export interface SuiteResult {
  readonly system: string;
  readonly version: string;
  readonly passed: number;
  readonly failed: number;
  readonly tests: readonly SuiteTest[];
}

const results = join(import.meta.dirname, '../results/paho.json');

/**
 * `pnpm conformance paho --suite DIR`: Eclipse Paho's interoperability suite, of which DIR is a checkout,
 * against the system as real processes. Whether it has passed whole; undefined when there is no suite.
 */
export async function runPaho(args: readonly string[]): Promise<boolean | undefined> {
  const { values } = parseArgs({
    args: [...args],
    options: { suite: { type: 'string' }, 'broker-arg': { type: 'string', multiple: true } },
  });
  const why = suiteMissing(values.suite);
  if (values.suite === undefined || why !== undefined) {
    console.log(`skipped: ${why}`);
    return undefined;
  }
  const commit = git(values.suite, 'rev-parse', 'HEAD');
  const outcomes: SuiteResult[] = [];
  for (const { name, brokers } of systems) {
    outcomes.push(...(await runAgainst(values.suite, name, brokers, values['broker-arg'] ?? [])));
  }
  console.log(tableOf(outcomes));
  mkdirSync(join(results, '..'), { recursive: true });
  writeFileSync(results, `${JSON.stringify({ suite: suiteUrl, commit, outcomes }, null, 2)}\n`);
  return outcomes.every(({ failed }) => failed === 0);
}

const suiteUrl = 'https://github.com/eclipse/paho.mqtt.testing';

function suiteMissing(suite: string | undefined): string | undefined {
  const how = `git clone ${suiteUrl}, then pnpm conformance paho --suite DIR`;
  if (suite === undefined) return `the suite is not part of this repository: ${how}`;
  const absent = files.find(({ file }) => !existsSync(join(suite, 'interoperability', file)));
  if (absent !== undefined) return `${suite} has no interoperability/${absent.file}: ${how}`;
  const python = spawnSync('python3', ['--version']);
  return python.error === undefined ? undefined : 'there is no python3: apt-get install python3';
}

function git(folder: string, ...args: string[]): string {
  const { status, stdout } = spawnSync('git', ['-C', folder, ...args], { encoding: 'utf8' });
  return status === 0 ? stdout.trim() : 'unknown';
}

/** Each file has a cluster of its own: nothing that one leaves is found by the other. */
async function runAgainst(
  suite: string,
  system: string,
  brokers: number,
  brokerArgs: readonly string[],
): Promise<SuiteResult[]> {
  const outcomes: SuiteResult[] = [];
  for (const { name: version, file, tests: expected } of files) {
    using folder = temporaryFolder();
    const accessFile = join(folder.path, 'access.yaml');
    writeFileSync(accessFile, access);
    await using cluster = await Cluster.start({
      brokers,
      brokerArgs: [
        '--access-file',
        accessFile,
        '--mqtt-keep-alive-seconds-max',
        String(keepAliveSecondsMax),
        ...brokerArgs,
      ],
    });
    const targets = Array.from({ length: brokers }, (_, at) => cluster.mqtt(`broker-${at + 1}`));
    await using proxy = await RoundRobinProxy.start(targets);
    const [only] = targets;
    const port = brokers === 1 && only !== undefined ? only.port : proxy.port;
    console.log(`${version}, ${system}: ${file} runs, which takes minutes`);
    const tests = await runSuiteFile(join(suite, 'interoperability', file), port);
    for (const { test, passed, wrong } of tests) {
      if (!passed) console.log(`${version}, ${system}: ${test} failed\n${wrong}`);
    }
    const passed = tests.filter((one) => one.passed).length;
    // A file that ends early has run too few.
    const failed = Math.max(expected, tests.length) - passed;
    outcomes.push({ system, version, passed, failed, tests: tests.map(withoutPaths) });
  }
  return outcomes;
}

/** Of a failure the last line, and what it waits for if that is known; where it was run is nobody's matter. */
function withoutPaths({ test, passed, seconds, wrong }: SuiteTest): SuiteTest {
  if (passed) return { test, passed, seconds };
  return { test, passed, seconds, wrong: wrong?.trim().split('\n').at(-1) ?? '' };
}

function temporaryFolder(): Disposable & { readonly path: string } {
  const path = mkdtempSync(join(tmpdir(), 'robustmq-paho-'));
  return { path, [Symbol.dispose]: () => rmSync(path, { recursive: true, force: true }) };
}

function tableOf(outcomes: readonly SuiteResult[]): string {
  const names = [...new Set(outcomes.flatMap(({ tests }) => tests.map(({ test }) => test)))];
  const heads = outcomes.map(({ version, system }) => `${version}, ${system}`);
  const rows = names.map((name) => [
    name,
    ...outcomes.map(({ tests }) => {
      const found = tests.find(({ test }) => test === name);
      return found === undefined ? '' : found.passed ? 'passed' : 'FAILED';
    }),
  ]);
  const totals = outcomes.map(({ passed, failed }) => `${passed} of ${passed + failed}`);
  const lines = [['', ...heads], ...rows, ['', ...totals]];
  const widths = lines[0]?.map((_, at) => Math.max(...lines.map((line) => line[at]?.length ?? 0)));
  return lines
    .map((line) => line.map((cell, at) => cell.padEnd(widths?.[at] ?? 0)).join('  '))
    .join('\n');
}
