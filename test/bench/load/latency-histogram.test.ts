import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';

import { LatencyHistogram } from './latency-histogram.ts';

describe('a latency histogram', () => {
  it('is 0 while nothing is recorded', () => {
    expect(new LatencyHistogram().quantile(0.5)).toBe(0);
  });

  it('gives back any value within 0.1 %, never below it', () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 0xffffffff }), (value) => {
        const histogram = new LatencyHistogram();
        histogram.record(value);
        const given = histogram.quantile(1);
        expect(given).toBeGreaterThanOrEqual(value);
        expect(given - value).toBeLessThanOrEqual(value / 1000);
      }),
      { numRuns: 50 },
    );
  });

  it('adds up, and finds quantiles of the sum', () => {
    const [low, high] = [new LatencyHistogram(), new LatencyHistogram()];
    for (let value = 1; value <= 50; value++) low.record(value);
    for (let value = 51; value <= 100; value++) high.record(value);
    low.add(high);
    expect([0.01, 0.5, 0.99, 1].map((fraction) => low.quantile(fraction))).toEqual([
      1, 50, 99, 100,
    ]);
  });
});
