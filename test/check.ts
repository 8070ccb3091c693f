/** `pnpm check`: everything that can be said about the code without running it. */
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';

const root = join(import.meta.dirname, '..');
const steps: readonly [name: string, command: string, ...args: string[]][] = [
  ['format', 'oxfmt', '--check', '.'],
  ['lint', 'oxlint', '--type-aware', '--deny-warnings', '.'],
  ['types', 'tsc', '-p', '.'],
  ['unused code', 'knip', '--no-progress'],
  ['layers', 'vitest', 'run', 'test/tidy.test.ts', '--reporter=dot'],
  ['generated code', process.execPath, 'proto/generate.ts', '--check'],
  ['MQTT statements', process.execPath, 'test/conformance/run.ts', 'clauses', '--check'],
];

let failed = 0;
for (const [name, command, ...args] of steps) {
  const path = `${join(root, 'node_modules/.bin')}:${process.env['PATH'] ?? ''}`;
  const done = spawnSync(command, args, {
    cwd: root,
    env: { ...process.env, PATH: path },
    encoding: 'utf8',
  });
  const passed = done.status === 0;
  console.log(`${passed ? 'ok    ' : 'FAILED'} ${name}`);
  if (!passed) {
    failed++;
    console.log([done.stdout, done.stderr].join('\n').trim());
  }
}
console.log(failed === 0 ? 'check: all good' : `check: ${failed} of ${steps.length} failed`);
process.exitCode = failed === 0 ? 0 : 1;
