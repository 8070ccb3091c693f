import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { mutants } from './mutant-list.ts';

const root = join(import.meta.dirname, '../../..');

test.each(mutants)('$name: what it changes stands once in the code', ({ file, find }) => {
  const source = readFileSync(join(root, file), 'utf8');
  expect(source.split(find)).toHaveLength(2);
});
