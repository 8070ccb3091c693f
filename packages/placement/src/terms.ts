import { type Clock, delay, type Logger, OperatingError, toOperatingError } from '@robustmq/core';
import type { Controller } from './controller/controller.ts';
import type { Leadership, MetadataStore } from './store/metadata-store.ts';

export interface TermsOptions {
  readonly store: MetadataStore;
  readonly clock: Clock;
  readonly logger: Logger;
  /** HOST:PORT of this server as others reach it. */
  readonly address: string;
  /** Begins to decide. The leadership is the controller's, also when this rejects. */
  readonly begin: (leadership: Leadership) => Promise<Controller>;
  /** This server decides no more. */
  readonly onEnded: () => void;
}

const retryEachMs = 1_000;

/**
 * The times in which this server decides: it waits until no other does, loads the store, decides until
 * it loses the leadership, and waits again.
 */
export class Terms implements AsyncDisposable {
  readonly #options: TermsOptions;
  readonly #stopping = new AbortController();
  readonly #started = Promise.withResolvers<void>();
  #hasStarted = false;
  #controller: Controller | undefined;
  /** Address of the server that decides, as far as this one knows. */
  #leader: string | undefined;
  #failure: OperatingError | undefined;
  #running: Promise<void> = Promise.resolve();

  constructor(options: TermsOptions) {
    this.#options = options;
  }

  /**
   * Resolves when this server decides, or knows that another one does. While the store is away it is
   * waited for; what else keeps the first term from beginning is thrown.
   */
  start(): Promise<void> {
    this.#running = this.#run();
    return this.#started.promise;
  }

  /** Whoever decides here. Throws NOT_LEADER while another server does, with its address. */
  get current(): Controller {
    if (this.#controller !== undefined) return this.#controller;
    const leader = this.#leader;
    const where = leader ? `ask ${leader}` : 'nobody is known to: try again';
    throw new OperatingError(
      'NOT_LEADER',
      `placement at ${this.#options.address} does not decide now; ${where}`,
      leader ? { address: leader } : {},
    );
  }

  get leads(): boolean {
    return this.#controller !== undefined;
  }

  /** Why this server can do neither of both: decide, and say who does. */
  get failure(): OperatingError | undefined {
    return this.#controller?.ledger.failure ?? this.#failure;
  }

  /** Ends the term in order, so that the next server need not wait. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#stopping.abort(new OperatingError('UNAVAILABLE', 'placement shuts down'));
    await this.#running;
  }

  async #run(): Promise<void> {
    while (!this.#stopping.signal.aborted) {
      try {
        await this.#term();
      } catch (thrown) {
        if (this.#stopping.signal.aborted) return;
        const error = toOperatingError(thrown);
        const isAway = error.code === 'UNAVAILABLE' || error.code === 'INDETERMINATE';
        if (!isAway && !this.#hasStarted) {
          this.#started.reject(thrown);
          return;
        }
        if (error.code === 'INTERNAL') throw thrown;
        await this.#tellAndWait(error);
      }
    }
  }

  async #tellAndWait(failure: OperatingError): Promise<void> {
    const { clock, logger } = this.#options;
    const fields = { code: failure.code, error: failure.message };
    this.#failure = failure;
    logger.warn(fields, 'placement cannot lead: trying again');
    await Promise.race([delay(clock, retryEachMs), aborted(this.#stopping.signal)]);
  }

  async #term(): Promise<void> {
    const { store, address, begin, onEnded, logger } = this.#options;
    const { signal } = this.#stopping;
    const onOther = (leader: string): void => this.#standBy(leader);
    const leadership = await store.lead({ address, signal, onOther });
    await using controller = await begin(leadership);
    this.#leader = undefined;
    this.#controller = controller;
    this.#settle();
    await aborted(AbortSignal.any([leadership.lost, signal]));
    this.#controller = undefined;
    if (signal.aborted) return;
    logger.warn({ reason: String(leadership.lost.reason) }, 'placement leads no more');
    onEnded();
  }

  #standBy(leader: string): void {
    if (this.#leader !== leader) this.#options.logger.info({ leader }, 'placement stands by');
    this.#leader = leader;
    this.#settle();
  }

  #settle(): void {
    this.#failure = undefined;
    this.#hasStarted = true;
    this.#started.resolve();
  }
}

function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve();
    else signal.addEventListener('abort', () => resolve(), { once: true });
  });
}
