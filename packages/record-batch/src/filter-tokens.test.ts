import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { limits } from '@robustmq/core';
import {
  FilterBuilder,
  filterMatches,
  isFilter,
  mergeFilters,
  nameToken,
  prefixToken,
  TOKENS_PER_NAME_MAX,
  tokensOfName,
} from './filter-tokens.ts';

const level = fc.string({ unit: fc.constantFrom('a', 'b', 'ö'), maxLength: 3 });
const nameOfLevels = fc
  .array(level, { minLength: 1, maxLength: 12 })
  .map((levels) => levels.join('/'));

function filterOf(...names: string[]): Buffer {
  const builder = new FilterBuilder();
  for (const name of names) builder.add(tokensOfName(Buffer.from(name)));
  return builder.finish();
}

describe('tokens', () => {
  it('are the name and its prefixes, at most eight', () => {
    expect([...tokensOfName(Buffer.from('a/b'))]).toEqual([
      nameToken(Buffer.from('a/b')),
      prefixToken(Buffer.from('a')),
      prefixToken(Buffer.from('a/b')),
    ]);
    expect(tokensOfName(Buffer.from('1/2/3/4/5/6/7/8/9')).length).toBe(TOKENS_PER_NAME_MAX);
    expect(tokensOfName(Buffer.from('/a')).length).toBe(3);
    expect(tokensOfName(Buffer.from('a//')).length).toBe(4);
    expect(tokensOfName(Buffer.from('')).length).toBe(2);
  });

  it('tell a name from the same prefix', () => {
    const property = fc.property(nameOfLevels, (name) => {
      expect(nameToken(Buffer.from(name))).not.toBe(prefixToken(Buffer.from(name)));
    });
    fc.assert(property);
  });

  it('find a record by its name and by every prefix of its levels, however deep', () => {
    const property = fc.property(
      fc.array(nameOfLevels, { minLength: 1, maxLength: 20 }),
      (names) => {
        const filter = filterOf(...names);
        expect(isFilter(filter)).toBe(true);
        for (const name of names) {
          expect(filterMatches(filter, nameToken(Buffer.from(name)))).toBe(true);
          const levels = name.split('/');
          for (let count = 1; count <= levels.length; count++) {
            const prefix = Buffer.from(levels.slice(0, count).join('/'));
            expect(filterMatches(filter, prefixToken(prefix))).toBe(true);
          }
        }
      },
    );
    fc.assert(property);
  });

  it('do not find what is not there', () => {
    const filter = filterOf('a/b/c', 'x');
    for (const name of ['a', 'a/b', 'a/b/c/d', 'b']) {
      expect(filterMatches(filter, nameToken(Buffer.from(name)))).toBe(false);
    }
    for (const prefix of ['b', 'a/c', 'a/b/c/d', '', 'x/y']) {
      expect(filterMatches(filter, prefixToken(Buffer.from(prefix)))).toBe(false);
    }
  });
});

describe('FilterBuilder', () => {
  it('matches everything when empty, on demand, and above the limit', () => {
    const builder = new FilterBuilder();
    expect(builder.finish().length).toBe(0);
    expect(filterMatches(Buffer.alloc(0), 1)).toBe(true);
    const tokens = tokensOfName(Buffer.from('a'));
    builder.add(tokens);
    builder.matchAll();
    builder.add(tokensOfName(Buffer.from('b')));
    expect(builder.finish().length).toBe(0);
    for (let index = 0; index <= limits.filterTokensMax; index++)
      builder.add(Uint32Array.of(index));
    expect(builder.finish().length).toBe(0);
    builder.add(tokens);
    expect(builder.finish().length).toBe(8);
    builder.add(tokens);
    expect(builder.finish().length).toBe(8);
  });

  it('holds as many tokens as the limit says', () => {
    const builder = new FilterBuilder();
    builder.add(Uint32Array.from({ length: limits.filterTokensMax }, (_, index) => ~index));
    const filter = builder.finish();
    expect(filter.length).toBe(limits.filterTokensMax * 4);
    expect(isFilter(filter)).toBe(true);
    expect(filterMatches(filter, 0xffffffff)).toBe(true);
    expect(filterMatches(filter, 0)).toBe(false);
  });
});

describe('mergeFilters', () => {
  it('matches what either filter matches', () => {
    const merged = mergeFilters(filterOf('a/b', 'c'), filterOf('c', 'd'));
    expect(merged.equals(filterOf('a/b', 'c', 'd'))).toBe(true);
    expect(mergeFilters(merged, Buffer.alloc(0)).length).toBe(0);
    expect(mergeFilters(Buffer.alloc(0), merged).length).toBe(0);
  });

  it('is empty above the limit', () => {
    const half = new FilterBuilder();
    half.add(Uint32Array.from({ length: limits.filterTokensMax }, (_, index) => index));
    expect(mergeFilters(half.finish(), filterOf('a')).length).toBe(0);
  });
});

describe('isFilter', () => {
  it.each([
    ['half a token', '010000'],
    ['a repeated token', '0100000001000000'],
    ['descending tokens', '0200000001000000'],
    ['too many bytes', '00'.repeat(limits.filterTokensMax * 4 + 4)],
  ])('refuses %s', (_name, hex) => {
    expect(isFilter(Buffer.from(hex, 'hex'))).toBe(false);
  });
});
