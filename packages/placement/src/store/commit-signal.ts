/** Wakes whoever waits for the next commit. */
export class CommitSignal {
  #next = Promise.withResolvers<void>();

  notify(): void {
    this.#next.resolve();
    this.#next = Promise.withResolvers<void>();
  }

  /** Resolves at the next commit, or when `signal` aborts. */
  wait(signal: AbortSignal): Promise<void> {
    const next = this.#next.promise;
    return new Promise((resolve) => {
      if (signal.aborted) return resolve();
      const wake = (): void => {
        signal.removeEventListener('abort', wake);
        resolve();
      };
      signal.addEventListener('abort', wake, { once: true });
      return void next.then(wake);
    });
  }
}
