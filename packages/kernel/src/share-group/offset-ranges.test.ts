import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { OffsetRanges } from './offset-ranges.ts';

const span = fc.record({ from: fc.nat(60), length: fc.nat(12) });

function offsetsOf(ranges: OffsetRanges): number[] {
  return [...ranges].flatMap(({ from, to }) =>
    Array.from({ length: to - from }, (_, i) => from + i),
  );
}

describe('OffsetRanges', () => {
  it('is the set of what was added, in ranges that do not touch', () => {
    fc.assert(
      fc.property(fc.array(span), fc.nat(70), (spans, below) => {
        const ranges = new OffsetRanges();
        const set = new Set<number>();
        for (const { from, length } of spans) {
          ranges.add(from, from + length);
          for (let at = from; at < from + length; at++) set.add(at);
        }
        expect(offsetsOf(ranges)).toEqual([...set].toSorted((a, b) => a - b));
        const listed = [...ranges];
        for (const [i, { from }] of listed.entries()) {
          expect(from).toBeGreaterThan(listed[i - 1]?.to ?? -1);
        }
        for (let at = 0; at < 80; at++) expect(ranges.has(at)).toBe(set.has(at));
        let end = below;
        while (set.has(end)) end++;
        expect(ranges.endOf(below)).toBe(end);
        ranges.dropBelow(below);
        expect(offsetsOf(ranges)).toEqual(
          offsetsOf(new OffsetRanges(listed)).filter((at) => at >= below),
        );
      }),
    );
  });
});
