import { describe, expect, it } from 'vitest';
import { TokenBucket } from './token-bucket.ts';

describe('token bucket', () => {
  it('lets a burst through, then so many a second, and fills up again', () => {
    const bucket = new TokenBucket(100, 10);
    expect(bucket.take(70, 5_000)).toBe(70);
    expect(bucket.take(70, 5_000)).toBe(30);
    expect(bucket.take(1, 5_050)).toBe(0);
    expect(bucket.take(5, 5_100)).toBe(1);
    expect(bucket.take(5, 4_000)).toBe(0);
    expect(bucket.take(1_000, 1e9)).toBe(100);
  });
});
