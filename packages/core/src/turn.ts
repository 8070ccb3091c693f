/**
 * Runs `work` once at the end of the event-loop turn in which {@link TurnTask.schedule} was called,
 * however often it was called: what arrives in one turn travels as one batch.
 */
export class TurnTask {
  #scheduled = false;
  readonly #work: () => void;

  constructor(work: () => void) {
    this.#work = work;
  }

  schedule(): void {
    if (this.#scheduled) return;
    this.#scheduled = true;
    setImmediate(this.#run);
  }

  readonly #run = (): void => {
    this.#scheduled = false;
    this.#work();
  };
}
