import { expect, it } from 'vitest';

import { shownText } from './shown-text.ts';

it.each([
  ['sensor-1 grün', 'sensor-1 grün'],
  ['a\u001b[2Jb', String.raw`a\u{1b}[2Jb`],
  ['a\nb\u202ec', String.raw`a\u{a}b\u{202e}c`],
])('%j is shown as %j', (text, shown) => {
  expect(shownText(text)).toBe(shown);
});
