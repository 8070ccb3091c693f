import { type CancelTimer, type Clock, toOperatingError } from '@robustmq/core';
import type { CoordinatorCalls } from '@robustmq/kernel';
import { MqttRetainedCommand, MqttRetainedRoom } from '@robustmq/rpc';

import { decodeMessage, encodeMessage } from '../session/encoded-message.ts';
import { retainedKind } from './retained-machine.ts';

export interface RoomWatchOptions {
  readonly calls: Pick<CoordinatorCalls, 'call'>;
  readonly clock: Clock;
}

/** How old an answer may be: what is published meanwhile has room of its own (`RetainedRoom`). */
const askEachMs = 1_000;

/**
 * Knows which coordinators of retained messages are full. Those that clients publish retained messages for
 * are asked once in a while, and those that are full until they are not; without such publishes
 * nobody is asked. One that does not answer is as it was.
 */
export class RoomWatch implements Disposable {
  readonly #options: RoomWatchOptions;
  /** Asked for since the last round. */
  readonly #wanted = new Set<number>();
  readonly #full = new Set<number>();
  #cancelTimer: CancelTimer | undefined;
  #isClosed = false;

  constructor(options: RoomWatchOptions) {
    this.#options = options;
  }

  /** Whether the coordinator had room when it was asked last; nobody has been asked: it has. */
  has(coordinator: number): boolean {
    this.#wanted.add(coordinator);
    this.#askLater();
    return !this.#full.has(coordinator);
  }

  [Symbol.dispose](): void {
    this.#isClosed = true;
    this.#cancelTimer?.();
  }

  #askLater(): void {
    if (this.#isClosed) return;
    this.#cancelTimer ??= this.#options.clock.setTimer(askEachMs, () => void this.#round());
  }

  async #round(): Promise<void> {
    const asked = new Set([...this.#wanted, ...this.#full]);
    this.#wanted.clear();
    await Promise.all([...asked].map((coordinator) => this.#ask(coordinator)));
    this.#cancelTimer = undefined;
    if (this.#wanted.size + this.#full.size > 0) this.#askLater();
  }

  async #ask(coordinator: number): Promise<void> {
    const command = { $case: 'room', value: {} } as const;
    const payload = encodeMessage(MqttRetainedCommand, { command });
    try {
      const answer = await this.#options.calls.call(retainedKind, coordinator, payload);
      if (decodeMessage(MqttRetainedRoom, answer).full) this.#full.add(coordinator);
      else this.#full.delete(coordinator);
    } catch (thrown) {
      toOperatingError(thrown); // The next round asks again.
    }
  }
}
