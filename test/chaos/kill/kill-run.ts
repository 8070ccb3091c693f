import { Cluster } from '../../harness/cluster.ts';
import type { Address } from '../../integration/packet-client.ts';
import { HistoryChecker, type HistoryEvent } from '../history/history-checker.ts';
import { DurablePublisher } from './durable-publisher.ts';
import { DurableSubscriber } from './durable-subscriber.ts';
import { SeededRandom } from './seeded-random.ts';

export interface KillRunOptions {
  readonly seed: number;
  /** How often processes are killed: one at a time, or several at once. */
  readonly rounds: number;
  /** One by default. */
  readonly journals?: number;
  /** `journal`, `broker` and `placement`, whichever may be killed. */
  readonly victims: readonly ('journal' | 'broker' | 'placement')[];
  readonly log?: (line: string) => void;
  /** Folder for the data; a new one by default. */
  readonly dataDir?: string;
}

export interface KillRunResult {
  /** Empty when the history is right. */
  readonly violations: readonly string[];
  readonly acknowledged: number;
  readonly duplicates: number;
  readonly kills: number;
}

const brokers = ['broker-1', 'broker-2'];
const subscribers = ['subscriber-1', 'subscriber-2'];
/** Messages between two kills, at most. */
const pauseMessagesMax = 400;
const pauseMsMax = 1_500;
/** After the last restart everything has to be delivered within this time. */
const deliveryMsMax = 60_000;

/**
 * A cluster under QoS 1 and QoS 2 load whose processes are killed at moments that the seed picks;
 * clients go to any broker. Every process is up again in the end, and the checker decides.
 */
export async function runKills(options: KillRunOptions): Promise<KillRunResult> {
  await using cluster = await Cluster.start({
    journals: options.journals ?? 1,
    brokers: brokers.length,
    ...(options.dataDir === undefined ? {} : { dataDir: options.dataDir }),
  });
  // Awaited here: the cluster ends with this function.
  return await new KillRun(cluster, options).run();
}

class KillRun {
  readonly #cluster: Cluster;
  readonly #options: KillRunOptions;
  readonly #random: SeededRandom;
  readonly #checker = new HistoryChecker(subscribers);
  readonly #journals: readonly string[];
  readonly #addresses: readonly Address[];
  readonly #publishers: readonly DurablePublisher[];
  readonly #subscribers: readonly DurableSubscriber[];
  readonly #waiting = new Set<() => void>();
  #kills = 0;

  constructor(cluster: Cluster, options: KillRunOptions) {
    this.#cluster = cluster;
    this.#options = options;
    this.#random = new SeededRandom(options.seed);
    const journals = Array.from({ length: options.journals ?? 1 }, (_, index) => index + 1);
    this.#journals = journals.map((number) => `journal-${number}`);
    this.#addresses = brokers.map((broker) => cluster.mqtt(broker));
    this.#publishers = [1, 2, 3, 4].map((number) => {
      const qos = number % 2 === 0 ? 2 : 1;
      const clientId = `publisher-${number}`;
      const topics = [`kill/shared/${qos}`, `kill/own/${number}`];
      return new DurablePublisher({ ...this.#client(clientId), qos, topics, window: 8 });
    });
    this.#subscribers = subscribers.map(
      (clientId) => new DurableSubscriber({ ...this.#client(clientId), filter: 'kill/#' }),
    );
  }

  async run(): Promise<KillRunResult> {
    for (const subscriber of this.#subscribers) subscriber.start();
    const subscribed = Promise.all(this.#subscribers.map((each) => each.subscribed));
    await this.#within('SUBACKs', subscribed);
    for (const publisher of this.#publishers) publisher.start();
    for (let round = 0; round < this.#options.rounds; round++) await this.#round(round);
    await this.#within('publishers', Promise.all(this.#publishers.map((each) => each.finish())));
    await this.#within(
      'subscribers',
      this.#until(() => this.#checker.missing === 0),
    );
    await Promise.all([...this.#publishers, ...this.#subscribers].map((client) => client.stop()));
    const { acknowledged, duplicates } = this.#checker;
    return { violations: this.#checker.verdict(), acknowledged, duplicates, kills: this.#kills };
  }

  #client(clientId: string) {
    const record = (event: HistoryEvent): void => this.#record(event);
    return { clientId, brokers: () => this.#addresses, random: this.#random.fork(), record };
  }

  #record(event: HistoryEvent): void {
    this.#checker.take(event);
    for (const look of this.#waiting) look();
  }

  /** One or several processes die, perhaps a subscriber moves, and the processes come back. */
  async #round(round: number): Promise<void> {
    const goal = this.#checker.acknowledged + 1 + this.#random.below(pauseMessagesMax);
    await this.#within(
      'progress',
      this.#until(() => this.#checker.acknowledged >= goal),
    );
    this.#perhapsMoveSubscriber();
    const victims = this.#victims();
    const pauseMs = this.#random.below(pauseMsMax);
    this.#options.log?.(
      `round ${round}: after ${this.#checker.acknowledged} messages kills ${victims.join(', ')}, back after ${pauseMs} ms`,
    );
    this.#kills += victims.length;
    await Promise.all(victims.map((name) => this.#cluster.role(name).kill()));
    await new Promise((resolve) => setTimeout(resolve, pauseMs));
    // Sessions are being taken up elsewhere, perhaps without what that needs.
    this.#perhapsMoveSubscriber();
    await Promise.all(victims.map((name) => this.#cluster.restart(name)));
  }

  #perhapsMoveSubscriber(): void {
    if (this.#random.below(2) === 0) this.#random.pick(this.#subscribers).leave();
  }

  /** Mostly one, at times several, in the end perhaps all of them. */
  #victims(): string[] {
    const names = this.#options.victims.flatMap((role) => {
      if (role === 'broker') return brokers;
      return role === 'journal' ? this.#journals : ['placement'];
    });
    const count = this.#random.below(4) === 0 ? 1 + this.#random.below(names.length) : 1;
    const victims = new Set<string>();
    while (victims.size < count) victims.add(this.#random.pick(names));
    return [...victims];
  }

  #until(holds: () => boolean): Promise<void> {
    return new Promise((resolve) => {
      const look = (): void => {
        if (!holds()) return;
        this.#waiting.delete(look);
        resolve();
      };
      this.#waiting.add(look);
      look();
    });
  }

  /** Rejects with the state of things when `awaited` does not come in time. */
  async #within(what: string, awaited: Promise<unknown>): Promise<void> {
    let timeout: NodeJS.Timeout | undefined;
    const late = new Promise<'late'>((resolve) => {
      timeout = setTimeout(resolve, deliveryMsMax, 'late');
    });
    const outcome = await Promise.race([awaited, late]);
    clearTimeout(timeout);
    if (outcome !== 'late') return;
    const outstanding = this.#publishers.map((publisher) => publisher.outstanding).join(', ');
    const lines = ['placement', ...this.#journals, ...brokers].flatMap((name) => [
      `--- ${name}`,
      ...this.#cluster.role(name).log.slice(-30),
    ]);
    throw new Error(
      [
        `${what}: not done within ${deliveryMsMax} ms although everything is up (seed ${this.#options.seed});`,
        `outstanding: ${outstanding}; missing: ${this.#checker.missing}`,
        ...this.#checker.verdict(),
        ...lines,
      ].join('\n'),
    );
  }
}
