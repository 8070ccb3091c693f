import { describe, expect, it } from 'vitest';

import { TokenBucket } from './token-bucket.ts';

function taken(bucket: TokenBucket, nowMs: number): number {
  let count = 0;
  while (bucket.take(nowMs)) count++;
  return count;
}

describe('a rate', () => {
  it('has room for a second at once, then for what time brings', () => {
    const bucket = new TokenBucket(10, 500);
    expect(taken(bucket, 500)).toBe(10);
    expect(taken(bucket, 599)).toBe(0);
    expect(taken(bucket, 600)).toBe(1);
    expect(taken(bucket, 900)).toBe(3);
    expect(taken(bucket, 100_000)).toBe(10);
  });

  it('below one a second is kept', () => {
    const bucket = new TokenBucket(0.5, 0);
    expect(taken(bucket, 0)).toBe(1);
    expect(taken(bucket, 1_999)).toBe(0);
    expect(taken(bucket, 2_000)).toBe(1);
  });
});
