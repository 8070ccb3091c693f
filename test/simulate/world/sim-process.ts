import { type CancelTimer, type Clock, type Random, seededRandom } from '@robustmq/core';
import type { World, WorldEvent } from './world.ts';

const startedAtMs = 1_700_000_000_000;

/** One process on a machine of its own: it may be killed, stopped, and started again. */
export class SimProcess {
  readonly name: string;
  readonly world: World;
  /** Grows with each start: what belongs to an earlier life never happens. */
  life = 0;
  /** How far its wall clock is off, in ms. */
  skewMs = 0;
  #isAlive = false;
  #isPaused = false;
  #kept: WorldEvent[] = [];

  constructor(name: string, world: World) {
    this.name = name;
    this.world = world;
  }

  get isAlive(): boolean {
    return this.#isAlive;
  }

  get isPaused(): boolean {
    return this.#isPaused;
  }

  begin(): void {
    this.life++;
    this.#isAlive = true;
    this.world.note(`${this.name} starts`);
  }

  /** Dies. Nothing of this life happens any more. */
  die(how: string): void {
    this.#isAlive = false;
    this.#isPaused = false;
    this.#kept = [];
    this.world.note(`${this.name} ${how}`);
  }

  /** SIGSTOP. */
  pause(): void {
    this.#isPaused = true;
    this.world.note(`${this.name} is stopped`);
  }

  /** SIGCONT: what came meanwhile comes now. */
  resume(): void {
    if (!this.#isPaused) return;
    this.#isPaused = false;
    this.world.note(`${this.name} goes on`);
    this.world.repeat(this.#kept.splice(0));
  }

  keep(event: WorldEvent): void {
    this.#kept.push(event);
  }

  schedule(delayMs: number, kind: string, run: () => void): WorldEvent {
    return this.world.schedule(delayMs, kind, run, this);
  }

  /** Randomness of one life. */
  newRandom(): Random {
    return seededRandom(Math.floor(this.world.random.next() * 2 ** 32));
  }

  /** The clock of one life: what it was asked for after that never comes. */
  get clock(): Clock {
    const { life, world } = this;
    return {
      wallMs: () => Math.floor(startedAtMs + world.nowMs + this.skewMs),
      monotonicMs: () => world.nowMs,
      setTimer: (delayMs: number, fire: () => void): CancelTimer => {
        if (this.life !== life) return () => {};
        const event = this.schedule(delayMs, 'timer', fire);
        return () => {
          event.cancelled = true;
        };
      },
    };
  }
}
