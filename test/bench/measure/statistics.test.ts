import { describe, expect, it } from 'vitest';

import { median, quantileOf } from './statistics.ts';

describe('statistics', () => {
  it.each([
    [[3, 1, 2], 2],
    [[4, 1, 2, 3], 2.5],
    [[7], 7],
    [[], NaN],
  ])('the median of %j is %d', (values, expected) => {
    expect(median(values)).toBe(expected);
  });

  it('a quantile is a value that was measured', () => {
    const values = Array.from({ length: 50 }, (_, index) => 50 - index);
    expect([0, 0.5, 0.98, 0.99, 1].map((fraction) => quantileOf(values, fraction))).toEqual([
      1, 25, 49, 50, 50,
    ]);
  });
});
