import { describe, expect, it } from 'vitest';
import { facts, newProducers, produced } from './core.fixture.ts';
import type { ProducerState } from './producer-state.ts';

const NOW = 0;
const HOUR = 3_600_000;

/** `count` single-record batches from `first` on, at offsets of the same number. */
function fill(state: ProducerState, first: number, count: number): void {
  for (let at = first; at < first + count; at++) state.fold(produced(at), at, at, NOW);
}

function verdict(
  state: ProducerState,
  of: Parameters<ProducerState['judge']>[0],
  now = NOW,
): string {
  const judgement = state.judge(of, now);
  if (judgement.kind === 'refuse') return judgement.error.code;
  if (judgement.kind === 'duplicate') return `duplicate of ${judgement.batch.baseOffset}`;
  if (judgement.kind === 'early') return judgement.isKnown ? 'early' : 'early unknown';
  return judgement.kind;
}

describe('producers (docs/journal.md 2.9)', () => {
  it.each([
    ['the next one', produced(10), 'append'],
    ['the last one again', produced(9), 'duplicate of 9'],
    ['the oldest remembered', produced(5), 'duplicate of 5'],
    ['an older one', produced(4), 'DUPLICATE_SEQUENCE'],
    ['a gap', produced(11), 'early'],
    ['the same sequence with other records', produced(9, { records: 2 }), 'OUT_OF_ORDER_SEQUENCE'],
    ['a lower epoch', produced(10, { producerEpoch: -1 }), 'PRODUCER_FENCED'],
    ['a new epoch from 0', produced(0, { producerEpoch: 1 }), 'append'],
    ['a new epoch not from 0', produced(3, { producerEpoch: 1 }), 'early'],
    ['another producer from 0', produced(0, { producerId: 8 }), 'append'],
    ['another producer not from 0', produced(3, { producerId: 8 }), 'early unknown'],
    ['no producer', facts(), 'append'],
  ])('%s: %j is %s', (_name, batch, expected) => {
    const state = newProducers();
    fill(state, 0, 10);
    expect(verdict(state, batch)).toBe(expected);
  });

  it('confirms nothing that it cannot have seen', () => {
    const state = newProducers();
    fill(state, 50, 10); // Its entry had expired: what came before 50 is not known.
    expect(verdict(state, produced(49))).toBe('OUT_OF_ORDER_SEQUENCE');
  });

  it('wraps sequences at 2^31', () => {
    const state = newProducers();
    const last = 2 ** 31 - 2;
    state.fold(produced(last, { records: 2 }), 0, 0, NOW);
    expect(verdict(state, produced(0))).toBe('append');
    expect(verdict(state, produced(last, { records: 2 }))).toBe('duplicate of 0');
    expect(verdict(state, produced(1))).toBe('early');
  });

  it('refuses lower writer epochs, and none at all, once there was one', () => {
    const state = newProducers();
    state.fold(facts({ writerEpoch: 3 }), 0, 0, NOW);
    expect(verdict(state, facts({ writerEpoch: 3 }))).toBe('append');
    expect(verdict(state, facts({ writerEpoch: 4 }))).toBe('append');
    expect(verdict(state, facts({ writerEpoch: 2 }))).toBe('WRITER_FENCED');
    expect(verdict(state, facts())).toBe('WRITER_FENCED');
  });

  it('refuses markers below the stored coordinator epoch, and takes one that comes again', () => {
    const state = newProducers();
    const marker = (coordinatorEpoch: number): ReturnType<typeof produced> =>
      produced(-1, { isControl: true, control: 'commit', coordinatorEpoch });
    state.fold(marker(4), 0, 0, NOW);
    expect(verdict(state, marker(3))).toBe('FENCED');
    expect(verdict(state, marker(4))).toBe('append');
  });

  it('forgets by its own clock, never what has an open transaction', () => {
    const state = newProducers();
    state.fold(produced(0), 0, 0, NOW);
    state.fold(produced(0, { producerId: 8, isTransactional: true }), 1, 0, NOW);
    expect(state.forgetIdle(23 * HOUR)).toBe(0);
    expect(state.forgetIdle(25 * HOUR)).toBe(1);
    expect(state.entry(8)).toBeDefined();
    expect(verdict(state, produced(1))).toBe('early unknown');
    expect(state.forgotten).toBe(1);
  });

  it('refuses new producers when it is full of recent ones, and makes room of idle ones', () => {
    const state = newProducers({ entriesPerShardMax: 2 });
    state.fold(produced(0, { producerId: 1 }), 0, 0, NOW);
    state.fold(produced(0, { producerId: 2 }), 1, 0, NOW);
    const another = produced(0, { producerId: 3 });
    expect(verdict(state, another, 60_000)).toBe('RESOURCE_EXHAUSTED');
    expect(verdict(state, another, HOUR)).toBe('append');
    expect(state.size).toBe(0);
  });

  it('counts its entries in the budget of the node', () => {
    const state = newProducers({}, 1);
    state.fold(produced(0, { producerId: 1 }), 0, 0, NOW);
    expect(verdict(state, produced(0, { producerId: 2 }))).toBe('RESOURCE_EXHAUSTED');
    state.clear();
    expect(verdict(state, produced(0, { producerId: 2 }))).toBe('append');
  });
});

describe('transactions', () => {
  const batch = (sequence: number, producerId: number): ReturnType<typeof produced> =>
    produced(sequence, { producerId, isTransactional: true });
  const marker = (producerId: number, control: 'commit' | 'abort'): ReturnType<typeof produced> =>
    produced(-1, {
      producerId,
      isControl: true,
      isTransactional: true,
      control,
      coordinatorEpoch: 0,
    });

  it('hold back the last stable offset until the marker is committed', () => {
    const state = newProducers();
    const { transactions } = state;
    state.fold(batch(0, 1), 10, 0, NOW);
    state.fold(batch(0, 2), 11, 0, NOW);
    expect(transactions.lastStableOffset(12)).toBe(10);
    state.fold(marker(1, 'commit'), 12, 0, NOW);
    // The marker is in the log, and could still be lost.
    expect(transactions.lastStableOffset(12)).toBe(10);
    expect(transactions.lastStableOffset(13)).toBe(11);
    state.fold(marker(2, 'abort'), 13, 0, NOW);
    expect(transactions.lastStableOffset(13)).toBe(11);
    expect(transactions.lastStableOffset(14)).toBe(14);
  });

  it('index what was aborted, by the offsets that it touches', () => {
    const state = newProducers();
    state.fold(batch(0, 1), 10, 0, NOW);
    state.fold(marker(1, 'abort'), 20, 0, NOW);
    state.fold(batch(1, 1), 30, 0, NOW);
    state.fold(marker(1, 'commit'), 31, 0, NOW);
    const range = { producerId: 1, firstOffset: 10, markerOffset: 20 };
    expect(state.aborted.touching(0, 10)).toEqual([]);
    expect(state.aborted.touching(0, 11)).toEqual([range]);
    expect(state.aborted.touching(15, 18)).toEqual([range]);
    expect(state.aborted.touching(20, 99)).toEqual([range]);
    expect(state.aborted.touching(21, 99)).toEqual([]);
  });
});
