import { OperatingError } from '@robustmq/core';
import { AbortedIndex } from './aborted-index.ts';
import type { BatchFacts } from './batch-facts.ts';
import { OpenTransactions } from './open-transactions.ts';
import {
  findInWindow,
  newProducerEntry,
  type ProducerEntry,
  remember,
  type RememberedBatch,
} from './producer-entry.ts';
import { sequenceAfter, sequenceDistance } from './sequence.ts';

/** Bounds of the producer state. Times are of the monotonic clock. */
export interface ProducerLimits {
  readonly entriesPerShardMax: number;
  /** An entry is forgotten after so long without a batch. */
  readonly idleExpiryMs: number;
  /** An entry is never forgotten sooner, however many there are. */
  readonly protectedMs: number;
}

/** Entries of all shards of a node together. One per node; every {@link ProducerState} counts in it. */
export interface ProducerBudget {
  used: number;
  readonly max: number;
}

/** What is to be done with a batch, as far as its producer is concerned. */
export type Judgement =
  | { readonly kind: 'append' }
  /** It is in the log already, perhaps not yet committed. */
  | { readonly kind: 'duplicate'; readonly batch: RememberedBatch }
  /**
   * Batches before it have not arrived. Without an entry (`isKnown` false) it may also be that the
   * entry has expired.
   */
  | { readonly kind: 'early'; readonly isKnown: boolean }
  | { readonly kind: 'refuse'; readonly error: OperatingError };

const APPEND: Judgement = { kind: 'append' };
const EARLY: Judgement = { kind: 'early', isKnown: true };
const EARLY_UNKNOWN: Judgement = { kind: 'early', isKnown: false };

/** A search for idle entries in a full shard is made at most so often. */
const evictionEachMs = 1_000;

/**
 * The producers of a shard: a pure fold over the frames of its log ({@link ProducerState.fold}), so
 * that every replica and the leader of the next segment come to the same state (docs/journal.md,
 * section 2.9). A snapshot frame replaces the state.
 *
 * Expiry is not part of the fold: clocks may jump, and a batch that is retried across a jump must
 * still be known. The leader forgets by its monotonic clock ({@link ProducerState.forgetIdle}), and
 * the log learns of it with the leader's next snapshot. Who folds knows at most more than the leader,
 * which can only recognise more duplicates.
 */
export class ProducerState {
  /** Highest writer epoch in the log; lower ones are refused. */
  writerEpoch = 0;
  transactions = new OpenTransactions();
  /** Aborted transactions since this state was made or {@link startSegment} called. */
  aborted = new AbortedIndex();
  readonly #entries = new Map<number, ProducerEntry>();
  readonly #limits: ProducerLimits;
  readonly #budget: ProducerBudget;
  #forgotten = 0;
  #nextEvictionMs = 0;

  constructor(limits: ProducerLimits, budget: ProducerBudget) {
    this.#limits = limits;
    this.#budget = budget;
  }

  get size(): number {
    return this.#entries.size;
  }

  /** Nothing that the next segment would have to know. */
  get isEmpty(): boolean {
    return this.#entries.size === 0 && this.writerEpoch === 0;
  }

  /** Entries that the leader has forgotten since the last snapshot. */
  get forgotten(): number {
    return this.#forgotten;
  }

  entries(): IterableIterator<ProducerEntry> {
    return this.#entries.values();
  }

  entry(producerId: number): ProducerEntry | undefined {
    return this.#entries.get(producerId);
  }

  /** Says what is to be done with a batch. Changes nothing, but may forget idle entries to make room. */
  judge(facts: BatchFacts, nowMs: number): Judgement {
    if (facts.writerEpoch < this.writerEpoch) return refuse(writerFenced(facts, this.writerEpoch));
    if (facts.producerId < 0) return APPEND;
    const entry = this.#entries.get(facts.producerId);
    if (entry === undefined) return this.#judgeUnknown(facts, nowMs);
    if (facts.producerEpoch < entry.epoch) return refuse(producerFenced(facts, entry));
    if (facts.isControl) return judgeMarker(facts, entry);
    return judgeSequence(facts, entry);
  }

  /**
   * Kafka (2.5 on) takes any first sequence of a producer that it does not know, because the entry may
   * have expired. Here sequence 0 is waited for first: it may be under way through another broker.
   */
  #judgeUnknown(facts: BatchFacts, nowMs: number): Judgement {
    if (!this.#hasRoom(nowMs)) return refuse(tooManyProducers(facts, this.#limits));
    return facts.isControl || facts.baseSequence === 0 ? APPEND : EARLY_UNKNOWN;
  }

  #hasRoom(nowMs: number): boolean {
    const { entriesPerShardMax, protectedMs } = this.#limits;
    if (this.size < entriesPerShardMax && this.#budget.used < this.#budget.max) return true;
    if (nowMs < this.#nextEvictionMs) return false;
    this.#nextEvictionMs = nowMs + evictionEachMs;
    return this.#forgetOlderThan(nowMs - protectedMs) > 0;
  }

  /** Takes a batch of the log into account; `nowMs` is the monotonic time, for the expiry only. */
  fold(facts: BatchFacts, baseOffset: number, appendTimeMs: number, nowMs: number): void {
    if (facts.writerEpoch > this.writerEpoch) this.writerEpoch = facts.writerEpoch;
    if (facts.producerId < 0) return;
    const entry = this.#entryFor(facts, nowMs);
    entry.lastAppendMs = appendTimeMs;
    entry.lastSeenMs = nowMs;
    if (facts.isControl) {
      this.#foldMarker(facts, entry, baseOffset);
      return;
    }
    if (entry.window.length === 0) entry.isComplete = facts.baseSequence === 0;
    const { baseSequence, records } = facts;
    remember(entry, { baseSequence, records, baseOffset, appendTimeMs });
    if (!facts.isTransactional || entry.transactionOffset !== undefined) return;
    entry.transactionOffset = baseOffset;
    this.transactions.begin(entry.producerId, baseOffset);
  }

  #entryFor(facts: BatchFacts, nowMs: number): ProducerEntry {
    const { producerId, producerEpoch } = facts;
    let entry = this.#entries.get(producerId);
    if (entry === undefined) {
      entry = newProducerEntry(producerId, producerEpoch, nowMs);
      this.add(entry);
    } else if (producerEpoch > entry.epoch) {
      entry.epoch = producerEpoch;
      entry.window = [];
      entry.isComplete = false;
    }
    return entry;
  }

  #foldMarker(facts: BatchFacts, entry: ProducerEntry, markerOffset: number): void {
    if (facts.control === 'none') return;
    const { producerId, transactionOffset } = entry;
    if (facts.control === 'abort' && transactionOffset !== undefined) {
      this.aborted.add({ producerId, firstOffset: transactionOffset, markerOffset });
    }
    this.transactions.end(producerId, markerOffset);
    entry.transactionOffset = undefined;
    entry.coordinatorEpoch = Math.max(entry.coordinatorEpoch, facts.coordinatorEpoch);
  }

  /** Adds an entry that was decoded from a snapshot, in the order of the open transactions' offsets. */
  add(entry: ProducerEntry): void {
    if (!this.#entries.has(entry.producerId)) this.#budget.used++;
    this.#entries.set(entry.producerId, entry);
    if (entry.transactionOffset !== undefined) {
      this.transactions.begin(entry.producerId, entry.transactionOffset);
    }
  }

  /** Forgets all, before a snapshot is decoded into it. The aborted index stays. */
  clear(): void {
    this.#budget.used -= this.#entries.size;
    this.#entries.clear();
    this.transactions = new OpenTransactions();
    this.writerEpoch = 0;
  }

  /** A new segment begins: its aborted transactions are indexed apart from the last one's. */
  startSegment(): void {
    this.aborted = new AbortedIndex();
  }

  /** The log holds a snapshot of this state now. */
  snapshotWritten(): void {
    this.#forgotten = 0;
  }

  /** Forgets what has been idle for too long. A producer with an open transaction is never forgotten. */
  forgetIdle(nowMs: number): number {
    return this.#forgetOlderThan(nowMs - this.#limits.idleExpiryMs);
  }

  #forgetOlderThan(limitMs: number): number {
    let count = 0;
    for (const entry of this.#entries.values()) {
      if (entry.lastSeenMs > limitMs || entry.transactionOffset !== undefined) continue;
      this.#entries.delete(entry.producerId);
      count++;
    }
    this.#budget.used -= count;
    this.#forgotten += count;
    return count;
  }
}

/** Markers may come again after a failover of their coordinator: a second one changes nothing. */
function judgeMarker(facts: BatchFacts, entry: ProducerEntry): Judgement {
  if (facts.coordinatorEpoch >= entry.coordinatorEpoch) return APPEND;
  const message =
    `the transaction coordinator's epoch ${facts.coordinatorEpoch} is below ` +
    `${entry.coordinatorEpoch}: another coordinator has taken over`;
  return refuse(new OperatingError('FENCED', message, { epoch: entry.coordinatorEpoch }));
}

function judgeSequence(facts: BatchFacts, entry: ProducerEntry): Judgement {
  const { baseSequence, records, producerEpoch } = facts;
  if (producerEpoch > entry.epoch) return baseSequence === 0 ? APPEND : EARLY;
  const last = entry.window.at(-1);
  const expected = last === undefined ? 0 : sequenceAfter(last.baseSequence, last.records);
  const distance = sequenceDistance(expected, baseSequence);
  if (distance === 0) return APPEND;
  if (distance > 0) return EARLY;
  const batch = findInWindow(entry, baseSequence, records);
  if (batch !== undefined) return { kind: 'duplicate', batch };
  return refuse(olderThanWindow(facts, entry, expected));
}

/** Nothing is confirmed that this log cannot have seen. */
function olderThanWindow(
  facts: BatchFacts,
  entry: ProducerEntry,
  expected: number,
): OperatingError {
  const { producerId, baseSequence } = facts;
  const oldest = entry.window[0];
  const isBefore = oldest !== undefined && sequenceDistance(oldest.baseSequence, baseSequence) < 0;
  if (isBefore && entry.isComplete) {
    const message = `sequence ${baseSequence} of producer ${producerId} was appended before the last five batches; go on with ${expected}`;
    return new OperatingError('DUPLICATE_SEQUENCE', message);
  }
  return outOfOrder(facts, expected);
}

export function outOfOrder(facts: BatchFacts, expected: number | undefined): OperatingError {
  const wanted = expected === undefined ? 'an earlier one' : `${expected}`;
  const message = `sequence ${facts.baseSequence} of producer ${facts.producerId} does not follow: ${wanted} is expected`;
  return new OperatingError('OUT_OF_ORDER_SEQUENCE', message);
}

function producerFenced(facts: BatchFacts, entry: ProducerEntry): OperatingError {
  const message = `producer ${facts.producerId} is in use with epoch ${entry.epoch}, above ${facts.producerEpoch}: ask for a new epoch`;
  return new OperatingError('PRODUCER_FENCED', message, { epoch: entry.epoch });
}

function writerFenced(facts: BatchFacts, writerEpoch: number): OperatingError {
  const message = `writer epoch ${facts.writerEpoch} is below ${writerEpoch}: another writer owns the shard`;
  return new OperatingError('WRITER_FENCED', message, { epoch: writerEpoch });
}

function tooManyProducers(
  facts: BatchFacts,
  { entriesPerShardMax }: ProducerLimits,
): OperatingError {
  const message = `producer ${facts.producerId} is one too many: a shard remembers ${entriesPerShardMax}; come back later`;
  return new OperatingError('RESOURCE_EXHAUSTED', message, { retryAfterMs: evictionEachMs });
}

function refuse(error: OperatingError): Judgement {
  return { kind: 'refuse', error };
}
