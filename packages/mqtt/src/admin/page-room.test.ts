import { expect, it } from 'vitest';

import { PageRoom } from './page-room.ts';

it('a page has so many rows, or as many as are worth 4 MiB of text', () => {
  const few = new PageRoom(2);
  few.take('a', 'b');
  expect(few.full).toBe(false);
  few.take('a', 'b');
  expect(few.full).toBe(true);
  const long = new PageRoom(1_000);
  let rows = 0;
  for (; !long.full; rows++) long.take('x'.repeat(65_535), 'u');
  expect(rows).toBe(64);
  for (const rows of [0, 1_001]) expect(() => new PageRoom(rows)).toThrow('1 to 1000 rows');
});
