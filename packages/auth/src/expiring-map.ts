import type { Clock } from '@robustmq/core';

interface Entry<Value> {
  readonly value: Value;
  readonly untilMs: number;
}

/** A map whose entries end by themselves, and whose oldest entry goes when it is full. */
export class ExpiringMap<Value> {
  readonly #clock: Clock;
  readonly #sizeMax: number;
  /** In the order in which they were set. */
  readonly #entries = new Map<string, Entry<Value>>();
  /** Entries that had to go before their time. */
  evicted = 0;

  constructor(clock: Clock, sizeMax: number) {
    this.#clock = clock;
    this.#sizeMax = sizeMax;
  }

  get size(): number {
    return this.#entries.size;
  }

  get(key: string): Value | undefined {
    const entry = this.#entries.get(key);
    if (entry === undefined) return undefined;
    if (entry.untilMs > this.#clock.monotonicMs()) return entry.value;
    this.#entries.delete(key);
    return undefined;
  }

  set(key: string, value: Value, lifeMs: number): void {
    const now = this.#clock.monotonicMs();
    this.#entries.delete(key);
    if (this.#entries.size >= this.#sizeMax) this.#makeRoom(now);
    this.#entries.set(key, { value, untilMs: now + lifeMs });
  }

  delete(key: string): void {
    this.#entries.delete(key);
  }

  clear(): void {
    this.#entries.clear();
  }

  #makeRoom(now: number): void {
    for (const [key, { untilMs }] of this.#entries) {
      this.#entries.delete(key);
      if (untilMs > now) this.evicted++;
      if (this.#entries.size < this.#sizeMax) return;
    }
  }
}
