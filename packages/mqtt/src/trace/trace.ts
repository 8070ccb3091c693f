import { type Clock, TurnTask } from '@robustmq/core';
import type { TraceLine, TraceRequest, TraceResponse } from '@robustmq/rpc';

/** Lines that wait for the operator; more are dropped and counted. */
const waitingMax = 5_000;
const linesPerMessage = 500;
const lineLengthMax = 4_096;

/** Where the lines go. False: wait for {@link Trace.drained}. */
export type TraceSink = (lines: TraceResponse) => boolean;

/** One operator's look at a client or a topic. */
export class Trace {
  readonly wanted: TraceRequest;
  readonly #sink: TraceSink;
  readonly #clock: Clock;
  readonly #task = new TurnTask(() => this.#flush());
  #lines: TraceLine[] = [];
  #dropped = 0;
  #isFull = false;

  constructor(wanted: TraceRequest, sink: TraceSink, clock: Clock) {
    this.wanted = wanted;
    this.#sink = sink;
    this.#clock = clock;
  }

  add(clientId: string, text: string): void {
    if (this.#lines.length >= waitingMax) {
      this.#dropped++;
      return;
    }
    const shown = text.length > lineLengthMax ? `${text.slice(0, lineLengthMax)}...` : text;
    this.#lines.push({ atMs: this.#clock.wallMs(), clientId, text: shown });
    if (!this.#isFull) this.#task.schedule();
  }

  drained(): void {
    this.#isFull = false;
    this.#flush();
  }

  /** What was dropped is told behind the lines that were there before. */
  #flush(): void {
    while (!this.#isFull && (this.#lines.length > 0 || this.#dropped > 0)) {
      const lines = this.#lines.splice(0, linesPerMessage);
      const dropped = lines.length === 0 ? this.#dropped : 0;
      this.#dropped -= dropped;
      this.#isFull = !this.#sink({ lines, dropped });
    }
  }
}
