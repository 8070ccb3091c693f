import { type ChildProcess, fork } from 'node:child_process';
import { join } from 'node:path';
import type { SeedResult } from './simulation.ts';
import { Totals } from './totals.ts';

/** Every so often a seed is run twice, and has to give the same run. */
const twiceEach = 100;
const seedsAtOnce = 10;
const progressEachMs = 10_000;

export interface CampaignOptions {
  readonly from: number;
  readonly seeds: number;
  readonly workers: number;
  readonly log: (line: string) => void;
  /** Options of the worker processes' Node.js. */
  readonly execArgv?: readonly string[];
  /** Added to their environment. */
  readonly env?: Readonly<Record<string, string>>;
  /** Ends with the first seed that fails. */
  readonly firstOnly?: boolean;
}

type FromWorker =
  | { readonly kind: 'ready' }
  | { readonly kind: 'result'; readonly result: SeedResult };

/** Runs many seeds in several processes. */
export class Campaign {
  readonly #options: CampaignOptions;
  readonly #totals = new Totals();
  readonly #hashes = new Map<number, number>();
  readonly #children = new Set<ChildProcess>();
  readonly #startedMs = performance.now();
  #next: number;
  #saidMs = 0;

  constructor(options: CampaignOptions) {
    this.#options = options;
    this.#next = options.from;
  }

  async run(): Promise<Totals> {
    const workers = Array.from({ length: this.#options.workers }, () => this.#work());
    await Promise.all(workers);
    this.#totals.tookMs = performance.now() - this.#startedMs;
    return this.#totals;
  }

  /** One worker process, until no seed is left. Rejects when it ends before. */
  #work(): Promise<void> {
    const path = join(import.meta.dirname, 'worker.ts');
    const child = fork(path, {
      execArgv: [...(this.#options.execArgv ?? [])],
      env: { ...process.env, ...this.#options.env },
    });
    this.#children.add(child);
    return new Promise((resolve, reject) => {
      child.on('message', (message: FromWorker) => {
        if (message.kind === 'result') this.#note(message.result);
        else if (!this.#give(child)) child.disconnect();
      });
      child.on('error', reject);
      child.on('exit', (code, signal) => {
        this.#children.delete(child);
        if (code === 0 || signal === 'SIGTERM') resolve();
        else reject(new Error(`a worker ended with ${code ?? signal}`));
      });
    });
  }

  #give(child: ChildProcess): boolean {
    const end = this.#options.from + this.#options.seeds;
    const seeds: number[] = [];
    while (seeds.length < seedsAtOnce && this.#next < end) {
      const seed = this.#next++;
      seeds.push(seed);
      if (seed % twiceEach === 0) seeds.push(seed);
    }
    if (seeds.length === 0) return false;
    child.send(seeds);
    return true;
  }

  #note(result: SeedResult): void {
    const { seed, hash } = result;
    const before = this.#hashes.get(seed);
    if (before === undefined) {
      if (seed % twiceEach === 0) this.#hashes.set(seed, hash);
      this.#totals.add(result);
      for (const violation of result.violations.slice(0, 1)) this.#say(seed, violation);
    } else if (before !== hash) {
      this.#totals.failed.push(seed);
      this.#say(seed, 'two runs of it differ: something reads a clock or randomness of its own');
    }
    if (this.#options.firstOnly === true && this.#totals.failed.length > 0) this.#stop();
    this.#progress();
  }

  #say(seed: number, violation: string): void {
    this.#options.log(`seed ${seed}: ${violation}\n  repeat with: pnpm simulate --seed ${seed}`);
  }

  #stop(): void {
    this.#next = Number.POSITIVE_INFINITY;
    for (const child of this.#children) child.kill('SIGTERM');
  }

  #progress(): void {
    const nowMs = performance.now();
    if (nowMs - this.#saidMs < progressEachMs || this.#options.firstOnly === true) return;
    this.#saidMs = nowMs;
    const { seeds } = this.#totals;
    if (seeds > 0) this.#options.log(`${seeds} of ${this.#options.seeds} seeds`);
  }
}
