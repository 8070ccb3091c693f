import { execFileSync } from 'node:child_process';
import { appendFileSync, existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

import type { ChaosResult } from '../chaos-run.ts';

/** One run of `pnpm chaos --ledger`, the first attempt of its seed. */
export interface LedgerEntry extends Omit<ChaosResult, 'violations' | 'reads' | 'segments'> {
  readonly commit: string;
  readonly seed: number;
  readonly journals: number;
  readonly rounds: number;
  readonly violations: number;
  /** It did not go on although everything was up. */
  readonly stuck: boolean;
}

const file = join(import.meta.dirname, 'ledger.jsonl');
const root = join(import.meta.dirname, '../../..');
/** Entries from before the last change of these do not count; tests and documents change nothing. */
const counted = [
  'packages/journal-server',
  'packages/placement',
  ':(exclude)*.test.ts',
  ':(exclude)*.fixture.ts',
  ':(exclude)*.md',
];

export function readLedger(): LedgerEntry[] {
  if (!existsSync(file)) return [];
  const lines = readFileSync(file, 'utf8').split('\n');
  return lines.filter((line) => line !== '').map((line) => JSON.parse(line) as LedgerEntry);
}

export function appendToLedger(entry: LedgerEntry): void {
  appendFileSync(file, `${JSON.stringify(entry)}\n`);
}

/** The commit that the working tree is. Throws when something but the ledger was changed since. */
export function currentCommit(): string {
  const changed = git('status', '--porcelain', '--', '.', ':(exclude)test/chaos/ledger').trim();
  if (changed !== '') throw new Error(`commit first, an entry names its commit:\n${changed}`);
  return git('rev-parse', 'HEAD').trim();
}

/** The entries that were made on the journal and the placement of now. */
export function countingEntries(entries: readonly LedgerEntry[]): LedgerEntry[] {
  const last = git('log', '-1', '--format=%H', '--', ...counted).trim();
  const commits = new Set(entries.map((entry) => entry.commit));
  const newEnough = new Set([...commits].filter((commit) => isAncestor(last, commit)));
  return entries.filter((entry) => newEnough.has(entry.commit));
}

function isAncestor(ancestor: string, commit: string): boolean {
  try {
    git('merge-base', '--is-ancestor', ancestor, commit);
    return true;
  } catch {
    return false; // Not one, or a commit that is not in this repository.
  }
}

function git(...args: string[]): string {
  return execFileSync('git', args, {
    cwd: root,
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'pipe'],
  });
}
