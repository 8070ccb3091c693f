import { expect, it } from 'vitest';

import { matcher } from './text-pattern.ts';

it.each([
  ['', 'anything', true],
  ['a', 'a', true],
  ['a', 'ab', false],
  ['a*', 'ab', true],
  ['a*', 'ba', false],
  ['*', '', true],
  ['*b', 'ab', true],
  ['*b*', 'abc', true],
  ['a*b*c', 'a-b-b-c', true],
  ['a*b*c', 'a-c-b', false],
  // The same characters are not used twice.
  ['ab*ba', 'aba', false],
  ['a*a*a', 'aa', false],
  ['a*a', 'a', false],
  ['.+', 'ab', false],
])('%j matches %j: %s', (pattern, text, expected) => {
  expect(matcher(pattern)(text)).toBe(expected);
});
