import { describe, expect, it } from 'vitest';
import { messageWeight } from './message-weight.ts';

describe('message weight', () => {
  it('counts buffers and strings wherever they are', () => {
    const batch = Buffer.alloc(1_000);
    const weight = messageWeight({
      entries: [{ batch, filter: Buffer.alloc(0) }, { batch }],
      name: 'x'.repeat(500),
      status: undefined,
    });
    expect(weight).toBeGreaterThanOrEqual(2_500);
    expect(weight).toBeLessThan(2_600);
  });
});
