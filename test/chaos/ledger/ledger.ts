import { execFileSync } from 'node:child_process';
import { appendFileSync, existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

import { type ViolationKind, violationKinds } from '../../history/violations.ts';
import type { ChaosResult } from '../chaos-options.ts';

/** What a run was. */
export interface LedgerRun {
  readonly commit: string;
  readonly seed: number;
  readonly journals: number;
  readonly disks: 'small' | 'own';
  readonly tls: boolean;
}

/** One run of `pnpm chaos --ledger`, the first attempt of its seed. */
export interface LedgerEntry
  extends
    LedgerRun,
    Pick<ChaosResult, 'rounds' | 'counts' | 'acknowledged' | 'longestMs' | 'outages'> {
  /** How often each kind was found. */
  readonly violations: Readonly<Record<ViolationKind, number>>;
  /** It did not go on although everything was up. */
  readonly stuck: boolean;
}

const file = join(import.meta.dirname, 'ledger.jsonl');
const root = join(import.meta.dirname, '../../..');
/** Entries from before the last change of these do not count; tests and documents change nothing. */
const counted = [
  'packages/journal-*',
  'packages/placement*',
  'packages/core',
  'packages/rpc',
  'packages/record-batch',
  ':(exclude)*.test.ts',
  ':(exclude)*.fixture.ts',
  ':(exclude)*.md',
];

export function readLedger(): LedgerEntry[] {
  if (!existsSync(file)) return [];
  const lines = readFileSync(file, 'utf8').split('\n');
  return lines.filter((line) => line !== '').map((line) => JSON.parse(line) as LedgerEntry);
}

/** Throws when the seed has had its attempt: only first ones count. */
export function checkFirstAttempt(seed: number): void {
  const had = readLedger().some((entry) => entry.seed === seed);
  if (had)
    throw new Error(`seed ${seed} is in the ledger: only first attempts count, take another`);
}

/** Appends what became of a run; of one that never began, when there is no result. */
export function appendToLedger(run: LedgerRun, result: ChaosResult | undefined): void {
  const { rounds = 0, counts = {}, acknowledged = 0, longestMs = 0, outages = {} } = result ?? {};
  const found = violationKinds.map((kind) => [kind, result?.violationCounts[kind] ?? 0] as const);
  const entry: LedgerEntry = {
    ...run,
    rounds,
    counts,
    acknowledged,
    violations: Object.fromEntries(found) as Record<ViolationKind, number>,
    longestMs,
    stuck: result === undefined || result.stuck !== undefined,
    outages,
  };
  appendFileSync(file, `${JSON.stringify(entry)}\n`);
}

/** The commit that the working tree is. Throws when something but the ledger was changed since. */
export function currentCommit(): string {
  const changed = git(root, 'status', '--porcelain', '--', '.', ':(exclude)test/chaos/ledger');
  if (changed.trim() !== '') {
    throw new Error(`commit first, an entry names its commit:\n${changed}`);
  }
  return git(root, 'rev-parse', 'HEAD').trim();
}

/** The entries that were made on the code of now, as the repository in `folder` has it. */
export function countingEntries<T extends { readonly commit: string }>(
  entries: readonly T[],
  folder = root,
): T[] {
  const last = git(folder, 'log', '-1', '--format=%H', '--', ...counted).trim();
  const commits = new Set(entries.map((entry) => entry.commit));
  const newEnough = new Set([...commits].filter((commit) => isAncestor(folder, last, commit)));
  return entries.filter((entry) => newEnough.has(entry.commit));
}

function isAncestor(folder: string, ancestor: string, commit: string): boolean {
  try {
    git(folder, 'merge-base', '--is-ancestor', ancestor, commit);
    return true;
  } catch {
    return false; // Not one, or a commit that is not in this repository.
  }
}

function git(folder: string, ...args: string[]): string {
  return execFileSync('git', args, {
    cwd: folder,
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'pipe'],
  });
}
