import { assert, unreachable } from '@robustmq/core';
import { AvailableQueue } from './available-queue.ts';
import { DeadlineQueue } from './deadline-queue.ts';
import { type OffsetRange, OffsetRanges } from './offset-ranges.ts';
import { Entry, type ShareEntry } from './share-entry.ts';

/** What a member says about a record that it has. */
export type ShareOutcome = 'accepted' | 'rejected' | 'released';

/** What of a window outlives its coordinator. */
export interface ShareWindowImage {
  /** Everything below is settled. */
  readonly start: number;
  /** What is settled at or above the start. */
  readonly settled: readonly OffsetRange[];
  /** Attempts of records that are not settled, by offset; kept only where they are limited. */
  readonly attempts: ReadonlyMap<number, number>;
  /** Holders of pinned records, by offset. */
  readonly pins: ReadonlyMap<number, string>;
}

export interface ShareWindowOptions<Payload> {
  /** A record is handed out so often at most. Default: any number of times. */
  readonly attemptsMax?: number;
  /** A payload is not needed any more. */
  readonly dropped?: (payload: Payload) => void;
}

/**
 * The records of one partition that a share group has read and not settled: who has which (DESIGN.md,
 * "States of a record"). Pure: no clock, no bytes, no protocol.
 *
 * Invariants: an entry is in the map exactly while it is not settled; offsets below the read position that
 * are not in it are settled. Entries come in ascending order, so the map's first one is the start.
 */
export class ShareWindow<Payload> {
  readonly #options: ShareWindowOptions<Payload>;
  readonly #entries = new Map<number, Entry<Payload>>();
  readonly #byHolder = new Map<string, Set<Entry<Payload>>>();
  readonly #available = new AvailableQueue<Payload>();
  /** Of acquired records: the time that they are given is the same for all. */
  readonly #deadlines = new DeadlineQueue<Payload>();
  // At or above the read position, as a restart has left it:
  #settledAhead: OffsetRanges;
  #pinsAhead: Map<number, string>;
  #attemptsAhead: Map<number, number>;
  /** Holders that had records before the restart. */
  readonly #claims = new Map<number, string>();
  #readPosition: number;
  #hasChanged = false;

  constructor(image: ShareWindowImage, options: ShareWindowOptions<Payload> = {}) {
    this.#options = options;
    this.#readPosition = image.start;
    this.#settledAhead = new OffsetRanges(image.settled);
    this.#pinsAhead = new Map(image.pins);
    this.#attemptsAhead = new Map(image.attempts);
  }

  /** First offset that is to be read. */
  get readPosition(): number {
    return this.#readPosition;
  }

  /** First offset that is not settled. */
  get start(): number {
    const [first] = this.#entries.keys();
    return first ?? this.#settledAhead.endOf(this.#readPosition);
  }

  /** Records that were read and are not settled. */
  get size(): number {
    return this.#entries.size;
  }

  /** Whether something may be handed out. */
  get hasAvailable(): boolean {
    return !this.#available.isEmpty;
  }

  /** Whether the image is another one since the last call. */
  takeChanged(): boolean {
    const hasChanged = this.#hasChanged;
    this.#hasChanged = false;
    return hasChanged;
  }

  // ---- reading

  /** Whether the record at that offset is wanted when it is read. */
  wants(offset: number): boolean {
    return offset >= this.#readPosition && !this.#settledAhead.has(offset);
  }

  /** Takes a record in, which it {@link wants}. Offsets come in ascending order. */
  read(offset: number, payload: Payload): ShareEntry<Payload> {
    assert(this.wants(offset), 'a record is read once, and not after it was settled');
    const entry = new Entry(offset, payload, this.#attemptsAhead.get(offset) ?? 0);
    this.#entries.set(offset, entry);
    const pinnedBy = this.#pinsAhead.get(offset);
    const claim = this.#claims.get(offset);
    this.#pinsAhead.delete(offset);
    this.#attemptsAhead.delete(offset);
    this.#claims.delete(offset);
    this.#readPosition = offset + 1;
    this.#hasChanged = true;
    if (pinnedBy !== undefined) this.#give(entry, 'pinned', pinnedBy);
    else if (claim === undefined) this.#available.addFresh(entry);
    else this.#giveClaimed(entry, claim);
    return entry;
  }

  /** Everything below `offset` was read; what was not taken in does not concern the group. */
  readTo(offset: number): void {
    if (offset <= this.#readPosition) return;
    this.#readPosition = offset;
    this.#hasChanged = true;
    this.#settledAhead.dropBelow(offset);
    dropBelow(this.#pinsAhead, offset);
    dropBelow(this.#attemptsAhead, offset);
    dropBelow(this.#claims, offset);
  }

  /** Forgets what was read: it is read again from the start. Nothing may be acquired. */
  rewind(): void {
    const { start, settled, attempts, pins } = this.image();
    for (const { payload } of this.#entries.values()) this.#options.dropped?.(payload);
    this.#entries.clear();
    this.#byHolder.clear();
    this.#available.clear();
    this.#deadlines.clear();
    this.#claims.clear();
    this.#readPosition = start;
    this.#settledAhead = new OffsetRanges(settled);
    this.#pinsAhead = new Map(pins);
    this.#attemptsAhead = new Map(attempts);
  }

  // ---- handing out

  /**
   * Calls with the available records, those that came back first, until `place` returns false. It gives
   * the record away by {@link acquire}, {@link pin} or {@link settle}, or leaves it as it is.
   */
  handOut(place: (entry: ShareEntry<Payload>) => boolean): void {
    this.#available.offer(place);
  }

  /** Gives an available record to a holder. Deadlines do not fall from one call to the next. */
  acquire(entry: ShareEntry<Payload>, holder: string, untilMs: number): void {
    this.#giveUntil(this.#availableOf(entry), holder, untilMs);
  }

  /** Gives an available record to a holder for good. */
  pin(entry: ShareEntry<Payload>, holder: string): void {
    const own = this.#availableOf(entry);
    own.attempts++;
    this.#give(own, 'pinned', holder);
    this.#hasChanged = true;
  }

  /** Settles an available record: it was handed out without an answer, or nobody wants it any more. */
  settle(entry: ShareEntry<Payload>): void {
    this.#settle(this.#availableOf(entry));
  }

  /** The record at that offset, unless it is settled or was not read. */
  entry(offset: number): ShareEntry<Payload> | undefined {
    return this.#entries.get(offset);
  }

  // ---- answers

  /** What a holder says about a record. False: it does not have it (any more). */
  answer(holder: string, offset: number, outcome: ShareOutcome): boolean {
    const entry = this.#entries.get(offset);
    if (entry === undefined) return this.#answerAhead(holder, offset, outcome);
    if (entry.state === 'available' || entry.holder !== holder) return false;
    switch (outcome) {
      case 'accepted':
      case 'rejected':
        this.#settle(entry);
        return true;
      case 'released':
        this.#release(entry);
        return true;
      default:
        return unreachable(outcome);
    }
  }

  /**
   * The deadlines that have passed give their records back. Where `mayRelease` says no, the record stays
   * until `againMs`, which is not before any deadline that is set.
   */
  expire(
    nowMs: number,
    againMs: number,
    mayRelease: (entry: ShareEntry<Payload>) => boolean,
  ): void {
    this.#deadlines.due(nowMs, { againMs, acquired: this.size }, (entry) => {
      if (!mayRelease(entry)) return false;
      this.#release(entry);
      return true;
    });
  }

  /** Everything that a holder has acquired is available again. Its pins stay. */
  releaseAll(holder: string): void {
    for (const entry of this.#byHolder.get(holder) ?? []) {
      if (entry.state === 'acquired') this.#release(entry);
    }
    for (const [offset, claimedBy] of this.#claims) {
      if (claimedBy === holder) this.#claims.delete(offset);
    }
  }

  /** Offsets of the records that are pinned to a holder. */
  pinsOf(holder: string): number[] {
    const pins = [...(this.#byHolder.get(holder) ?? [])].filter(({ state }) => state === 'pinned');
    const ahead = [...this.#pinsAhead].filter((pin) => pin[1] === holder);
    return [...pins.map(({ offset }) => offset), ...ahead.map(([offset]) => offset)];
  }

  /** After a restart: the holder has the record already. Its time begins at the next {@link expire}. */
  claim(holder: string, offset: number): void {
    const entry = this.#entries.get(offset);
    if (entry?.state === 'available') this.#giveClaimed(entry, holder);
    const isAhead = entry === undefined && this.wants(offset) && !this.#pinsAhead.has(offset);
    if (isAhead) this.#claims.set(offset, holder);
  }

  // ---- the image

  /** What has to outlive a restart. */
  image(): ShareWindowImage {
    const settled = new OffsetRanges();
    const attempts = new Map<number, number>();
    const pins = new Map<number, string>();
    const { start } = this;
    let next = start;
    for (const entry of this.#entries.values()) {
      settled.add(next, entry.offset);
      next = entry.offset + 1;
      if (entry.state === 'pinned') pins.set(entry.offset, entry.holder);
      const isCounted = this.#options.attemptsMax !== undefined && entry.attempts > 0;
      if (isCounted) attempts.set(entry.offset, entry.attempts);
    }
    settled.add(next, this.#readPosition);
    for (const { from, to } of this.#settledAhead) if (to > start) settled.add(from, to);
    for (const [offset, count] of this.#attemptsAhead) attempts.set(offset, count);
    for (const [offset, holder] of this.#pinsAhead) pins.set(offset, holder);
    settled.dropBelow(start);
    return { start, settled: [...settled], attempts, pins };
  }

  // ---- inside

  #answerAhead(holder: string, offset: number, outcome: ShareOutcome): boolean {
    const isPinned = this.#pinsAhead.get(offset) === holder;
    if (!isPinned && this.#claims.get(offset) !== holder) return false;
    this.#pinsAhead.delete(offset);
    this.#claims.delete(offset);
    this.#hasChanged = true;
    if (outcome !== 'released') this.#settledAhead.add(offset, offset + 1);
    return true;
  }

  #availableOf(entry: ShareEntry<Payload>): Entry<Payload> {
    const own = this.#entries.get(entry.offset);
    assert(own === entry && own.state === 'available', 'only what is available is handed out');
    return own;
  }

  #give(entry: Entry<Payload>, state: 'acquired' | 'pinned', holder: string): void {
    entry.state = state;
    entry.holder = holder;
    const held = this.#byHolder.get(holder);
    if (held === undefined) this.#byHolder.set(holder, new Set([entry]));
    else held.add(entry);
  }

  #giveUntil(entry: Entry<Payload>, holder: string, untilMs: number): void {
    this.#acquire(entry, holder);
    this.#deadlines.set(entry, untilMs);
  }

  #giveClaimed(entry: Entry<Payload>, holder: string): void {
    this.#acquire(entry, holder);
    this.#deadlines.setLater(entry);
  }

  #acquire(entry: Entry<Payload>, holder: string): void {
    entry.attempts++;
    if (this.#options.attemptsMax !== undefined) this.#hasChanged = true;
    this.#give(entry, 'acquired', holder);
  }

  #takeBack(entry: Entry<Payload>): void {
    const held = this.#byHolder.get(entry.holder);
    held?.delete(entry);
    if (held?.size === 0) this.#byHolder.delete(entry.holder);
  }

  #release(entry: Entry<Payload>): void {
    if (entry.state === 'pinned') this.#hasChanged = true;
    const { attemptsMax = Number.POSITIVE_INFINITY } = this.#options;
    if (entry.attempts >= attemptsMax) {
      this.#settle(entry);
      return;
    }
    this.#takeBack(entry);
    entry.state = 'available';
    if (this.#options.attemptsMax !== undefined) this.#hasChanged = true;
    this.#available.giveBack(entry);
  }

  #settle(entry: Entry<Payload>): void {
    if (entry.state !== 'available') this.#takeBack(entry);
    entry.state = 'settled';
    this.#entries.delete(entry.offset);
    this.#hasChanged = true;
    this.#options.dropped?.(entry.payload);
  }
}

function dropBelow(map: Map<number, unknown>, offset: number): void {
  for (const key of map.keys()) if (key < offset) map.delete(key);
}
