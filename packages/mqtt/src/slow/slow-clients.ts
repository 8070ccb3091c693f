import type { Clock } from '@robustmq/core';
import type { SlowClient } from '@robustmq/rpc';

/** Clients that are remembered. */
const rememberedMax = 1_000;
/** A client that got nothing late for so long is not slow any more. */
const rememberedMs = 300_000;

interface Late {
  readonly waitedMs: number;
  readonly topic: string;
  readonly atMs: number;
  /** On the clock that never goes back. */
  readonly notedMs: number;
}

/** Who has not been shown everything yet. */
export interface LaggingClient {
  readonly clientId: string;
  readonly lagRecords: number;
}

/** Clients that got messages late: so long after the append, while they were connected. */
export class SlowClients {
  /** What waits less is not late. */
  readonly thresholdMs: number;
  readonly #clock: Clock;
  readonly #lagging: () => Iterable<LaggingClient>;
  readonly #late = new Map<string, Late>();
  /** When all places are taken: the shortest wait among them. */
  #floorMs = 0;

  /** `thresholdMs` 0: nothing is late. */
  constructor(clock: Clock, thresholdMs: number, lagging: () => Iterable<LaggingClient>) {
    this.#clock = clock;
    this.thresholdMs = thresholdMs === 0 ? Number.POSITIVE_INFINITY : thresholdMs;
    this.#lagging = lagging;
  }

  /** A message was sent `waitedMs` after the client could have had it. */
  note(clientId: string, waitedMs: number, topic: string): void {
    if (waitedMs < this.thresholdMs) return;
    const known = this.#late.get(clientId);
    const notedMs = this.#clock.monotonicMs();
    if (known !== undefined && known.waitedMs > waitedMs) {
      this.#late.set(clientId, { ...known, notedMs });
      return;
    }
    if (known === undefined && !this.#hasPlace(waitedMs)) return;
    this.#late.set(clientId, { waitedMs, topic, atMs: this.#clock.wallMs(), notedMs });
  }

  /** How many there are now. */
  get count(): number {
    this.#forget();
    return this.#late.size;
  }

  /** The longest wait first; clients that lag and have got nothing late yet come last. */
  slowest(limit: number): SlowClient[] {
    this.#forget();
    const lags = new Map<string, number>();
    for (const { clientId, lagRecords } of this.#lagging()) lags.set(clientId, lagRecords);
    const clientIds = new Set([...this.#late.keys(), ...lags.keys()]);
    return [...clientIds]
      .map((clientId) => {
        const { waitedMs = 0, topic = '', atMs = 0 } = this.#late.get(clientId) ?? {};
        return { clientId, waitedMs, topic, atMs, lagRecords: lags.get(clientId) ?? 0 };
      })
      .toSorted((a, b) => b.waitedMs - a.waitedMs || b.lagRecords - a.lagRecords)
      .slice(0, limit);
  }

  /** When all places are taken the one who waited least makes room for who waited longer. */
  #hasPlace(waitedMs: number): boolean {
    if (this.#late.size < rememberedMax) return true;
    if (waitedMs <= this.#floorMs) return false;
    const waits = [...this.#late].toSorted(([, a], [, b]) => a.waitedMs - b.waitedMs);
    const [first, second] = waits;
    if (first !== undefined) this.#late.delete(first[0]);
    this.#floorMs = Math.min(second?.[1].waitedMs ?? 0, waitedMs);
    return true;
  }

  #forget(): void {
    const sinceMs = this.#clock.monotonicMs() - rememberedMs;
    for (const [clientId, { notedMs }] of this.#late) {
      if (notedMs < sinceMs) this.#late.delete(clientId);
    }
    if (this.#late.size < rememberedMax) this.#floorMs = 0;
  }
}
