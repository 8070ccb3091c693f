import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';

import { type Citations, citationsIn } from './citation.ts';

/** A test whose title cites statements. */
export interface Proof extends Citations {
  /** From the root of the repository. */
  readonly file: string;
  readonly title: string;
}

const literal = /'((?:[^'\\]|\\.)*)'|`((?:[^`\\]|\\.)*)`/g;
const comment = /^\s*(?:\/\/|\/?\*)/;
const skipped = /\.(?:skip|todo)\(/;

/** The titles in a test file that cite statements, rows of tables included. */
export function proofsIn(file: string, text: string): Proof[] {
  const lines = text.split('\n').filter((line) => !comment.test(line) && !skipped.test(line));
  return lines.flatMap((line) =>
    [...line.matchAll(literal)].flatMap(([, single, template]) => {
      const title = single ?? template ?? '';
      const { ids, unreadable } = citationsIn(title);
      return ids.length + unreadable.length === 0 ? [] : [{ file, title, ids, unreadable }];
    }),
  );
}

/** What tests cite, and what the other sources do, which proves nothing but has to exist. */
export function readSources(root: string): { proofs: Proof[]; cited: Proof[] } {
  const listed = execFileSync('git', ['ls-files', '-co', '--exclude-standard'], { cwd: root });
  const files = listed
    .toString()
    .split('\n')
    .filter((file) => /^(?:packages|test)\/.*\.ts$/.test(file))
    .filter((file) => !file.startsWith('test/conformance/clauses/'));
  const proofs: Proof[] = [];
  const cited: Proof[] = [];
  for (const file of files) {
    const text = readFileSync(join(root, file), 'utf8');
    if (file.endsWith('.test.ts')) proofs.push(...proofsIn(file, text));
    else cited.push({ file, title: '', ...citationsIn(text.replaceAll(/\n\s*(?:\*|\/\/)/g, '')) });
  }
  return { proofs, cited };
}
