import { describe, expect, it } from 'vitest';

import { LoadAverages } from './load-averages.ts';

describe('LoadAverages', () => {
  it('comes to a steady rate, the shorter the faster, and forgets it again', () => {
    const averages = new LoadAverages();
    let counter = 0;
    for (let seconds = 0; seconds < 60; seconds += 10) averages.sample((counter += 100), 10_000);
    const [one = 0, five = 0, fifteen = 0] = averages.averages;
    // 600 a minute for one minute: 1 - 1/e of it, 1 - e^(-1/5), 1 - e^(-1/15).
    expect(one).toBeCloseTo(379.27, 1);
    expect(five).toBeCloseTo(108.76, 1);
    expect(fifteen).toBeCloseTo(38.7, 1);
    for (let seconds = 0; seconds < 600; seconds += 10) averages.sample(counter, 10_000);
    expect(averages.averages[0]).toBeLessThan(0.1);
    expect(averages.averages[2]).toBeGreaterThan(10);
  });
});
