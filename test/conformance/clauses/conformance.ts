import type { Clause } from './clause.ts';
import { mqtt5Clauses } from './mqtt5.ts';
import { mqtt311Clauses } from './mqtt311.ts';
import { inapplicableClauses, pendingClauses } from './pending.ts';
import type { Proof } from './proofs.ts';

/** What is wrong between the statements and the tests; empty when nothing is. */
export function problemsOf(proofs: readonly Proof[], cited: readonly Proof[]): string[] {
  const known = new Set([...mqtt5Clauses, ...mqtt311Clauses].map(({ id }) => id));
  const proven = new Set(proofs.flatMap(({ ids }) => ids));
  const excused = new Set([...pendingIds(), ...Object.keys(inapplicableClauses)]);
  return [
    ...[...proofs, ...cited].flatMap(({ file, ids, unreadable }) => [
      ...ids.filter((id) => !known.has(id)).map((id) => `${file}: there is no statement ${id}`),
      ...unreadable.map((part) => `${file}: [${part}] cites no statement`),
    ]),
    ...[...mqtt5Clauses, ...mqtt311Clauses]
      .filter(({ id, binds }) => binds !== 'client' && !proven.has(id) && !excused.has(id))
      .map(({ id, words }) => `no test has ${id} in its title: ${words}`),
    ...[...excused]
      .filter((id) => proven.has(id) || !known.has(id))
      .map((id) => `${id} has a test or does not exist: take it out of clauses/pending.ts`),
  ];
}

function pendingIds(): string[] {
  return Object.values(pendingClauses).flat();
}

/** docs/mqtt-conformance.md. */
export function documentOf(proofs: readonly Proof[]): string {
  const byId = new Map<string, Proof[]>();
  for (const proof of proofs) {
    for (const id of new Set(proof.ids)) byId.set(id, [...(byId.get(id) ?? []), proof]);
  }
  return [
    '# MQTT conformance',
    '',
    'Made by `pnpm conformance clauses` from the statements in `test/conformance/clauses/` and the titles of',
    'the tests; do not edit it. Each normative statement of MQTT 5 and 3.1.1 that binds a server has a test whose',
    'title cites it. The words are ours and say what a statement is about: the specification says what it is.',
    'Versions number their statements differently: `MQTT5-` is 5.0, `MQTT-` is 3.1.1.',
    '',
    '| | MQTT 5 | MQTT 3.1.1 |',
    '|---|---|---|',
    ...summary(byId),
    '',
    '## Pending',
    '',
    ...pendingTable(),
    '## MQTT 5',
    '',
    ...table(mqtt5Clauses, byId),
    '',
    '## MQTT 3.1.1',
    '',
    ...table(mqtt311Clauses, byId),
    '',
  ].join('\n');
}

function summary(byId: ReadonlyMap<string, readonly Proof[]>): string[] {
  const row = (name: string, counts: (clause: Clause) => boolean): string =>
    `| ${name} | ${mqtt5Clauses.filter(counts).length} | ${mqtt311Clauses.filter(counts).length} |`;
  const pending = new Set(pendingIds());
  return [
    row('statements', () => true),
    row('bind the server', ({ binds }) => binds !== 'client'),
    row('of these with a test', ({ id, binds }) => binds !== 'client' && byId.has(id)),
    row('pending', ({ id }) => pending.has(id)),
    row('nothing to show', ({ id }) => id in inapplicableClauses),
    row('bind clients only', ({ binds }) => binds === 'client'),
    row('of these enforced by a test', ({ id, binds }) => binds === 'client' && byId.has(id)),
  ];
}

function pendingTable(): string[] {
  const rows = Object.entries(pendingClauses).filter(([, ids]) => ids.length > 0);
  if (rows.length === 0) return ['Nothing.', ''];
  return [
    '| waits for | statements |',
    '|---|---|',
    ...rows.map(([subject, ids]) => `| ${subject} | ${ids.join(', ')} |`),
    '',
  ];
}

function table(clauses: readonly Clause[], byId: ReadonlyMap<string, readonly Proof[]>): string[] {
  return [
    '| statement | binds | in words | tests |',
    '|---|---|---|---|',
    ...clauses.map(({ id, binds, words }) => {
      const tests = testsCell(byId.get(id) ?? []);
      return `| ${id} | ${binds} | ${words} | ${tests || excuse(id, binds)} |`;
    }),
  ];
}

/** A line for each file, with the titles that stand in it. */
function testsCell(proofs: readonly Proof[]): string {
  const byFile = new Map<string, Set<string>>();
  for (const { file, title } of proofs) {
    const plain = title.replaceAll(/\s*\[MQTT[^\]]*\]\s*/g, ' ').trim();
    const titles = byFile.get(file) ?? new Set();
    byFile.set(file, titles.add(plain.replaceAll(/[\\`*_{}<>$#+!|]/g, (sign) => `\\${sign}`)));
  }
  return Array.from(byFile, ([file, titles]) => {
    const name = file.split('/').at(-1) ?? file;
    return `[${name}](../${file}): ${[...titles].join('; ')}`;
  }).join('<br>');
}

function excuse(id: string, binds: Clause['binds']): string {
  const inapplicable = inapplicableClauses[id];
  if (inapplicable !== undefined) return inapplicable;
  const [subject] = Object.entries(pendingClauses).find(([, ids]) => ids.includes(id)) ?? [];
  if (subject !== undefined) return `pending: ${subject}`;
  return binds === 'client' ? 'binds clients only' : '**none**';
}
