import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { createInterface } from 'node:readline';

import type { BrokerSystem } from './broker-system.ts';

const command = 'mosquitto';
const host = '127.0.0.1';

/** Debian installs it where only root looks. */
const environment = {
  ...process.env,
  PATH: [process.env['PATH'], '/usr/sbin', '/usr/local/sbin'].join(delimiter),
};

/** Version of the installed Mosquitto; undefined where there is none. */
export function mosquittoVersion(): string | undefined {
  const help = spawnSync(command, ['-h'], { env: environment, encoding: 'utf8' });
  return /mosquitto version (\S+)/.exec(help.stdout ?? '')?.[1];
}

/** Mosquitto in memory without limits on what is under way, so that it is not held back. */
export async function startMosquitto(): Promise<BrokerSystem> {
  const folder = mkdtempSync(join(tmpdir(), 'robustmq-bench-mosquitto-'));
  const port = await freePort();
  const config = join(folder, 'mosquitto.conf');
  writeFileSync(config, configuration(port));
  const child = spawn(command, ['-c', config], {
    env: environment,
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  const stop = async (): Promise<void> => {
    await end(child);
    rmSync(folder, { recursive: true, force: true });
  };
  try {
    await running(child);
  } catch (error) {
    await stop();
    throw error;
  }
  return {
    name: 'mosquitto',
    host,
    port,
    processes: { broker: child.pid ?? 0 },
    [Symbol.asyncDispose]: stop,
  };
}

function configuration(port: number): string {
  return [
    `listener ${port} ${host}`,
    'allow_anonymous true',
    'max_inflight_messages 0',
    'max_queued_messages 0',
    'set_tcp_nodelay true',
    'persistence false',
    'log_dest stderr',
    'log_type information',
    'log_type error',
    'connection_messages false',
    '',
  ].join('\n');
}

/** Resolves when it says that it runs; rejects with what it said when it ends instead. */
function running(child: ChildProcess): Promise<void> {
  return new Promise((resolve, reject) => {
    const lines: string[] = [];
    if (child.stderr === null) throw new Error('the process has no standard error');
    createInterface({ input: child.stderr }).on('line', (line) => {
      lines.push(line);
      if (/mosquitto version \S+ running/.test(line)) resolve();
    });
    child.once('error', reject);
    child.once('exit', () => reject(new Error(`mosquitto did not start:\n${lines.join('\n')}`)));
  });
}

async function end(child: ChildProcess): Promise<void> {
  if (child.pid === undefined || child.exitCode !== null || child.signalCode !== null) return;
  const exited = once(child, 'exit');
  child.kill('SIGKILL');
  await exited;
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, host);
  await once(server, 'listening');
  const address = server.address();
  server.close();
  await once(server, 'close');
  if (address === null || typeof address === 'string') throw new Error('no port is free');
  return address.port;
}
