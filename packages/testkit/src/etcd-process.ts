import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { randomInt } from 'node:crypto';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';

import { commandMissing } from './debian-package.ts';

/** Undefined when Debian's etcd is here, or could be installed; else why not. */
export function etcdMissing(): string | undefined {
  return commandMissing('etcd', 'etcd-server', 'etcd-client');
}

/** A real etcd of one member, on an address of its own, with a temporary data folder. */
export class EtcdProcess implements AsyncDisposable {
  /** HOST:PORT for clients. */
  readonly endpoint: string;
  readonly #folder = mkdtempSync(join(memoryFolder(), 'robustmq-etcd-'));
  readonly #host: string;
  readonly #more: readonly string[];
  #child: ChildProcess | undefined;
  #log: string[] = [];

  private constructor(more: readonly string[]) {
    // An address that nobody else takes, so that the usual ports are free there.
    this.#host = `127.${randomInt(1, 255)}.${randomInt(0, 255)}.${randomInt(2, 255)}`;
    this.endpoint = `${this.#host}:2379`;
    this.#more = more;
  }

  /** @param more arguments of etcd. */
  static async start(more: readonly string[] = []): Promise<EtcdProcess> {
    const etcd = new EtcdProcess(more);
    await etcd.restart();
    return etcd;
  }

  /** Starts it again on what it had; resolves when it serves. */
  async restart(): Promise<void> {
    const client = `http://${this.endpoint}`;
    const peer = `http://${this.#host}:2380`;
    const options: Record<string, string> = {
      name: 'one',
      'data-dir': join(this.#folder, 'data'),
      'listen-client-urls': client,
      'advertise-client-urls': client,
      'listen-peer-urls': peer,
      'initial-advertise-peer-urls': peer,
      'initial-cluster': `one=${peer}`,
    };
    const args = Object.entries(options).map(([name, value]) => `--${name}=${value}`);
    const child = spawn('etcd', [...args, ...this.#more]);
    this.#child = child;
    this.#log = [];
    for (const stream of [child.stdout, child.stderr]) {
      stream.on('data', (text: Buffer) => this.#note(text.toString()));
    }
    while (!(await this.#isHealthy())) {
      if (hasEnded(child)) throw new Error(`etcd has ended:\n${this.#log.join('')}`);
      await pause(50);
    }
  }

  signal(signal: NodeJS.Signals): void {
    this.#child?.kill(signal);
  }

  /** SIGKILL, and waits until it is gone. */
  async kill(): Promise<void> {
    const child = this.#child;
    if (child === undefined || hasEnded(child)) return;
    const gone = new Promise((resolve) => child.once('exit', resolve));
    child.kill('SIGKILL');
    await gone;
  }

  /** What `etcdctl ARGS` prints; throws when it fails. */
  control(...args: string[]): string {
    const done = spawnSync('etcdctl', ['--endpoints', this.endpoint, ...args], {
      encoding: 'utf8',
      env: { ...process.env, ETCDCTL_API: '3' },
    });
    if (done.status !== 0) throw new Error(`etcdctl ${args.join(' ')}: ${done.stderr}`);
    return done.stdout;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.kill();
    rmSync(this.#folder, { recursive: true, force: true });
  }

  #note(text: string): void {
    if (this.#log.push(text) > 100) this.#log.shift();
  }

  async #isHealthy(): Promise<boolean> {
    try {
      const page = await fetch(`http://${this.endpoint}/health`);
      return ((await page.json()) as { health: string }).health === 'true';
    } catch {
      return false;
    }
  }
}

/** etcd syncs each write, for which a busy disk can take longer than leases last. */
function memoryFolder(): string {
  return existsSync('/dev/shm') ? '/dev/shm' : tmpdir();
}

function hasEnded(child: ChildProcess): boolean {
  return child.exitCode !== null || child.signalCode !== null;
}
