import { randomInteger, type Random, seededRandom } from '@robustmq/core';
import { EventQueue, type SimEvent } from './event-queue.ts';
import type { SimProcess } from './sim-process.ts';
import { onLoop, settleTurn } from './turns.ts';

export interface WorldEvent extends SimEvent {
  readonly kind: string;
  /** Whose event it is: it never happens to a process that has died since. */
  readonly process: SimProcess | undefined;
  readonly life: number;
}

/** How far a world runs. */
export interface Until {
  readonly ms: number;
  readonly steps: number;
  readonly isOver?: () => boolean;
}

/** Events between two looks of the real event loop, which reports rejections that nobody handles. */
const eventsPerLoop = 64;

/**
 * Virtual time and everything that happens in it. One event at a time, each followed by all microtasks
 * and turns that it leads to: the same seed gives the same run, step by step.
 */
export class World {
  readonly random: Random;
  /** All copies of a segment were on disks that lie. */
  losesLast = false;
  /** An old copy of placement's store and the store itself have each opened a segment behind the same one. */
  isForked = false;
  /** A journal has found damage in its replica of a segment, whose id is in hex. */
  onDamage: (journal: string, segment: string) => void = () => {};
  readonly #queue = new EventQueue<WorldEvent>();
  readonly #violations: string[] = [];
  readonly #trace: ((line: string) => void) | undefined;
  #nowMs = 0;
  #order = 0;
  #steps = 0;
  #hash = 0;

  constructor(seed: number, trace?: (line: string) => void) {
    this.random = seededRandom(seed);
    this.#trace = trace;
  }

  get nowMs(): number {
    return this.#nowMs;
  }

  get steps(): number {
    return this.#steps;
  }

  /** Of everything that happened, in its order. */
  get hash(): number {
    return this.#hash >>> 0;
  }

  get violations(): readonly string[] {
    return this.#violations;
  }

  get traces(): boolean {
    return this.#trace !== undefined;
  }

  /** Something that must not be. */
  violate(what: string): void {
    if (this.#violations.length < 20) this.#violations.push(what);
    this.note(`VIOLATION ${what}`);
  }

  /** A line of the readable trace, which is also a part of the hash. */
  note(line: string): void {
    this.#mix(line);
    this.#trace?.(`${this.#nowMs.toFixed(2).padStart(10)} ${line}`);
  }

  /** A line of the readable trace only. */
  explain(line: () => string): void {
    if (this.#trace !== undefined) this.note(line());
  }

  /** Something between `fromMs` and `toMs`. */
  between(fromMs: number, toMs: number): number {
    return fromMs + this.random.next() * (toMs - fromMs);
  }

  chance(probability: number): boolean {
    return probability > 0 && this.random.next() < probability;
  }

  pick<T>(items: readonly T[]): T | undefined {
    return items[randomInteger(this.random, items.length)];
  }

  schedule(delayMs: number, kind: string, run: () => void, process?: SimProcess): WorldEvent {
    return this.scheduleAt(this.#nowMs + Math.max(0, delayMs), kind, run, process);
  }

  /** At that very moment: `now + (at - now)` may be the last bit before `at`, and out of order. */
  scheduleAt(atMs: number, kind: string, run: () => void, process?: SimProcess): WorldEvent {
    const life = process?.life ?? 0;
    const event = { atMs, order: this.#order++, kind, run, process, life, cancelled: false };
    this.#queue.push(event);
    return event;
  }

  /** Does again, now, what came while a process was stopped. */
  repeat(events: readonly WorldEvent[]): void {
    for (const event of events) {
      this.#queue.push({ ...event, atMs: this.#nowMs, order: this.#order++ });
    }
  }

  /** Lets things happen until `isOver`, or until that moment, or until that many steps. */
  async run(until: Until): Promise<void> {
    while (!(await onLoop(() => this.#runSome(until))));
  }

  /** Some events; whether there is no more to run. */
  #runSome({ ms, steps, isOver = () => false }: Until): boolean {
    for (let left = eventsPerLoop; left > 0; left--) {
      if (this.#steps >= steps || isOver()) return true;
      const event = this.#next(ms);
      if (event === undefined) return true;
      this.#happen(event);
    }
    return false;
  }

  /** The next event up to a moment that still concerns somebody; without one it is that moment. */
  #next(ms: number): WorldEvent | undefined {
    for (;;) {
      const event = this.#queue.pop();
      if (event === undefined || event.atMs > ms) {
        if (event !== undefined) this.#queue.push(event);
        this.#nowMs = Math.max(this.#nowMs, ms);
        return undefined;
      }
      if (!event.cancelled && this.#concerns(event)) return event;
    }
  }

  #happen(event: WorldEvent): void {
    this.#steps++;
    this.#nowMs = Math.max(this.#nowMs, event.atMs);
    this.#hash = (Math.imul(this.#hash, 31) + Math.floor(event.atMs * 1000)) | 0;
    try {
      event.run();
    } catch (thrown) {
      this.violate(`${event.process?.name ?? 'the world'}: ${stackOf(thrown)}`);
    }
    try {
      settleTurn();
    } catch (thrown) {
      this.violate(`nothing caught: ${stackOf(thrown)}`);
    }
  }

  #concerns(event: WorldEvent): boolean {
    const { process, life } = event;
    if (process === undefined) return true;
    if (process.life !== life || !process.isAlive) return false;
    if (!process.isPaused) return true;
    process.keep(event);
    return false;
  }

  #mix(text: string): void {
    let hash = this.#hash;
    for (let at = 0; at < text.length; at++) hash = (Math.imul(hash, 31) + text.charCodeAt(at)) | 0;
    this.#hash = hash;
  }
}

export function stackOf(thrown: unknown): string {
  return thrown instanceof Error ? (thrown.stack ?? thrown.message) : String(thrown);
}
