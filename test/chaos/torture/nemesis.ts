import { setTimeout as delay } from 'node:timers/promises';

import type { Cluster } from '../../harness/cluster.ts';
import type { SeededRandom } from '../kill/seeded-random.ts';

/** What was done to the processes, how often. */
export interface NemesisCounts {
  kills: number;
  killsBeforeReady: number;
  stops: number;
  drains: number;
}

const downMsMax = 800;
/** Longer than a lease: the journal is declared dead now and then while it only sleeps. */
const stoppedMsMax = 5_000;
/** Longer than a start takes, so that some of these kills come after it. */
const startMsMax = 900;

/** Kills, stops and restarts journal and placement, as the seed says; leaves both running. */
export class Nemesis {
  readonly counts: NemesisCounts = { kills: 0, killsBeforeReady: 0, stops: 0, drains: 0 };
  readonly #cluster: Cluster;
  readonly #random: SeededRandom;

  constructor(cluster: Cluster, random: SeededRandom) {
    this.#cluster = cluster;
    this.#random = random;
  }

  /** One blow; resolves with what it was when everything is up again. */
  async strike(): Promise<string> {
    const victims = this.#victims();
    const what = this.#random.below(20);
    if (what < 3) return this.#stop(victims);
    if (what < 5) return this.#drain(victims);
    return this.#kill(victims, this.#random.below(3) === 0);
  }

  #victims(): string[] {
    const which = this.#random.below(10);
    if (which < 6) return ['journal-1'];
    return which < 8 ? ['placement'] : ['journal-1', 'placement'];
  }

  async #stop(victims: readonly string[]): Promise<string> {
    const ms = this.#random.below(stoppedMsMax);
    this.counts.stops += victims.length;
    for (const name of victims) this.#cluster.role(name).signal('SIGSTOP');
    await delay(ms);
    for (const name of victims) this.#cluster.role(name).signal('SIGCONT');
    return `SIGSTOP ${victims.join(', ')} for ${ms} ms`;
  }

  async #drain(victims: readonly string[]): Promise<string> {
    this.counts.drains += victims.length;
    await Promise.all(
      victims.map(async (name) => {
        const code = await this.#cluster.role(name).stop();
        if (code !== 0) throw new Error(`${name} ended with ${code} after SIGTERM`);
      }),
    );
    await Promise.all(victims.map((name) => this.#cluster.restart(name)));
    return `SIGTERM ${victims.join(', ')}`;
  }

  async #kill(victims: readonly string[], again: boolean): Promise<string> {
    const downMs = this.#random.below(downMsMax);
    this.counts.kills += victims.length;
    await Promise.all(victims.map((name) => this.#cluster.role(name).kill()));
    await delay(downMs);
    if (again) await Promise.all(victims.map((name) => this.#startAndKill(name)));
    await Promise.all(victims.map((name) => this.#cluster.restart(name)));
    return `SIGKILL ${victims.join(', ')} for ${downMs} ms${again ? ', again while it starts' : ''}`;
  }

  /** Starts a role and kills it, before or after it is ready. */
  async #startAndKill(name: string): Promise<void> {
    const killer = new AbortController();
    const started = this.#cluster.restart(name, killer.signal).then(
      (role) => role,
      () => undefined,
    );
    await delay(this.#random.below(startMsMax));
    killer.abort();
    const role = await started;
    await role?.kill();
    this.counts.kills++;
    if (role === undefined) this.counts.killsBeforeReady++;
  }
}
