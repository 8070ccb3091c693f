import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';

import { filterProblem, TopicPattern } from './topic-pattern.ts';

describe('a pattern', () => {
  it.each([
    ['a/b', 'a/b', true],
    ['a/+', 'a/b', true],
    ['a/+', 'a/b/c', false],
    ['a/#', 'a', true],
    ['a/#', 'a/b/c', true],
    ['#', 'a', true],
    ['+/b', '/b', true],
    ['#', '$SYS/x', false],
    ['+/x', '$SYS/x', false],
    ['$SYS/#', '$SYS/x', true],
  ])('[MQTT5-4.7.1-1, -4.7.1-2, -4.7.2-1] %s matches the name %s: %s', (filter, name, is) => {
    expect(new TopicPattern(filter, false).matches(name)).toBe(is);
  });

  it.each([
    ['a/#', 'a/b/#', true],
    ['a/#', 'a/+', true],
    ['a/#', 'a', true],
    ['a/+', 'a/#', false],
    ['a/+/#', 'a/#', false],
    ['a/b', 'a/+', false],
    ['+/b', '+/b', true],
    ['#', '+/+', true],
    ['#', '#', true],
    ['#', '$SYS/#', false],
    ['$SYS/#', '#', false],
    ['$SYS/#', '$SYS/a/+', true],
  ])('%s covers the filter %s: %s', (filter, other, is) => {
    expect(new TopicPattern(filter, false).covers(other)).toBe(is);
  });

  it.each([
    ['a/secret', 'a/#', true],
    ['a/secret', 'a/+', true],
    ['a/secret', 'a/b', false],
    ['+/secret', 'a/+', true],
    ['a/#', 'a', true],
    ['a/b/#', 'a', false],
    ['$SYS/#', '#', false],
    ['#', '$SYS/x', false],
  ])('%s overlaps the filter %s: %s', (filter, other, is) => {
    expect(new TopicPattern(filter, false).overlaps(other)).toBe(is);
    expect(new TopicPattern(other, false).overlaps(filter)).toBe(is);
  });

  it('that is exact is one filter or name, letter by letter', () => {
    const exact = new TopicPattern('a/#', true);
    expect(exact.covers('a/#')).toBe(true);
    expect(exact.covers('a/b')).toBe(false);
    expect(exact.matches('a/b')).toBe(false);
    expect(new TopicPattern('a/b', true).overlaps('a/+')).toBe(true);
  });

  const level = fc.constantFrom('a', 'b', '', '$s');
  const name = fc.array(level, { minLength: 1, maxLength: 4 }).map((levels) => levels.join('/'));
  const filter = fc
    .array(fc.constantFrom('a', 'b', '', '$s', '+'), { minLength: 1, maxLength: 4 })
    .chain((levels) => fc.constantFrom(levels, [...levels.slice(0, 3), '#']))
    .map((levels) => levels.join('/'));

  it('covers a filter only if it matches whatever that matches, and overlaps if both match a name', () => {
    fc.assert(
      fc.property(
        filter,
        filter,
        fc.array(name, { minLength: 20, maxLength: 60 }),
        (one, other, names) => {
          fc.pre(one !== '' && other !== '');
          const own = new TopicPattern(one, false);
          const second = new TopicPattern(other, false);
          for (const each of names.filter((candidate) => candidate !== '')) {
            if (own.covers(other) && second.matches(each)) expect(own.matches(each)).toBe(true);
            if (own.matches(each) && second.matches(each)) expect(own.overlaps(other)).toBe(true);
          }
        },
      ),
      { numRuns: 500 },
    );
  });
});

describe('a filter of a rule', () => {
  it.each(['', 'a/#/b', 'a#', 'a+/b', 'a/+b', 'a\0'])('%j is refused', (filter) => {
    expect(filterProblem(filter)).toBeDefined();
  });

  it.each(['a', '/', '#', '+', 'a/+/b/#'])('%j is taken', (filter) => {
    expect(filterProblem(filter)).toBeUndefined();
  });
});
