import { execFile, spawnSync } from 'node:child_process';
import { existsSync, readdirSync } from 'node:fs';
import { promisify } from 'node:util';

import { commandMissing } from '@robustmq/testkit';

import type { Place } from '../../harness/cluster.ts';

const run = promisify(execFile);
const prefix = 'rmqchaos';

/**
 * A network namespace for each role on one bridge, so that packets between any two can be dropped. The
 * test's own process stands on the bridge and reaches all of them.
 */
export class ClusterNetwork implements AsyncDisposable {
  readonly #names: readonly string[];
  readonly #subnet: string;
  readonly #bridge = `rmqc${process.pid}`;
  /** What is dropped: `FROM>TO`. */
  readonly #cuts = new Set<string>();

  private constructor(names: readonly string[]) {
    this.#names = names;
    this.#subnet = `10.${64 + ((process.pid >> 8) & 127)}.${process.pid & 255}`;
  }

  /** Why there can be none here; undefined when there can. */
  static missing(): string | undefined {
    if (process.platform !== 'linux' || process.getuid?.() !== 0) {
      return 'only root can make network namespaces';
    }
    const works = (command: string, ...args: string[]): boolean =>
      spawnSync(command, args).status === 0;
    const absent = commandMissing('ip', 'iproute2') ?? commandMissing('iptables', 'iptables');
    if (absent !== undefined) return absent;
    if (!works('ip', 'netns', 'list')) return 'network namespaces do not work here';
    return works('iptables', '-w', '-S') ? undefined : 'iptables does not work here';
  }

  static async create(names: readonly string[]): Promise<ClusterNetwork> {
    sweep();
    const network = new ClusterNetwork(names);
    try {
      await network.#build();
      return network;
    } catch (error) {
      await network[Symbol.asyncDispose]();
      throw error;
    }
  }

  place(name: string): Required<Pick<Place, 'host' | 'command'>> {
    return { host: this.#address(name), command: ['ip', 'netns', 'exec', this.#namespace(name)] };
  }

  /** What `from` sends does not reach `to` any more. */
  async cut(from: string, to: string): Promise<void> {
    if (this.#cuts.has(`${from}>${to}`)) return;
    this.#cuts.add(`${from}>${to}`);
    await this.#rule('-A', from, to);
  }

  async heal(from: string, to: string): Promise<void> {
    if (this.#cuts.delete(`${from}>${to}`)) await this.#rule('-D', from, to);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const name of this.#names) await quietly('ip', 'netns', 'del', this.#namespace(name));
    await quietly('ip', 'link', 'del', this.#bridge);
  }

  async #build(): Promise<void> {
    const bridge = this.#bridge;
    await run('ip', ['link', 'add', bridge, 'type', 'bridge']);
    await run('ip', ['addr', 'add', `${this.#subnet}.254/24`, 'dev', bridge]);
    await run('ip', ['link', 'set', bridge, 'up']);
    for (const [at, name] of this.#names.entries()) {
      const space = this.#namespace(name);
      const outer = `rmqc${process.pid}-${at}`;
      await run('ip', ['netns', 'add', space]);
      const pair = ['type', 'veth', 'peer', 'name', 'eth0', 'netns', space];
      await run('ip', ['link', 'add', outer, ...pair]);
      await run('ip', ['link', 'set', outer, 'master', bridge, 'up']);
      await run('ip', ['-n', space, 'addr', 'add', `${this.#address(name)}/24`, 'dev', 'eth0']);
      for (const link of ['lo', 'eth0']) await run('ip', ['-n', space, 'link', 'set', link, 'up']);
    }
  }

  async #rule(change: '-A' | '-D', from: string, to: string): Promise<void> {
    const rule = ['-w', change, 'INPUT', '-s', this.#address(from), '-j', 'DROP'];
    await run('ip', ['netns', 'exec', this.#namespace(to), 'iptables', ...rule]);
  }

  #address(name: string): string {
    const at = this.#names.indexOf(name);
    if (at < 0) throw new Error(`${name} has no place in the network`);
    return `${this.#subnet}.${at + 1}`;
  }

  #namespace(name: string): string {
    return `${prefix}-${process.pid}-${name}`;
  }
}

async function quietly(command: string, ...args: string[]): Promise<void> {
  try {
    await run(command, args);
  } catch {
    // It is not there: it was never made, or is gone.
  }
}

/** Removes what runs have left that were killed. */
function sweep(): void {
  const folder = '/var/run/netns';
  const spaces = existsSync(folder) ? readdirSync(folder) : [];
  const dead = new Set<string>();
  for (const space of spaces.filter((each) => each.startsWith(`${prefix}-`))) {
    const owner = space.split('-')[1] ?? '';
    if (existsSync(`/proc/${owner}`)) continue;
    dead.add(owner);
    spawnSync('ip', ['netns', 'del', space]);
  }
  for (const owner of dead) spawnSync('ip', ['link', 'del', `rmqc${owner}`]);
}
