import { type ChildProcess, spawn } from 'node:child_process';
import { join } from 'node:path';
import { createInterface } from 'node:readline';

const entry = join(import.meta.dirname, '../../packages/cli/bin/robustmq.mjs');

/** One role of the system as a process of its own. */
export class RoleProcess {
  readonly name: string;
  readonly pid: number;
  /** Addresses of the `ready` line, by name (`grpc`, `mqtt`, `http`). */
  readonly addresses: Readonly<Record<string, string>>;
  readonly #child: ChildProcess;
  readonly #log: string[];
  readonly #exited: Promise<void>;

  private constructor(
    name: string,
    child: ChildProcess,
    pid: number,
    log: string[],
    addresses: Record<string, string>,
  ) {
    this.name = name;
    this.#child = child;
    this.pid = pid;
    this.#log = log;
    this.addresses = addresses;
    this.#exited = new Promise((resolve) => {
      if (hasEnded(child)) resolve();
      else child.once('exit', () => resolve());
    });
  }

  /**
   * Starts `robustmq ARGS` and resolves once it has printed its `ready` line; rejects when it ends
   * before, by SIGKILL when `killed` is aborted. `command` stands before the program and has to become
   * it, as `ip netns exec NAME` does.
   */
  static async start(
    name: string,
    args: readonly string[],
    environment: Readonly<Record<string, string>> = {},
    { killed, command = [] }: { killed?: AbortSignal; command?: readonly string[] } = {},
  ): Promise<RoleProcess> {
    const [program = '', ...rest] = [...command, process.execPath, entry, ...args];
    const child = spawn(program, rest, {
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { ...process.env, ...environment },
    });
    killed?.addEventListener('abort', () => child.kill('SIGKILL'));
    const log: string[] = [];
    const ready = await new Promise<string>((resolve, reject) => {
      for (const stream of [child.stdout, child.stderr]) {
        createInterface({ input: stream }).on('line', (line) => {
          if (log.push(line) > 500) log.shift();
          if (line.startsWith('ready ')) resolve(line);
        });
      }
      child.once('exit', (code, signal) => {
        reject(
          new Error(`${name} ended (${signal ?? code}) before it was ready:\n${log.join('\n')}`),
        );
      });
    });
    const addresses = Object.fromEntries(
      ready
        .split(' ')
        .slice(2)
        .map((part) => part.split('=', 2)),
    ) as Record<string, string>;
    return new RoleProcess(name, child, child.pid ?? 0, log, addresses);
  }

  /** The last lines that it printed. */
  get log(): readonly string[] {
    return this.#log;
  }

  get running(): boolean {
    return !hasEnded(this.#child);
  }

  /** The address of a listener. Throws when the role has none of that name. */
  address(name: string): string {
    const address = this.addresses[name];
    if (address === undefined) throw new Error(`${this.name} has no ${name} listener`);
    return address;
  }

  signal(signal: NodeJS.Signals): void {
    if (this.running) this.#child.kill(signal);
  }

  /** Waits until it has ended; its exit code, null after a signal. */
  async exited(): Promise<number | null> {
    await this.#exited;
    return this.#child.exitCode;
  }

  /** SIGKILL, and waits until it is gone. */
  async kill(): Promise<void> {
    this.signal('SIGKILL');
    await this.#exited;
  }

  /** SIGTERM, and waits until it has drained; its exit code. */
  async stop(): Promise<number | null> {
    this.signal('SIGTERM');
    await this.#exited;
    return this.#child.exitCode;
  }
}

function hasEnded(child: ChildProcess): boolean {
  return child.exitCode !== null || child.signalCode !== null;
}
