/** What the generator of `pnpm bench journal` is told first. */
export interface AppendPlan {
  /** HOST:PORT of placement. */
  readonly placement: string;
  readonly topic: string;
  readonly shards: number;
  readonly window: number;
  readonly recordBytes: number;
  readonly batchBytes: number;
}

/** `sample` asks for a report; `stop` ends the load, and a last report says what became of everything. */
export type AppendOrder = 'sample' | 'stop';

/** What was acknowledged since the report before. */
export interface AppendReport {
  /** Bytes of the records, without what their batches add. */
  readonly bytes: number;
  readonly batches: number;
  /** From the call to its answer, of each batch. */
  readonly latenciesMs: readonly number[];
}
