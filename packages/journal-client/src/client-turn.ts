import { TurnTask } from '@robustmq/core';

/** Something with work to do at the end of the event-loop turn. */
export interface TurnWork {
  endOfTurn(): void;
}

/**
 * The end of an event-loop turn: first the gathered batches are closed, then what they became travels
 * with everything else of the turn, one message per stream.
 */
export class ClientTurn {
  readonly #task = new TurnTask(() => this.#run());
  #batches = new Set<TurnWork>();
  #streams = new Set<TurnWork>();

  /** Calls `work` at the end of the turn, before all streams. */
  addBatches(work: TurnWork): void {
    this.#batches.add(work);
    this.#task.schedule();
  }

  /** Calls `work` at the end of the turn, after all batches. */
  addStream(work: TurnWork): void {
    this.#streams.add(work);
    this.#task.schedule();
  }

  #run(): void {
    const batches = this.#batches;
    this.#batches = new Set();
    for (const work of batches) work.endOfTurn();
    const streams = this.#streams;
    this.#streams = new Set();
    for (const work of streams) work.endOfTurn();
  }
}
