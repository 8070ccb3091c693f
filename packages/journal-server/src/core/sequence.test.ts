import { describe, expect, it } from 'vitest';
import { sequenceAfter, sequenceDistance } from './sequence.ts';

const LAST = 2 ** 31 - 1;

describe('sequences', () => {
  it.each([
    [0, 1, 1],
    [5, 10, 15],
    [LAST, 1, 0],
    [LAST - 1, 5, 3],
  ])('after %d come %d: %d', (sequence, steps, expected) => {
    expect(sequenceAfter(sequence, steps)).toBe(expected);
  });

  it.each([
    [5, 5, 0],
    [5, 7, 2],
    [7, 5, -2],
    [LAST, 1, 2],
    [1, LAST, -2],
    [0, 0, 0],
  ])('from %d to %d it is %d', (expected, sequence, distance) => {
    expect(sequenceDistance(expected, sequence)).toBe(distance);
  });
});
