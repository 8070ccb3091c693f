import { offset, OperatingError } from '@robustmq/core';
import { describe, expect, it } from 'vitest';
import type { OutboxOutcome } from './outbox.ts';
import {
  decodeConfirmations,
  decodeProducerId,
  encodeConfirmations,
  encodeProducerId,
} from './outbox-record.ts';
import { sequenceAfter } from './outbox-state.ts';

describe('outbox records', () => {
  it('come back as they went', () => {
    const outcomes: OutboxOutcome[] = [
      { kind: 'committed', offset: offset(2 ** 40 + 1) },
      { kind: 'committed', offset: undefined },
      { kind: 'refused', error: new OperatingError('NOT_FOUND', 'the topic is gone: “plant”') },
      { kind: 'committed', offset: offset(0) },
    ];
    const confirmations = outcomes.map((outcome, i) => ({
      target: 2 ** 33 + i,
      sequence: 2 ** 31 - 1 - i,
      outcome,
    }));
    const decoded = decodeConfirmations(encodeConfirmations(confirmations));
    expect(decoded).toEqual(confirmations);
    const refused = decoded[2]?.outcome;
    expect(refused?.kind === 'refused' && refused.error.code).toBe('NOT_FOUND');
    expect(decodeProducerId(encodeProducerId(2 ** 50))).toBe(2 ** 50);
  });

  it('keep at most 200 bytes of a message', () => {
    const error = new OperatingError('INTERNAL', 'x'.repeat(10_000));
    const record = [{ target: 1, sequence: 0, outcome: { kind: 'refused', error } as const }];
    expect(encodeConfirmations(record).length).toBeLessThan(256);
  });

  it('number sequences as Kafka does: they wrap at 2^31', () => {
    expect(sequenceAfter(0, 5)).toBe(5);
    expect(sequenceAfter(2 ** 31 - 1, 1)).toBe(0);
    expect(sequenceAfter(2 ** 31 - 2, 5)).toBe(3);
  });
});
