import type { CancelTimer, Clock } from './clock.ts';

const slotBits = 6;
const slotsPerLevel = 1 << slotBits;
const levels = 4;
/** Deadlines further away than this many ticks wait in the last slot and are put in again from there. */
const ticksMax = slotsPerLevel ** levels - 1;

/** A timer of a {@link TimerWheel}. Setting and cancelling cost the same however many timers there are. */
export interface WheelTimer {
  /** Sets it, or moves it: it fires once, `delayMs` from now or up to one tick later, never early. */
  set(delayMs: number): void;
  /** Does nothing when it is not set. */
  cancel(): void;
  readonly isSet: boolean;
}

/**
 * Many deadlines behind one timer of the clock: a hierarchical wheel. Level 0 has a slot per tick,
 * each further level slots 64 times as wide; a slot's timers move down a level when its time begins.
 *
 * Invariant: a timer on level l lies in one of the 64 slots after the one that holds the current
 * tick on that level, so that a slot number means one stretch of time only.
 */
export class TimerWheel {
  readonly #clock: Clock;
  readonly #tickMs: number;
  readonly #originMs: number;
  /** First timer of each slot, level by level. */
  readonly #heads: (Timer | undefined)[] = Array.from({ length: levels * slotsPerLevel });
  /** Everything up to this tick has fired. */
  #tick = 0;
  #count = 0;
  /** Tick for which the clock's timer is set. */
  #armedTick = Number.POSITIVE_INFINITY;
  #disarm: CancelTimer | undefined;

  /** One for all timers, so that a timer has no closures of its own. */
  readonly #owner: TimerOwner = {
    set: (timer, delayMs) => this.#set(timer, delayMs),
    cancel: (timer) => this.#cancel(timer),
  };

  /** `tickMs`, a whole number, is how late a timer may be. */
  constructor(clock: Clock, tickMs = 10) {
    this.#clock = clock;
    this.#tickMs = tickMs;
    this.#originMs = Math.floor(clock.monotonicMs());
  }

  /** Timers that are set. */
  get size(): number {
    return this.#count;
  }

  /** A timer that is not set yet. */
  timer(fire: () => void): WheelTimer {
    return new Timer(fire, this.#owner);
  }

  /** Cancels all timers. */
  clear(): void {
    for (let slot = 0; slot < this.#heads.length; slot++) {
      for (let timer = this.#heads[slot]; timer !== undefined; timer = this.#heads[slot]) {
        this.#unlink(timer);
      }
    }
    this.#disarmClock();
  }

  #set(timer: Timer, delayMs: number): void {
    this.#unlink(timer);
    if (this.#count === 0) this.#tick = this.#nowTick();
    const dueMs = this.#clock.monotonicMs() + Math.max(0, delayMs) - this.#originMs;
    timer.dueTick = Math.ceil(dueMs / this.#tickMs);
    this.#arm(this.#link(timer));
  }

  #cancel(timer: Timer): void {
    this.#unlink(timer);
    if (this.#count === 0) this.#disarmClock();
  }

  #nowTick(): number {
    return Math.floor((this.#clock.monotonicMs() - this.#originMs) / this.#tickMs);
  }

  /** Puts the timer into its slot; returns the tick at which that slot wants attention. */
  #link(timer: Timer): number {
    const ahead = Math.min(Math.max(1, timer.dueTick - this.#tick), ticksMax);
    const tick = this.#tick + ahead;
    let level = 0;
    while (ahead >= slotWidth(level + 1)) level++;
    const stretch = Math.floor(tick / slotWidth(level));
    this.#linkInto(slotOf(level, stretch), timer);
    return stretch * slotWidth(level);
  }

  #linkInto(slot: number, timer: Timer): void {
    const head = this.#heads[slot];
    timer.slot = slot;
    timer.next = head;
    if (head !== undefined) head.previous = timer;
    this.#heads[slot] = timer;
    this.#count++;
  }

  #unlink(timer: Timer): void {
    if (timer.slot < 0) return;
    if (timer.previous === undefined) this.#heads[timer.slot] = timer.next;
    else timer.previous.next = timer.next;
    if (timer.next !== undefined) timer.next.previous = timer.previous;
    timer.slot = -1;
    timer.previous = undefined;
    timer.next = undefined;
    this.#count--;
  }

  #arm(tick: number): void {
    if (tick >= this.#armedTick) return;
    this.#disarm?.();
    this.#armedTick = tick;
    const delayMs = this.#originMs + tick * this.#tickMs - this.#clock.monotonicMs();
    this.#disarm = this.#clock.setTimer(Math.max(1, Math.ceil(delayMs)), this.#wake);
  }

  #disarmClock(): void {
    this.#disarm?.();
    this.#disarm = undefined;
    this.#armedTick = Number.POSITIVE_INFINITY;
  }

  readonly #wake = (): void => {
    this.#disarmClock();
    const now = this.#nowTick();
    for (;;) {
      const tick = this.#nextTick();
      if (tick > now) break;
      this.#tick = tick;
      this.#advanceTo(tick);
    }
    this.#tick = Math.max(this.#tick, now);
    if (this.#count > 0) this.#arm(this.#nextTick());
  };

  /** First tick after the current one at which a slot with timers begins. */
  #nextTick(): number {
    let first = Number.POSITIVE_INFINITY;
    for (let level = 0; level < levels; level++) {
      const width = slotWidth(level);
      const current = Math.floor(this.#tick / width);
      for (let stretch = current + 1; stretch <= current + slotsPerLevel; stretch++) {
        if (stretch * width >= first) break;
        if (this.#heads[slotOf(level, stretch)] !== undefined) first = stretch * width;
      }
    }
    return first;
  }

  /** Moves the timers of the slots that begin at this tick down, and fires those that are due. */
  #advanceTo(tick: number): void {
    for (let level = levels - 1; level > 0; level--) {
      if (tick % slotWidth(level) === 0) this.#moveDown(slotOf(level, tick / slotWidth(level)));
    }
    const slot = slotOf(0, tick);
    for (let timer = this.#heads[slot]; timer !== undefined; timer = this.#heads[slot]) {
      this.#unlink(timer);
      timer.fire();
    }
  }

  #moveDown(slot: number): void {
    let timer = this.#heads[slot];
    while (timer !== undefined) {
      const { next } = timer;
      this.#unlink(timer);
      // What is due goes into the slot of the current tick, which is fired next.
      if (timer.dueTick <= this.#tick) this.#linkInto(slotOf(0, this.#tick), timer);
      else this.#link(timer);
      timer = next;
    }
  }
}

interface TimerOwner {
  set(timer: Timer, delayMs: number): void;
  cancel(timer: Timer): void;
}

class Timer implements WheelTimer {
  readonly fire: () => void;
  readonly #owner: TimerOwner;
  dueTick = 0;
  /** -1: not set. */
  slot = -1;
  previous: Timer | undefined;
  next: Timer | undefined;

  constructor(fire: () => void, owner: TimerOwner) {
    this.fire = fire;
    this.#owner = owner;
  }

  get isSet(): boolean {
    return this.slot >= 0;
  }

  set(delayMs: number): void {
    this.#owner.set(this, delayMs);
  }

  cancel(): void {
    this.#owner.cancel(this);
  }
}

/** Ticks that a slot of a level covers. */
function slotWidth(level: number): number {
  return 2 ** (slotBits * level);
}

function slotOf(level: number, stretch: number): number {
  return level * slotsPerLevel + (stretch % slotsPerLevel);
}
