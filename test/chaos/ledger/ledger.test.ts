import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';

import { afterAll, expect, it } from 'vitest';

import { countingEntries } from './ledger.ts';

const folder = mkdtempSync(join(tmpdir(), 'robustmq-ledger-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

function git(...args: string[]): string {
  const who = ['-c', 'user.name=test', '-c', 'user.email=test@localhost'];
  return execFileSync('git', [...who, ...args], { cwd: folder, encoding: 'utf8' }).trim();
}

let changes = 0;

/** Changes a file in a commit of its own. */
function commit(path: string): string {
  mkdirSync(dirname(join(folder, path)), { recursive: true });
  writeFileSync(join(folder, path), String(changes++));
  git('add', '.');
  git('commit', '-q', '-m', path);
  return git('rev-parse', 'HEAD');
}

function counting(...commits: string[]): string[] {
  return countingEntries(
    commits.map((each) => ({ commit: each })),
    folder,
  ).map((entry) => entry.commit);
}

it('entries count from the last change of the code that they prove on', () => {
  git('init', '-q', '-b', 'main');
  const before = commit('packages/core/src/ids.ts');
  for (const path of [
    'packages/journal-server/src/core/replica.ts',
    'packages/journal-client/src/shard-tail.ts',
    'packages/placement/src/terms.ts',
    'packages/placement-client/src/catalog.ts',
    'packages/rpc/src/status.ts',
    'packages/record-batch/src/frame.ts',
    'packages/core/src/limits.ts',
  ]) {
    const changed = commit(path);
    expect(counting(before, changed), path).toEqual([changed]);
    expect(counting(`${changed}~1`), path).toEqual([]);
  }
  const last = git('rev-parse', 'HEAD');
  for (const path of [
    'packages/mqtt/src/index.ts',
    'packages/journal-server/src/core/replica.test.ts',
    'packages/placement/src/cluster.fixture.ts',
    'packages/placement/DESIGN.md',
    'test/chaos/run.ts',
  ]) {
    const changed = commit(path);
    expect(counting(before, last, changed), path).toEqual([last, changed]);
  }
});

it('an entry of a commit that is nowhere does not count', () => {
  expect(counting('0'.repeat(40))).toEqual([]);
});
