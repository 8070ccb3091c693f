import type { Leadership } from './metadata-store.ts';

/** Gives the leadership to one holder after the other, in the order of asking: enough within a process. */
export class LeadershipQueue {
  #last: Promise<void> = Promise.resolve();

  async lead(signal?: AbortSignal): Promise<Leadership> {
    const previous = this.#last;
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#last = previous.then(() => promise);
    try {
      await orAborted(previous, signal);
    } catch (reason) {
      resolve();
      throw reason;
    }
    return { lost: new AbortController().signal, [Symbol.asyncDispose]: async () => resolve() };
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
