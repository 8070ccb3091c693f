import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import type { ClusterTls } from '@robustmq/rpc';

import { Cluster } from '../../harness/cluster.ts';
import type { SeededRandom } from '../kill/seeded-random.ts';
import { type LossKind, losePower } from '../power/power-loss.ts';
import { within } from '../within.ts';
import { makeCertificates } from './cluster-certificates.ts';
import { ClusterNetwork } from './network.ts';
import { NodeDisks } from './node-disks.ts';

export interface ChaosClusterOptions {
  readonly journals: number;
  readonly brokers: number;
  /** A namespace for each role, if the machine allows it. */
  readonly network: boolean;
  /** Small disks, if the machine allows it. */
  readonly smallDisks: boolean;
  /** Mutual TLS between the tiers. */
  readonly tls: boolean;
}

const startWithinMs = 60_000;
/** Journals that may be added. */
const addedMax = 3;
const journalArgs = ['--wal-file-bytes', '4MiB', '--disk-reserve-bytes', '16MiB'];

/** A cluster of real processes whose network and disks can be harmed. */
export class ChaosCluster implements AsyncDisposable {
  readonly brokers: readonly string[];
  readonly network: ClusterNetwork | undefined;
  readonly disks: NodeDisks;
  /** Why something cannot be done here, by what it is. */
  readonly missing: Readonly<Record<'network' | 'smallDisks' | 'shim', string | undefined>>;
  readonly #journals: string[];
  readonly #spare: string[];
  /** How many journals there were at first. */
  readonly #first: number;
  #cluster: Cluster | undefined;
  #tls: ClusterTls | undefined;
  #tlsDir: string | undefined;
  /** Nobody else ends the processes when this one ends early. */
  readonly #onExit = (): void => {
    for (const role of this.#cluster?.roles ?? []) role.signal('SIGKILL');
    this.disks[Symbol.dispose]();
  };

  private constructor(
    options: ChaosClusterOptions,
    network: ClusterNetwork | undefined,
    names: { journals: string[]; spare: string[]; brokers: string[] },
  ) {
    this.network = network;
    this.#journals = names.journals;
    this.#first = names.journals.length;
    this.#spare = names.spare;
    this.brokers = names.brokers;
    const smallMissing = options.smallDisks ? NodeDisks.smallMissing() : 'this run has large disks';
    this.disks = new NodeDisks(smallMissing === undefined);
    this.missing = {
      network:
        network === undefined ? (ClusterNetwork.missing() ?? 'this run has none') : undefined,
      smallDisks: smallMissing,
      shim: this.disks.shimMissing,
    };
  }

  static async start(options: ChaosClusterOptions): Promise<ChaosCluster> {
    const named = (role: string, from: number, count: number): string[] =>
      Array.from({ length: count }, (_, at) => `${role}-${from + at}`);
    const journals = named('journal', 1, options.journals);
    const spare = named('journal', options.journals + 1, addedMax);
    const brokers = named('broker', 1, options.brokers);
    const wanted = options.network && ClusterNetwork.missing() === undefined;
    const network = wanted
      ? await ClusterNetwork.create(['placement', ...journals, ...spare, ...brokers])
      : undefined;
    const chaos = new ChaosCluster(options, network, { journals, spare, brokers });
    process.once('exit', chaos.#onExit);
    try {
      await chaos.#start(options);
      return chaos;
    } catch (error) {
      await chaos[Symbol.asyncDispose]();
      throw error;
    }
  }

  get cluster(): Cluster {
    if (this.#cluster === undefined) throw new Error('the cluster has not started');
    return this.#cluster;
  }

  /** What the test's own clients show; undefined without TLS. */
  get tls(): ClusterTls | undefined {
    return this.#tls;
  }

  /** A folder of certificates for each role, by its name. */
  get tlsDir(): string | undefined {
    return this.#tlsDir;
  }

  get journals(): readonly string[] {
    return this.#journals;
  }

  get names(): readonly string[] {
    return ['placement', ...this.#journals, ...this.brokers];
  }

  /** Journals that were added and are still there. */
  get added(): readonly string[] {
    return this.#journals.slice(this.#first);
  }

  /** A journal that was removed from the cluster: it ends for good. */
  async forget(name: string): Promise<void> {
    await this.cluster.role(name).kill();
    this.#journals.splice(this.#journals.indexOf(name), 1);
  }

  get canAddJournal(): boolean {
    return this.#spare.length > 0;
  }

  async addJournal(): Promise<string> {
    const name = this.#spare.shift();
    if (name === undefined) throw new Error('no journal can be added any more');
    await within(startWithinMs, `the start of ${name}`, this.cluster.startJournal(name));
    this.#journals.push(name);
    return name;
  }

  async kill(names: readonly string[]): Promise<void> {
    await Promise.all(names.map((name) => this.cluster.role(name).kill()));
  }

  signal(names: readonly string[], signal: NodeJS.Signals): void {
    for (const name of names) this.cluster.role(name).signal(signal);
  }

  /** Starts those that do not run; resolves when they are ready. */
  async restart(names: readonly string[]): Promise<void> {
    const ended = names.filter((name) => !this.cluster.role(name).running);
    await within(
      startWithinMs,
      `the start of ${ended.join(', ')}`,
      Promise.all(ended.map((name) => this.cluster.restart(name))),
    );
  }

  /** After they were killed: takes from their disks what was not synced. Says how much that was. */
  losePower(names: readonly string[], random: SeededRandom, kind: LossKind): string {
    let [writes, changes] = [0, 0];
    for (const name of names.filter((each) => !this.brokers.includes(each))) {
      const undone = losePower(this.disks.folders(name), random, kind);
      writes += undone.writes;
      changes += undone.names;
    }
    return `${writes} writes and ${changes} names undone`;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    process.off('exit', this.#onExit);
    await this.#cluster?.[Symbol.asyncDispose]();
    await this.network?.[Symbol.asyncDispose]();
    this.disks[Symbol.dispose]();
    if (this.#tlsDir !== undefined) rmSync(this.#tlsDir, { recursive: true, force: true });
  }

  async #start({ journals, brokers, tls }: ChaosClusterOptions): Promise<void> {
    if (tls) {
      this.#tlsDir = mkdtempSync(join(tmpdir(), 'robustmq-chaos-tls-'));
      const all = [...this.names, ...this.#spare];
      const hostOf = (name: string): string | undefined => this.network?.place(name).host;
      this.#tls = await makeCertificates(this.#tlsDir, all, hostOf);
    }
    this.#cluster = await Cluster.start({
      journals,
      brokers,
      journalArgs,
      ...(this.#tlsDir !== undefined && { tlsDir: this.#tlsDir }),
      place: (name) => {
        const there = this.network?.place(name) ?? {};
        if (name.startsWith('broker')) return there;
        const dataDir = this.disks.folders(name).root;
        return { ...there, dataDir, environment: this.disks.environment(name) };
      },
    });
  }
}
