/**
 * Runs work on shards in batches, one attempt per shard at a time: whoever asks for a shard meanwhile
 * shares the outcome of the attempt that runs.
 */
export class SharedAttempts<Outcome> {
  readonly #work: (shardIds: readonly number[]) => Promise<Map<number, Outcome>>;
  readonly #running = new Map<number, Promise<Map<number, Outcome>>>();

  /** @param work does a batch; a shard that is missing in its answer has the outcome undefined. */
  constructor(work: (shardIds: readonly number[]) => Promise<Map<number, Outcome>>) {
    this.#work = work;
  }

  /** Resolves when all of them are done. Rejects when an attempt does. */
  async run(shardIds: readonly number[]): Promise<Map<number, Outcome>> {
    const mine = [...new Set(shardIds)].filter((shardId) => !this.#running.has(shardId));
    if (mine.length > 0) this.#start(mine);
    const attempts = new Set<Promise<Map<number, Outcome>>>();
    for (const shardId of shardIds) {
      const attempt = this.#running.get(shardId);
      if (attempt !== undefined) attempts.add(attempt);
    }
    const outcomes = new Map<number, Outcome>();
    for (const attempt of attempts) {
      for (const [shardId, outcome] of await attempt) outcomes.set(shardId, outcome);
    }
    return outcomes;
  }

  #start(shardIds: readonly number[]): void {
    const attempt = this.#work(shardIds).finally(() => {
      for (const shardId of shardIds) this.#running.delete(shardId);
    });
    for (const shardId of shardIds) this.#running.set(shardId, attempt);
  }
}
