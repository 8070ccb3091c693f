import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { committedLength } from './commit.ts';

describe('the committed length', () => {
  it.each([
    [[7], 1, 7],
    [[7, 0, 0], 2, 0],
    [[7, 3, 0], 2, 3],
    [[7, 3, 5], 2, 5],
    [[7, 3, 5], 3, 3],
    [[0, 9, 4, 4, 1], 3, 4],
  ])('of %j with a quorum of %d is %d', (lengths, quorum, expected) => {
    expect(committedLength(lengths, quorum)).toBe(expected);
  });

  it('lies on at least a quorum, and one more does not (I6)', () => {
    const lengths = fc.array(fc.nat(20), { minLength: 1, maxLength: 5 });
    fc.assert(
      fc.property(lengths, fc.nat(), (all, seed) => {
        const quorum = 1 + (seed % all.length);
        const committed = committedLength(all, quorum);
        const having = (length: number): number => all.filter((one) => one >= length).length;
        expect(having(committed)).toBeGreaterThanOrEqual(quorum);
        expect(having(committed + 1)).toBeLessThan(quorum);
      }),
    );
  });
});
