import { describe, expect, it } from 'vitest';
import { OperatingError } from './errors.ts';

describe('an operating error', () => {
  it('has a stack only when it is INTERNAL, and leaves those of others as they are', () => {
    const before = Error.stackTraceLimit;
    expect(new OperatingError('UNAVAILABLE', 'away').stack).not.toContain('\n    at ');
    expect(new OperatingError('INTERNAL', 'a fault').stack).toContain('\n    at ');
    expect(Error.stackTraceLimit).toBe(before);
  });
});
