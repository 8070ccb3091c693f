import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';

import { HistoryChecker, type HistoryEvent, type MessageName } from './history-checker.ts';
import { SequenceSet } from './sequence-set.ts';

const message = (sequence: number): MessageName => ({ publisher: 'p', topic: 't', sequence });
const sent = (sequence: number, qos: 1 | 2 = 1): HistoryEvent => ({
  kind: 'sent',
  qos,
  ...message(sequence),
});
const acknowledged = (sequence: number): HistoryEvent => ({
  kind: 'acknowledged',
  ...message(sequence),
});
const received = (sequence: number, subscriber = 's'): HistoryEvent => ({
  kind: 'received',
  subscriber,
  ...message(sequence),
});

function verdict(...events: HistoryEvent[]): readonly string[] {
  const checker = new HistoryChecker(['s']);
  for (const event of events) checker.take(event);
  return checker.verdict();
}

describe('a right history', () => {
  it.each<[string, HistoryEvent[]]>([
    ['nothing', []],
    ['one message', [sent(0), acknowledged(0), received(0)]],
    ['delivered before it was acknowledged', [sent(0), received(0), acknowledged(0)]],
    ['not acknowledged and not delivered', [sent(0), sent(1), acknowledged(0), received(0)]],
    ['not acknowledged and delivered', [sent(0), received(0)]],
    ['QoS 1 again, and late', [sent(0), sent(1), received(0), received(1), received(0)]],
    ['a gap that nobody was promised', [sent(0), sent(1), acknowledged(1), received(1)]],
  ])('%s', (_, events) => {
    expect(verdict(...events)).toEqual([]);
  });
});

describe('planted violations', () => {
  it.each<[string, HistoryEvent[], string]>([
    [
      'loss',
      [sent(0), sent(1), acknowledged(0), acknowledged(1), received(1)],
      'never received 1 of',
    ],
    ['QoS 2 twice', [sent(0, 2), received(0), received(0)], 'twice at QoS 2'],
    ['out of order', [sent(0), sent(1), received(1), received(0)], 'received 0 of p in t after 1'],
    ['never sent', [sent(0), received(1)], 'never sent'],
    ['of an unknown publisher', [received(0)], 'never sent'],
    ['to an unknown subscriber', [sent(0), received(0, 'x')], 'never sent'],
    ['acknowledged, never sent', [acknowledged(0)], 'never sent'],
    [
      'refused',
      [sent(0), { kind: 'refused', ...message(0), reason: 'reason code 128' }],
      'refused with reason code 128',
    ],
    ['a lost session', [{ kind: 'session-lost', client: 's' }], 'session of s was lost'],
  ])('%s', (_, events, words) => {
    expect(verdict(...events)).toEqual([expect.stringContaining(words)]);
  });

  it('each subscriber is looked at', () => {
    const checker = new HistoryChecker(['s', 'other']);
    for (const event of [sent(0), acknowledged(0), received(0)]) checker.take(event);
    expect(checker.missing).toBe(1);
    expect(checker.verdict()).toEqual([expect.stringContaining('other never received')]);
  });

  it('any one delivery left out of a right history is missed', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 200 }), fc.nat(), (count, seed) => {
        const checker = new HistoryChecker(['s']);
        for (let sequence = 0; sequence < count; sequence++) {
          checker.take(sent(sequence));
          checker.take(acknowledged(sequence));
          if (sequence !== seed % count) checker.take(received(sequence));
        }
        return checker.missing === 1 && checker.verdict().length === 1;
      }),
    );
  });
});

it('a sequence set holds what was put in', () => {
  fc.assert(
    fc.property(fc.array(fc.nat(50)), (sequences) => {
      const set = new SequenceSet();
      const model = new Set<number>();
      for (const sequence of sequences) {
        expect(set.add(sequence)).toBe(!model.has(sequence));
        model.add(sequence);
      }
      expect(new Set(set)).toEqual(model);
      expect(set.size).toBe(model.size);
      expect(set.highest).toBe(Math.max(-1, ...model));
    }),
  );
});
