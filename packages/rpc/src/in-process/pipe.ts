import { type OperatingError, TurnTask } from '@robustmq/core';

/** Where a pipe leads, and what its sender is told. */
export interface PipeEnds<Message> {
  /** Must not throw. */
  message(message: Message): void;
  /** Nothing comes any more. */
  ended(error: OperatingError | undefined): void;
  /** The sender may go on. */
  drained(): void;
}

/** How much may wait in a pipe before its sender is told to stop. */
export interface PipeBounds {
  readonly messages: number;
  readonly bytes: number;
}

/** One direction of a stream: what is sent in one event-loop turn is delivered in a later one. */
export class Pipe<Message> {
  readonly #ends: PipeEnds<Message>;
  readonly #bounds: PipeBounds;
  readonly #turn = new TurnTask(() => this.#deliver());
  #waiting: Message[] = [];
  #bytes = 0;
  #stopped = false;
  #state: 'open' | 'ending' | 'over' | 'closed' = 'open';
  #error: OperatingError | undefined;

  constructor(bounds: PipeBounds, ends: PipeEnds<Message>) {
    this.#bounds = bounds;
    this.#ends = ends;
  }

  /** Takes the message and everything in it. False: stop until `drained`. */
  send(message: Message, bytes: number): boolean {
    if (this.#state !== 'open') return true;
    this.#waiting.push(message);
    this.#bytes += bytes;
    this.#turn.schedule();
    if (this.#waiting.length >= this.#bounds.messages || this.#bytes >= this.#bounds.bytes) {
      this.#stopped = true;
    }
    return !this.#stopped;
  }

  /** Ends the pipe behind what was sent. */
  end(error?: OperatingError): void {
    if (this.#state !== 'open') return;
    this.#state = 'ending';
    this.#error = error;
    this.#turn.schedule();
  }

  /** Ends the pipe, even one that has ended in order, and throws away what was sent. */
  break(error: OperatingError): void {
    if (this.#state === 'closed') return;
    this.#waiting = [];
    this.#state = 'ending';
    this.#error = error;
    this.#turn.schedule();
  }

  /** Nobody listens any more. */
  close(): void {
    this.#waiting = [];
    this.#state = 'closed';
  }

  #deliver(): void {
    const messages = this.#waiting;
    this.#waiting = [];
    this.#bytes = 0;
    for (const message of messages) {
      if (this.#state === 'closed') return;
      this.#ends.message(message);
    }
    if (this.#stopped && this.#state === 'open') {
      this.#stopped = false;
      this.#ends.drained();
    }
    if (this.#state !== 'ending' || this.#waiting.length > 0) return;
    this.#state = 'over';
    this.#ends.ended(this.#error);
  }
}
