import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { ShareEntry } from './share-entry.ts';
import { type ShareOutcome, ShareWindow, type ShareWindowImage } from './share-window.ts';

const empty: ShareWindowImage = { start: 0, settled: [], attempts: new Map(), pins: new Map() };
const holders = ['a', 'b'];
const timeMs = 10;

type Op =
  | { readonly op: 'read'; readonly count: number; readonly gap: number }
  | {
      readonly op: 'hand out';
      readonly holder: number;
      readonly count: number;
      readonly pins: boolean;
    }
  | {
      readonly op: 'answer';
      readonly holder: number;
      /** Which of the records. */
      readonly pick: number;
      readonly outcome: ShareOutcome;
    }
  | { readonly op: 'part' | 'end pins'; readonly holder: number }
  | { readonly op: 'time'; readonly ms: number }
  | { readonly op: 'restart' | 'rewind' }
  | { readonly op: 'claim'; readonly holder: number; readonly pick: number };

const holder = fc.nat(1);
const pick = fc.nat(1000);
const anyOp: fc.Arbitrary<Op> = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({
      op: fc.constant('read' as const),
      count: fc.integer({ min: 1, max: 6 }),
      gap: fc.nat(2),
    }),
  },
  {
    weight: 4,
    arbitrary: fc.record({
      op: fc.constant('hand out' as const),
      holder,
      count: fc.integer({ min: 1, max: 4 }),
      pins: fc.boolean(),
    }),
  },
  {
    weight: 10,
    arbitrary: fc.record({
      op: fc.constant('answer' as const),
      holder,
      pick,
      outcome: fc.constantFrom('accepted' as const, 'rejected' as const, 'released' as const),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({ op: fc.constantFrom('part' as const, 'end pins' as const), holder }),
  },
  {
    weight: 2,
    arbitrary: fc.record({ op: fc.constant('time' as const), ms: fc.integer({ min: 1, max: 12 }) }),
  },
  {
    weight: 2,
    arbitrary: fc.record({ op: fc.constantFrom('restart' as const, 'rewind' as const) }),
  },
  { weight: 3, arbitrary: fc.record({ op: fc.constant('claim' as const), holder, pick }) },
);

/** A record as the model knows it. */
interface ModelRecord {
  state: 'ahead' | 'available' | 'acquired' | 'pinned' | 'settled';
  holder: string;
  attempts: number;
  /** Attempts that the last image has. */
  deadlineMs: number;
}

/** The window and a model that keeps one plain object per offset. */
class Run {
  readonly attemptsMax: number | undefined;
  window: ShareWindow<string>;
  /** Payloads that the window keeps. */
  kept = new Set<string>();
  readonly records = new Map<number, ModelRecord>();
  /** Read positions only grow, but for restarts. */
  next = 0;
  log = 0;
  nowMs = 0;

  constructor(attemptsMax: number | undefined) {
    this.attemptsMax = attemptsMax;
    this.window = this.#open(empty);
  }

  #open(image: ShareWindowImage): ShareWindow<string> {
    this.kept = new Set();
    return new ShareWindow(image, {
      dropped: (payload) => expect(this.kept.delete(payload)).toBe(true),
      ...(this.attemptsMax !== undefined && { attemptsMax: this.attemptsMax }),
    });
  }

  run(op: Op): void {
    switch (op.op) {
      case 'read':
        for (let i = 0; i < op.count; i++) this.#read(op.gap);
        break;
      case 'hand out':
        this.#handOut(holders[op.holder] ?? '', op.count, op.pins);
        break;
      case 'answer':
        this.#answer(holders[op.holder] ?? '', this.#pick(op.pick), op.outcome);
        break;
      case 'part':
        this.window.releaseAll(`#${holders[op.holder]}`);
        for (const each of this.records.values()) {
          if (each.holder !== `#${holders[op.holder]}`) continue;
          if (each.state === 'acquired') this.#release(each);
          else if (each.state === 'ahead') each.holder = '';
        }
        break;
      case 'end pins': {
        const key = holders[op.holder] ?? '';
        for (const at of this.window.pinsOf(key))
          expect(this.window.answer(key, at, 'rejected')).toBe(true);
        for (const each of this.records.values()) {
          if (each.state === 'pinned' && each.holder === key) each.state = 'settled';
        }
        break;
      }
      case 'time':
        this.#pass(op.ms);
        break;
      case 'claim':
        this.#claim(`#${holders[op.holder]}`, this.#pick(op.pick));
        break;
      case 'restart':
        this.window = this.#open(this.window.image());
        this.#restarted();
        break;
      case 'rewind':
        for (const key of holders) this.window.releaseAll(`#${key}`);
        for (const each of this.records.values()) {
          if (each.state === 'acquired') this.#release(each);
        }
        this.window.rewind();
        expect(this.kept.size).toBe(0);
        this.#restarted();
        break;
      default:
    }
    this.check();
  }

  /** Mostly one that somebody has. */
  #pick(pick: number): number {
    const wanted = [...this.records].filter(([, { state, holder: name }]) =>
      pick % 4 === 0 ? state === 'ahead' : state !== 'settled' && name !== '',
    );
    return wanted[pick % Math.max(1, wanted.length)]?.[0] ?? pick % 20;
  }

  /** Reads the next record; `gap` records before it do not concern the group. */
  #read(gap: number): void {
    let skipped = 0;
    while (skipped < gap && this.next === this.log) {
      this.log++;
      this.next++;
      skipped++;
    }
    const at = this.next;
    this.next++;
    this.log = Math.max(this.log, this.next);
    const known = this.records.get(at);
    const isGap = known === undefined && at < this.log - 1;
    const isWanted = !isGap && known?.state !== 'settled';
    // Of a gap the window knows that it is settled, since it was passed over before.
    expect(this.window.wants(at)).toBe(isWanted);
    if (!isWanted) {
      this.window.readTo(at + 1);
      return;
    }
    this.kept.add(`${at}`);
    this.window.read(at, `${at}`);
    if (known === undefined) {
      this.records.set(at, { state: 'available', holder: '', attempts: 0, deadlineMs: 0 });
    } else if (known.state === 'ahead') {
      known.state = known.holder === '' ? 'available' : 'acquired';
      if (known.holder !== '') known.attempts++;
    }
  }

  #handOut(key: string, count: number, pins: boolean): void {
    const taken: ShareEntry<string>[] = [];
    this.window.handOut((entry) => {
      if (taken.length === count) return false;
      expect(this.records.get(entry.offset)?.state, `${entry.offset}`).toBe('available');
      if (pins) this.window.pin(entry, key);
      else this.window.acquire(entry, `#${key}`, this.nowMs + timeMs);
      taken.push(entry);
      return true;
    });
    for (const entry of taken) {
      const record = this.records.get(entry.offset);
      if (record === undefined) throw new Error('only what was read is handed out');
      record.state = pins ? 'pinned' : 'acquired';
      record.holder = pins ? key : `#${key}`;
      record.attempts++;
      record.deadlineMs = this.nowMs + timeMs;
      expect(entry.attempts).toBe(record.attempts);
    }
    const left = [...this.records.values()].filter(({ state }) => state === 'available').length;
    if (taken.length < count) expect(left).toBe(0);
  }

  #answer(key: string, at: number, outcome: ShareOutcome): void {
    const record = this.records.get(at);
    for (const name of [key, `#${key}`]) {
      const isHeld = record?.holder === name && ['acquired', 'pinned'].includes(record.state);
      const isClaimed = record?.state === 'ahead' && record.holder === name;
      expect(this.window.answer(name, at, outcome)).toBe(isHeld || isClaimed);
      if (record === undefined || !(isHeld || isClaimed)) continue;
      if (outcome !== 'released') record.state = 'settled';
      else if (isClaimed || (record.state === 'pinned' && at >= this.next)) {
        record.state = 'ahead';
        record.holder = '';
      } else this.#release(record);
      return;
    }
  }

  #pass(ms: number): void {
    this.nowMs += ms;
    const released: number[] = [];
    this.window.expire(this.nowMs, this.nowMs + timeMs, ({ offset: at }) => {
      released.push(at);
      return at % 5 !== 0;
    });
    const due = [...this.records].filter(
      ([, { state, deadlineMs }]) => state === 'acquired' && deadlineMs <= this.nowMs,
    );
    expect(released.toSorted((a, b) => a - b)).toEqual(
      due.map(([at]) => at).toSorted((a, b) => a - b),
    );
    for (const [at, record] of due) {
      if (at % 5 === 0) record.deadlineMs = this.nowMs + timeMs;
      else this.#release(record);
    }
    for (const record of this.records.values()) {
      const isUndated = record.state === 'acquired' && !Number.isFinite(record.deadlineMs);
      if (isUndated) record.deadlineMs = this.nowMs + timeMs;
    }
  }

  #claim(name: string, at: number): void {
    const record = this.records.get(at);
    // Nobody claims what was never read.
    if (record === undefined) return;
    this.window.claim(name, at);
    if (record.state === 'ahead') {
      record.holder = name;
      record.deadlineMs = Number.POSITIVE_INFINITY;
    } else if (record.state === 'available') {
      record.state = 'acquired';
      record.holder = name;
      record.attempts++;
      record.deadlineMs = Number.POSITIVE_INFINITY;
    }
  }

  #release(record: ModelRecord): void {
    if (record.attempts >= (this.attemptsMax ?? Number.POSITIVE_INFINITY)) record.state = 'settled';
    else record.state = 'available';
  }

  /** What was merely handed out is forgotten; what is settled or pinned is not. */
  #restarted(): void {
    this.next = this.window.readPosition;
    for (const record of this.records.values()) {
      if (this.attemptsMax === undefined) record.attempts = 0;
      if (record.state === 'settled' || record.state === 'pinned') continue;
      record.state = 'ahead';
      record.holder = '';
    }
  }

  check(): void {
    const unsettled = [...this.records].filter(([, { state }]) => state !== 'settled');
    const first = Math.min(...unsettled.map(([at]) => at), this.log);
    expect(this.window.start).toBeLessThanOrEqual(first);
    const { start, settled, pins, attempts } = this.window.image();
    const isSettled = (at: number): boolean =>
      at < start || settled.some(({ from, to }) => from <= at && at < to);
    for (const [at, record] of this.records) {
      expect(isSettled(at), `${at} is ${record.state}`).toBe(record.state === 'settled');
      expect(pins.get(at)).toBe(record.state === 'pinned' ? record.holder : undefined);
      if (this.attemptsMax === undefined || record.state === 'settled') continue;
      expect(attempts.get(at) ?? 0, `attempts of ${at}`).toBe(record.attempts);
    }
    const read = unsettled.filter(([at]) => at < this.next);
    expect(this.window.size).toBe(read.length);
    expect(this.kept).toEqual(new Set(read.map(([at]) => `${at}`)));
  }
}

describe('ShareWindow', () => {
  it.each([undefined, 3])('does what a plain model does, attempts: %s', (attemptsMax) => {
    fc.assert(
      fc.property(fc.array(anyOp, { minLength: 20, maxLength: 120 }), (ops) => {
        const run = new Run(attemptsMax);
        for (const op of ops) run.run(op);
      }),
      { numRuns: 300 },
    );
  });

  it('gives what came back first, what is fresh in order, and what is left as it is again', () => {
    const window = new ShareWindow<string>(empty);
    for (let at = 0; at < 4; at++) window.read(at, `${at}`);
    const order: number[] = [];
    window.handOut((entry) => {
      if (order.length === 3) return false;
      window.acquire(entry, 'a', 10);
      order.push(entry.offset);
      return true;
    });
    window.answer('a', 1, 'released');
    const offered: number[] = [];
    const look = (entry: ShareEntry<string>): boolean => offered.push(entry.offset) > 0;
    window.handOut(look);
    window.handOut(look);
    expect([order, offered]).toEqual([
      [0, 1, 2],
      [1, 3, 1, 3],
    ]);
  });
});
