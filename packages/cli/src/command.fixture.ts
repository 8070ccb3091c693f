import { type ChildProcess, spawn } from 'node:child_process';
import { join } from 'node:path';
import { createInterface } from 'node:readline';

export const entry = join(import.meta.dirname, '../bin/robustmq.mjs');

export interface Ended {
  readonly code: number | null;
  readonly stdout: string;
  /** Lines on standard error, without log lines. */
  readonly errors: readonly string[];
}

/** Runs `robustmq ARGS` to its end. */
export async function runCommand(args: readonly string[], node = process.execPath): Promise<Ended> {
  const child = spawn(node, [entry, ...args], { stdio: ['ignore', 'pipe', 'pipe'] });
  let stdout = '';
  let stderr = '';
  child.stdout.on('data', (chunk: Buffer) => (stdout += chunk.toString()));
  child.stderr.on('data', (chunk: Buffer) => (stderr += chunk.toString()));
  const code = await new Promise<number | null>((resolve) => child.once('close', resolve));
  const errors = stderr.split('\n').filter((line) => line !== '' && !line.startsWith('{'));
  return { code, stdout, errors };
}

/** What the user sets of Node itself. */
interface GivenToNode {
  readonly flags?: readonly string[];
  readonly environment?: Readonly<Record<string, string>>;
}

/** A role that has printed its `ready` line. Disposing kills it. */
export class RunningRole implements AsyncDisposable {
  readonly child: ChildProcess;
  /** HOST:PORT by name: grpc, mqtt, http. */
  readonly addresses: Readonly<Record<string, string>>;
  /** What it has printed on standard output. */
  readonly lines: readonly string[];
  readonly #ended: Promise<number | null>;

  private constructor(
    child: ChildProcess,
    addresses: Record<string, string>,
    lines: readonly string[],
    ended: Promise<number | null>,
  ) {
    this.child = child;
    this.addresses = addresses;
    this.lines = lines;
    this.#ended = ended;
  }

  static async start(args: readonly string[], given: GivenToNode = {}): Promise<RunningRole> {
    const child = spawn(process.execPath, [...(given.flags ?? []), entry, ...args], {
      stdio: ['ignore', 'pipe', 'ignore'],
      env: { ...process.env, ...given.environment },
    });
    const ended = new Promise<number | null>((resolve) => child.once('close', resolve));
    const lines: string[] = [];
    const ready = await new Promise<string>((resolve, reject) => {
      createInterface({ input: child.stdout }).on('line', (line) => {
        lines.push(line);
        if (line.startsWith('ready ')) resolve(line);
      });
      void ended.then((code) => reject(new Error(`${args.join(' ')} ended with ${code}`)));
    });
    const pairs = ready.split(' ').map((part) => part.split('=', 2));
    return new RunningRole(
      child,
      Object.fromEntries(pairs) as Record<string, string>,
      lines,
      ended,
    );
  }

  /** Status and body of a page of its HTTP listener. */
  async page(path: string): Promise<{ status: number; body: string }> {
    const response = await fetch(`http://${this.addresses['http']}${path}`);
    return { status: response.status, body: await response.text() };
  }

  /** Sends the signal and waits for the end; the exit code. */
  stop(signal: NodeJS.Signals = 'SIGTERM'): Promise<number | null> {
    this.child.kill(signal);
    return this.#ended;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop('SIGKILL');
  }
}
