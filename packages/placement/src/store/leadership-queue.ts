import type { Leadership, LeadOptions } from './metadata-store.ts';

/** Gives the leadership to one holder after the other, in the order of asking: enough within a process. */
export class LeadershipQueue {
  readonly #transact: Leadership['transact'];
  #last: Promise<void> = Promise.resolve();
  /** Address of the one that led last; undefined before the first. */
  #leader: string | undefined;
  readonly #waiting = new Set<(leader: string) => void>();

  /** @param transact the store's own: what is in one process needs no guard. */
  constructor(transact: Leadership['transact']) {
    this.#transact = transact;
  }

  async lead({ address = '', signal, onOther }: LeadOptions = {}): Promise<Leadership> {
    const previous = this.#last;
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#last = previous.then(() => promise);
    const hear = (leader: string): void => onOther?.(leader);
    if (this.#leader !== undefined) hear(this.#leader);
    this.#waiting.add(hear);
    try {
      await orAborted(previous, signal);
    } catch (reason) {
      resolve();
      throw reason;
    } finally {
      this.#waiting.delete(hear);
    }
    this.#leader = address;
    for (const other of this.#waiting) other(address);
    return {
      lost: new AbortController().signal,
      transact: this.#transact,
      [Symbol.asyncDispose]: async () => resolve(),
    };
  }
}

function orAborted(promise: Promise<void>, signal: AbortSignal | undefined): Promise<void> {
  if (signal === undefined) return promise;
  const aborted = Promise.withResolvers<void>();
  const onAbort = (): void => aborted.reject(signal.reason);
  if (signal.aborted) onAbort();
  else signal.addEventListener('abort', onAbort, { once: true });
  return Promise.race([promise, aborted.promise]).finally(() =>
    signal.removeEventListener('abort', onAbort),
  );
}
