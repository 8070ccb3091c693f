import { type ChildProcess, spawn } from 'node:child_process';
import { join } from 'node:path';
import { createInterface } from 'node:readline';

import { silentLogger } from '@robustmq/core';

import { hostOf, type Options, portOf } from '../options.ts';
import { required } from '../required.ts';
import { untilSignal } from '../service.ts';

const entry = join(import.meta.dirname, '../../bin/robustmq.mjs');
const colours = [36, 33, 35, 32, 34, 31];

/** Starts one placement, three journals and two brokers as processes, with their logs merged. */
export async function runDev(options: Options): Promise<void> {
  const dataDir = required(options, 'data-dir');
  const mqtt = required(options, 'mqtt-listen');
  const common = ['--http-listen', '127.0.0.1:0', '--log-level', required(options, 'log-level')];
  const children: ChildProcess[] = [];
  const start = async (name: string, args: readonly string[]): Promise<string> => {
    const child = spawn(process.execPath, [entry, ...args, ...common], {
      stdio: ['ignore', 'pipe', 'pipe'],
      detached: true,
    });
    children.push(child);
    return follow(child, name, colours[(children.length - 1) % colours.length] ?? 0);
  };
  try {
    const listening = ['--listen', '127.0.0.1:0', '--placement', '127.0.0.1:7400'];
    await start('placement', ['placement', '--data-dir', join(dataDir, 'placement')]);
    await Promise.all(
      [1, 2, 3].map((n) =>
        start(`journal-${n}`, [
          'journal',
          '--node-id',
          `journal-${n}`,
          '--data-dir',
          join(dataDir, `journal-${n}`),
          ...listening,
        ]),
      ),
    );
    await Promise.all(
      [1, 2].map((n) =>
        start(`broker-${n}`, [
          'broker',
          '--node-id',
          `broker-${n}`,
          '--mqtt-listen',
          `${hostOf(mqtt)}:${portOf(mqtt) && portOf(mqtt) + n - 1}`,
          ...listening,
        ]),
      ),
    );
    process.stdout.write(
      'ready dev: one placement, three journals, two brokers. Ctrl-C stops them.\n',
    );
    await untilSignal(silentLogger());
  } finally {
    await stopAll(children);
  }
}

/** Prints the child's lines with its name in front; resolves with its `ready` line. */
function follow(child: ChildProcess, name: string, colour: number): Promise<string> {
  const label = process.stdout.isTTY ? `\u001B[${colour}m${name}\u001B[0m` : name;
  return new Promise((resolve, reject) => {
    for (const stream of [child.stdout, child.stderr]) {
      if (!stream) continue;
      createInterface({ input: stream }).on('line', (line) => {
        process.stdout.write(`${label.padEnd(12)} ${readable(line)}\n`);
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
