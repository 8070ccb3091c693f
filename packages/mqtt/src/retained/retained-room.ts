import type { CoordinatorContext } from '@robustmq/kernel';

import type { RetainedBudget } from './retained-fold.ts';

/** What is published before the brokers know that a coordinator is full has so much more room. */
const slack = 1.25;

/**
 * The room that the retained messages of one coordinator have. From `bytesFull` on publishers are refused;
 * what was acknowledged before they are is kept up to `bytesMax`. What is not kept is counted and logged.
 */
export class RetainedRoom implements RetainedBudget {
  bytes = 0;
  messages = 0;
  /** Messages that were not kept. */
  refusals = 0;
  readonly bytesMax: number;
  readonly #bytesFull: number;
  readonly #context: Pick<CoordinatorContext, 'index' | 'logger'>;
  #reported = 0;
  #wasFull = false;
  #lastTopic = '';

  constructor(bytesFull: number, context: Pick<CoordinatorContext, 'index' | 'logger'>) {
    this.#bytesFull = bytesFull;
    this.bytesMax = bytesFull * slack;
    this.#context = context;
  }

  /** Publishes that would set a message are to be refused. */
  get full(): boolean {
    return this.bytes >= this.#bytesFull;
  }

  refused(topic: string): void {
    this.refusals++;
    this.#lastTopic = topic;
  }

  /** Logs what has changed since the last call: called now and then. */
  report(): void {
    const { index, logger } = this.#context;
    const { full, bytes, messages } = this;
    if (full && !this.#wasFull) {
      const fields = { index, bytes, messages, bytesMax: this.#bytesFull };
      logger.warn(
        fields,
        'retained messages have no room left: publishes that set one are refused',
      );
    }
    this.#wasFull = full;
    const refused = this.refusals - this.#reported;
    if (refused === 0) return;
    this.#reported = this.refusals;
    const fields = { index, refused, topic: this.#lastTopic, bytesMax: this.bytesMax };
    logger.warn(fields, 'retained messages were not kept: no room');
  }
}

/** What the coordinators at this broker hold, all together. */
export class RetainedStats {
  readonly #rooms = new Set<RetainedRoom>();
  #refusalsOfFormer = 0;

  add(room: RetainedRoom): void {
    this.#rooms.add(room);
  }

  remove(room: RetainedRoom): void {
    if (this.#rooms.delete(room)) this.#refusalsOfFormer += room.refusals;
  }

  get messages(): number {
    return this.#sum((room) => room.messages);
  }

  get bytes(): number {
    return this.#sum((room) => room.bytes);
  }

  /** Coordinators that are full. */
  get full(): number {
    return this.#sum((room) => (room.full ? 1 : 0));
  }

  /** Messages that were not kept, since the start. */
  get refusals(): number {
    return this.#refusalsOfFormer + this.#sum((room) => room.refusals);
  }

  #sum(of: (room: RetainedRoom) => number): number {
    let sum = 0;
    for (const room of this.#rooms) sum += of(room);
    return sum;
  }
}
