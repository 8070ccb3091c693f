import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { RoleProcess } from './process.ts';

/** Where a role runs; what is not given is as everywhere. */
export interface Place {
  /** Address that it listens on; 127.0.0.1 by default. */
  readonly host?: string;
  readonly dataDir?: string;
  /** What stands before the program, and becomes it. */
  readonly command?: readonly string[];
  readonly environment?: Readonly<Record<string, string>>;
}

export interface ClusterOptions {
  readonly journals?: number;
  readonly brokers?: number;
  /** Folder for the data of all roles; a new one under the system's temporary folder by default. */
  readonly dataDir?: string;
  readonly journalArgs?: readonly string[];
  readonly brokerArgs?: readonly string[];
  readonly placementArgs?: readonly string[];
  /** Several placement servers, `placement-1` and so on, on a store that `placementArgs` name; else one, `placement`. */
  readonly placements?: number;
  /** Where the role of that name runs. */
  readonly place?: (name: string) => Place;
  /** Folder with one of TLS files for each role, by its name; plaintext without. */
  readonly tlsDir?: string;
}

/** A whole cluster of real processes on 127.0.0.1, each of which can be killed and started again. */
export class Cluster implements AsyncDisposable {
  readonly dataDir: string;
  readonly #options: ClusterOptions;
  readonly #ownsData: boolean;
  readonly #roles = new Map<string, RoleProcess>();
  /** Arguments of each role once it has run, with the ports that it took. */
  readonly #args = new Map<string, readonly string[]>();

  private constructor(options: ClusterOptions) {
    this.#options = options;
    this.#ownsData = options.dataDir === undefined;
    this.dataDir = options.dataDir ?? mkdtempSync(join(tmpdir(), 'robustmq-test-'));
  }

  /** Starts placement, then journals, then brokers; resolves when all are ready. */
  static async start(options: ClusterOptions = {}): Promise<Cluster> {
    const cluster = new Cluster(options);
    try {
      for (const name of cluster.#placementNames()) await cluster.startPlacement(name);
      await Promise.all(
        names('journal', options.journals ?? 1).map((name) => cluster.startJournal(name)),
      );
      await Promise.all(
        names('broker', options.brokers ?? 1).map((name) => cluster.startBroker(name)),
      );
      return cluster;
    } catch (error) {
      await cluster[Symbol.asyncDispose]();
      throw error;
    }
  }

  startPlacement(name = 'placement'): Promise<RoleProcess> {
    return this.#start(name, [
      'placement',
      '--data-dir',
      this.#dataDir(name),
      ...this.#listen(name),
      ...(this.#options.placementArgs ?? []),
    ]);
  }

  startJournal(name: string): Promise<RoleProcess> {
    return this.#start(name, [
      'journal',
      '--node-id',
      name,
      '--data-dir',
      this.#dataDir(name),
      ...this.#listen(name),
      '--placement',
      this.placement(),
      ...(this.#options.journalArgs ?? []),
    ]);
  }

  startBroker(name: string): Promise<RoleProcess> {
    return this.#start(name, [
      'broker',
      '--node-id',
      name,
      ...this.#listen(name),
      '--mqtt-listen',
      this.#free(name),
      // In namespaces it is not on loopback.
      '--insecure-mqtt',
      '--placement',
      this.placement(),
      ...(this.#options.brokerArgs ?? []),
    ]);
  }

  /**
   * Starts a role again after it has ended, on the ports that it had. `killed` ends it by SIGKILL, also
   * before it is ready.
   */
  restart(name: string, killed?: AbortSignal): Promise<RoleProcess> {
    const args = this.#args.get(name);
    if (args === undefined) throw new Error(`${name} has never run`);
    return this.#run(name, args, killed);
  }

  /** The last process of each role that has run. */
  get roles(): Iterable<RoleProcess> {
    return this.#roles.values();
  }

  role(name: string): RoleProcess {
    const role = this.#roles.get(name);
    if (role === undefined) throw new Error(`${name} has never run`);
    return role;
  }

  /** What `--placement` gets: HOST:PORT of each placement server. */
  placement(): string {
    return this.#placementNames()
      .map((name) => this.role(name).address('grpc'))
      .join(',');
  }

  /** HOST:PORT of a broker's MQTT listener. */
  mqtt(broker = 'broker-1'): { host: string; port: number } {
    const [host = '', port] = this.role(broker).address('mqtt').split(':');
    return { host, port: Number(port) };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all([...this.#roles.values()].map((role) => role.kill()));
    if (this.#ownsData) rmSync(this.dataDir, { recursive: true, force: true });
  }

  #placementNames(): string[] {
    const { placements } = this.#options;
    return placements === undefined ? ['placement'] : names('placement', placements);
  }

  async #start(name: string, given: readonly string[]): Promise<RoleProcess> {
    const { tlsDir } = this.#options;
    const args = tlsDir === undefined ? given : [...given, '--cluster-tls-dir', join(tlsDir, name)];
    const role = await this.#run(name, [...args, '--http-listen', this.#free(name)]);
    const again = [...(this.#args.get(name) ?? args), '--http-listen', this.#free(name)];
    this.#args.set(name, withPorts(again, role));
    return role;
  }

  #place(name: string): Place {
    return this.#options.place?.(name) ?? {};
  }

  #dataDir(name: string): string {
    return this.#place(name).dataDir ?? join(this.dataDir, name);
  }

  /** Any port where the role runs. */
  #free(name: string): string {
    return `${this.#place(name).host ?? '127.0.0.1'}:0`;
  }

  #listen(name: string): string[] {
    const listen = ['--listen', this.#free(name)];
    // Off loopback the tiers want certificates or this; what is listened on is ours alone.
    const isPlain = this.#options.tlsDir === undefined && this.#place(name).host !== undefined;
    return isPlain ? [...listen, '--insecure-cluster'] : listen;
  }

  async #run(name: string, args: readonly string[], killed?: AbortSignal): Promise<RoleProcess> {
    const { environment = {}, command = [] } = this.#place(name);
    const launch = { command, ...(killed !== undefined && { killed }) };
    const role = await RoleProcess.start(name, args, environment, launch);
    this.#roles.set(name, role);
    return role;
  }
}

function names(role: string, count: number): string[] {
  return Array.from({ length: count }, (_, index) => `${role}-${index + 1}`);
}

/** The arguments with the ports that the role really took, so that a restart is found again. */
function withPorts(args: readonly string[], role: RoleProcess): string[] {
  const fixed: Readonly<Record<string, string>> = { '--listen': 'grpc', '--mqtt-listen': 'mqtt' };
  const result = [...args];
  for (const [flag, listener] of Object.entries(fixed)) {
    const at = result.indexOf(flag);
    if (at >= 0) result[at + 1] = role.address(listener);
  }
  return result;
}
