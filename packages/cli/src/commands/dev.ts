import { type ChildProcess, spawn } from 'node:child_process';
import { join } from 'node:path';
import { createInterface } from 'node:readline';

import { hostOf, portOf, silentLogger } from '@robustmq/core';

import { listenerTextFurther } from '../mqtt/listener-config.ts';
import { mqttLimitOptions } from '../mqtt/mqtt-options.ts';
import type { Options } from '../options.ts';
import { required } from '../required.ts';
import { untilSignal } from '../service.ts';

const entry = join(import.meta.dirname, '../../bin/robustmq.mjs');
/** Of the longest name, `placement`, and a little. */
const nameWidth = 10;
const colours = [36, 33, 35, 32, 34, 31];

interface DevRole {
  readonly name: string;
  readonly args: readonly string[];
}

/** Starts one placement, three journals and two brokers as processes, with their logs merged. */
export async function runDev(options: Options): Promise<void> {
  const children: ChildProcess[] = [];
  const stopping = new AbortController();
  // Before the first child: a Ctrl-C while they start has to stop them, too.
  const stopped = untilSignal(silentLogger()).then(() => stopping.abort());
  process.once('exit', () => children.forEach((child) => child.kill('SIGKILL')));
  try {
    await Promise.race([stopped, startAll(options, children, stopping.signal)]);
    await stopped;
  } finally {
    await stopAll(children);
  }
}

async function startAll(
  options: Options,
  children: ChildProcess[],
  stopping: AbortSignal,
): Promise<void> {
  const common = ['--http-listen', '127.0.0.1:0', '--log-level', required(options, 'log-level')];
  const start = ({ name, args }: DevRole): Promise<string> => {
    stopping.throwIfAborted();
    const child = spawn(process.execPath, [entry, ...args, ...common], {
      stdio: ['ignore', 'pipe', 'pipe'],
      // A terminal's Ctrl-C is for this process, which then stops them in order.
      detached: true,
    });
    children.push(child);
    return follow(child, name, colours[(children.length - 1) % colours.length] ?? 0);
  };
  const listen = required(options, 'listen');
  const placementDir = join(required(options, 'data-dir'), 'placement');
  const ready = await start({
    name: 'placement',
    args: ['placement', '--listen', listen, '--data-dir', placementDir],
  });
  const near = ['--listen', '127.0.0.1:0', '--placement', addressIn(ready, 'grpc')];
  await Promise.all(
    journals(options).map(({ name, args }) => start({ name, args: [...args, ...near] })),
  );
  const lines = await Promise.all(
    brokers(options).map(({ name, args }) => start({ name, args: [...args, ...near] })),
  );
  process.stdout.write(
    'ready dev: one placement, three journals, two brokers. Ctrl-C stops them.\n',
  );
  process.stdout.write(pasteLines(lines.map((line) => addressIn(line, 'mqtt'))));
}

function journals(options: Options): DevRole[] {
  const given = (
    [
      'wal-file-bytes',
      'disk-reserve-bytes',
      'unflushed-bytes-max',
      'scrub-period-hours',
      'scrub-bytes-per-second',
    ] as const
  ).flatMap((name) => (options[name] === undefined ? [] : [`--${name}`, String(options[name])]));
  return ['journal-1', 'journal-2', 'journal-3'].map((name) => {
    const dataDir = join(required(options, 'data-dir'), name);
    return { name, args: ['journal', '--node-id', name, '--data-dir', dataDir, ...given] };
  });
}

function brokers(options: Options): DevRole[] {
  const listeners = required(options, 'mqtt-listen');
  const names = [...mqttLimitOptions, 'mqtt-shared-strategy'] as const;
  const given = names.flatMap((name) => [`--${name}`, String(required(options, name))]);
  return ['broker-1', 'broker-2'].map((name, index) => {
    const texts = listeners.map((listener) => listenerTextFurther(listener, index));
    const listen = texts.length === 0 ? 'off' : texts.join(',');
    return { name, args: ['broker', '--node-id', name, '--mqtt-listen', listen, ...given] };
  });
}

/** HOST:PORT of a listener in a `ready` line; empty when it has none of that name. */
function addressIn(readyLine: string, name: string): string {
  const part = readyLine.split(' ').find((pair) => pair.startsWith(`${name}=`));
  return part?.slice(name.length + 1) ?? '';
}

/** A subscriber on the second broker, a publisher on the first. */
function pasteLines([first = '', second = '']: readonly string[]): string {
  if (first === '' || second === '') return '';
  const at = (address: string): string => `-h ${hostOf(address)} -p ${portOf(address)}`;
  return [
    '',
    'A subscriber on one broker, a publisher on the other:',
    `  mosquitto_sub ${at(second)} -t 'hello/#' -v`,
    `  mosquitto_pub ${at(first)} -t hello/world -q 1 -m 'it works'`,
    '',
    '',
  ].join('\n');
}

/** Prints the child's lines with its name in front; resolves with its `ready` line. */
function follow(child: ChildProcess, name: string, colour: number): Promise<string> {
  const padded = name.padEnd(nameWidth);
  const label = process.stdout.isTTY ? `\u001B[${colour}m${padded}\u001B[0m` : padded;
  return new Promise((resolve, reject) => {
    for (const stream of [child.stdout, child.stderr]) {
      if (!stream) continue;
      createInterface({ input: stream }).on('line', (line) => {
        process.stdout.write(`${label} ${readable(line)}\n`);
        if (line.startsWith('ready')) resolve(line);
      });
    }
    child.once('exit', (code, signal) => {
      process.stdout.write(`${label} ended (${signal ?? code})\n`);
      reject(new Error(`${name} did not start; its lines above say why`));
    });
  });
}

/** A JSON log line as `LEVEL message key=value`; anything else as it is. */
function readable(line: string): string {
  if (!line.startsWith('{')) return line;
  try {
    const { level, time, msg, role: _role, ...rest } = JSON.parse(line) as Record<string, unknown>;
    const fields = Object.entries(rest).map(([key, value]) => `${key}=${JSON.stringify(value)}`);
    const levels: Record<string, string> = { 20: 'debug', 30: 'info', 40: 'warn', 50: 'error' };
    return [String(time).slice(11, 23), levels[String(level)] ?? level, msg, ...fields].join(' ');
  } catch {
    return line;
  }
}

/** Brokers first, then journals, then placement: each drains towards those that still run. */
async function stopAll(children: readonly ChildProcess[]): Promise<void> {
  const tiers = [children.slice(4), children.slice(1, 4), children.slice(0, 1)];
  for (const tier of tiers) {
    await Promise.all(tier.map(stop));
  }
}

async function stop(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const exited = new Promise((resolve) => child.once('exit', resolve));
  child.kill('SIGTERM');
  await exited;
}
