import { readFileSync } from 'node:fs';
import { join } from 'node:path';

import { describe, expect, it } from 'vitest';

import { documentOf, problemsOf } from './conformance.ts';
import { mqtt5Clauses } from './mqtt5.ts';
import { mqtt311Clauses } from './mqtt311.ts';
import { proofsIn, readSources } from './proofs.ts';

const root = join(import.meta.dirname, '../../..');

describe('the statements of MQTT', () => {
  it('are all there, each once', () => {
    expect(new Set(mqtt5Clauses.map(({ id }) => id)).size).toBe(251);
    expect(new Set(mqtt311Clauses.map(({ id }) => id)).size).toBe(144);
  });

  it('that bind a server have a test, and no source cites one that does not exist', () => {
    const { proofs, cited } = readSources(root);
    expect(problemsOf(proofs, cited)).toEqual([]);
  });

  it('stand in docs/mqtt-conformance.md as they are now (pnpm conformance clauses)', () => {
    const written = readFileSync(join(root, 'docs/mqtt-conformance.md'), 'utf8');
    expect(written === documentOf(readSources(root).proofs)).toBe(true);
  });
});

describe('what is wrong is said', () => {
  const sources = readSources(root);

  it('of a statement whose only test is gone', () => {
    const without = sources.proofs.filter(({ ids }) => !ids.includes('MQTT5-3.12.4-1'));
    expect(problemsOf(without, []).join('\n')).toContain('no test has MQTT5-3.12.4-1');
  });

  it.each([
    ['an unknown id', "it('[MQTT5-3.1.0-9] x')", 'a.test.ts: there is no statement MQTT5-3.1.0-9'],
    ['no id', "it('[MQTT-3-8.3-4] x')", 'a.test.ts: [MQTT-3-8.3-4] cites no statement'],
  ])('of %s', (_name, text, problem) => {
    expect(problemsOf([...sources.proofs, ...proofsIn('a.test.ts', text)], [])).toEqual([problem]);
  });

  it('of a pending statement that has a test', () => {
    const [pending] = proofsIn('a.test.ts', "it('[MQTT5-3.3.4-5] x')");
    expect(problemsOf([...sources.proofs, ...(pending ? [pending] : [])], [])).toHaveLength(1);
  });
});

describe('a title proves nothing', () => {
  it.each(["it.skip('[MQTT5-3.1.0-2] x'", "// it('[MQTT5-3.1.0-2] x'", "it('of 3.1.0-2'"])(
    'in %s',
    (text) => {
      expect(proofsIn('a.test.ts', text)).toEqual([]);
    },
  );
});
