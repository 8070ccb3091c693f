import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

import { documentOf, problemsOf } from './clauses/conformance.ts';
import { readSources } from './clauses/proofs.ts';

const root = join(import.meta.dirname, '../..');
const document = join(root, 'docs/mqtt-conformance.md');

/** Writes docs/mqtt-conformance.md, or only looks whether it is fresh; returns what is wrong. */
export function makeDocument(onlyCheck: boolean): string[] {
  const { proofs, cited } = readSources(root);
  const problems = problemsOf(proofs, cited);
  const text = documentOf(proofs);
  if (!onlyCheck) writeFileSync(document, text);
  else if (readFileSync(document, 'utf8') !== text) {
    problems.push('docs/mqtt-conformance.md is stale; run: pnpm conformance clauses');
  }
  return problems;
}
