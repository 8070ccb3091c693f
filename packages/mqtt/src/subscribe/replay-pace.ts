import { type CancelTimer, type Clock, TurnTask } from '@robustmq/core';

export interface ReplayPaceOptions {
  readonly clock: Clock;
  /** Retained messages that the broker sends for new subscriptions in a second; 0: no limit. */
  readonly perSecond: number;
  /** To one client. */
  readonly clientPerSecond: number;
}

/** Messages that a client may send before it waits again. */
const portionMax = 64;
/** Portions that are given in one turn: live records come in between. */
const turnPortions = 8;

interface Waiting {
  readonly client: ClientPace;
  readonly go: () => void;
}

/**
 * How fast retained messages are sent for new subscriptions. All clients have their portions in turn, as
 * many in a second as the rates of the broker and of each client allow, and few in one turn of the event
 * loop, so that whoever subscribes to a million names holds up neither live delivery nor other clients.
 */
export class ReplayPace implements Disposable {
  readonly #options: ReplayPaceOptions;
  readonly #portion: number;
  readonly #task = new TurnTask(() => this.#turn());
  #waiting: Waiting[] = [];
  /** When the next portion may begin. */
  #nextMs = 0;
  #cancelTimer: CancelTimer | undefined;

  constructor(options: ReplayPaceOptions) {
    this.#options = options;
    const rates = [options.perSecond, options.clientPerSecond].filter((rate) => rate > 0);
    const tenthOfSecond = Math.floor(Math.min(...rates) / 10);
    this.#portion = Math.max(1, Math.min(portionMax, tenthOfSecond));
  }

  /** For one client. */
  client(): ClientPace {
    return new ClientPace((client) => this.#wait(client));
  }

  /** Nobody who waits goes on. */
  [Symbol.dispose](): void {
    this.#cancelTimer?.();
    this.#waiting = [];
  }

  #wait(client: ClientPace): Promise<void> {
    return new Promise((resolve) => {
      this.#waiting.push({ client, go: resolve });
      this.#task.schedule();
    });
  }

  #turn(): void {
    this.#cancelTimer?.();
    this.#cancelTimer = undefined;
    const nowMs = this.#options.clock.monotonicMs();
    const { perSecond } = this.#options;
    const waiting: Waiting[] = [];
    let clientsNextMs = Number.POSITIVE_INFINITY;
    let portions = turnPortions;
    for (const each of this.#waiting) {
      const isTurn = portions > 0 && this.#nextMs <= nowMs;
      if (isTurn && each.client.nextMs <= nowMs) {
        portions--;
        this.#nextMs = this.#after(Math.max(this.#nextMs, nowMs - lateMs), perSecond);
        this.#give(each, nowMs);
      } else {
        waiting.push(each);
        clientsNextMs = Math.min(clientsNextMs, each.client.nextMs);
      }
    }
    this.#waiting = waiting;
    if (waiting.length === 0) return;
    const delayMs = Math.max(this.#nextMs, clientsNextMs) - nowMs;
    if (delayMs <= 0) this.#task.schedule();
    else this.#cancelTimer = this.#options.clock.setTimer(delayMs, () => this.#turn());
  }

  #give({ client, go }: Waiting, nowMs: number): void {
    const from = Math.max(client.nextMs, nowMs - lateMs);
    client.nextMs = this.#after(from, this.#options.clientPerSecond);
    client.left = this.#portion;
    go();
  }

  #after(fromMs: number, perSecond: number): number {
    return perSecond === 0 ? 0 : fromMs + (this.#portion * 1000) / perSecond;
  }
}

/** Timers are late: what was not sent for so long may follow at once. */
const lateMs = 20;

/** The pace of one client. */
export class ClientPace {
  /** When its next portion may begin. Owned by {@link ReplayPace}. */
  nextMs = 0;
  /** Messages that it may send now. Owned by {@link ReplayPace}. */
  left = 0;
  readonly #wait: (client: ClientPace) => Promise<void>;

  constructor(wait: (client: ClientPace) => Promise<void>) {
    this.#wait = wait;
  }

  /** Takes the place of one message. Undefined: it may be sent at once. */
  take(): Promise<void> | undefined {
    if (this.left > 0) {
      this.left--;
      return undefined;
    }
    return this.#takeLater();
  }

  async #takeLater(): Promise<void> {
    await this.#wait(this);
    this.left--;
  }
}
