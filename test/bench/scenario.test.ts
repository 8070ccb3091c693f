import { describe, expect, it } from 'vitest';

import { isReached } from './scenario.ts';

describe('a target', () => {
  it('is reached at its bound and missed beyond it', () => {
    const target = { text: '', atLeast: { ratio: 2 }, atMost: { p99Ms: 15 } };
    expect(isReached(target, { ratio: 2, p99Ms: 15 })).toBe(true);
    expect(isReached(target, { ratio: 1.99, p99Ms: 15 })).toBe(false);
    expect(isReached(target, { ratio: 2, p99Ms: 15.1 })).toBe(false);
  });

  it('is open while something of it was not measured', () => {
    expect(isReached({ text: '', atLeast: { ratio: 2 } }, { p99Ms: 1 })).toBeUndefined();
  });
});
