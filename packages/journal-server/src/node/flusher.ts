import { TurnTask } from '@robustmq/core';

/** Something with answers to send. It schedules itself at most once before it is flushed. */
export interface Flushable {
  flush(): void;
}

/**
 * Collects streams that have something to send, so that what happens in one event-loop turn leaves in
 * one message per stream: at the end of the turn, or sooner when {@link Flusher.flush} is called.
 */
export class Flusher {
  #items: Flushable[] = [];
  #spare: Flushable[] = [];
  readonly #task = new TurnTask(() => this.flush());

  schedule(item: Flushable): void {
    this.#items.push(item);
    this.#task.schedule();
  }

  /** Those that schedule themselves meanwhile are flushed in the next turn. */
  flush(): void {
    const items = this.#items;
    this.#items = this.#spare;
    this.#spare = items;
    for (const item of items) item.flush();
    items.length = 0;
  }
}
