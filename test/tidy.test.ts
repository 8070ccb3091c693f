import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';

import { describe, expect, it } from 'vitest';

import { layerViolations, purityViolations, type SourceFile } from './layers.ts';

const root = join(import.meta.dirname, '..');

function sources(): SourceFile[] {
  const listed = execFileSync('git', ['ls-files', '-co', '--exclude-standard'], { cwd: root });
  return listed
    .toString()
    .split('\n')
    .filter((path) => /^(packages|test|proto)\/.*\.(ts|mjs)$/.test(path))
    .map((path) => ({ path, text: readFileSync(join(root, path), 'utf8') }));
}

describe('the layers', () => {
  it('are kept', () => {
    expect(layerViolations(sources())).toEqual([]);
  });

  it.each([
    ['upwards', 'packages/core/src/planted.ts', "import { x } from '@robustmq/rpc';"],
    ['sideways', 'packages/rpc/src/planted.ts', "import { x } from '@robustmq/record-batch';"],
    [
      'past the door',
      'packages/cli/src/planted.ts',
      "import { x } from '@robustmq/core/src/ids.ts';",
    ],
    ['of a test package', 'packages/mqtt/src/planted.ts', "import { x } from '@robustmq/testkit';"],
    ['re-exports', 'packages/kernel/src/planted.ts', "export { x } from '@robustmq/mqtt';"],
  ])('catch a planted import %s', (_name, path, text) => {
    expect(layerViolations([{ path, text }])).toHaveLength(1);
  });
});

describe('clocks, randomness and I/O', () => {
  it('stand in the shells only', () => {
    expect(purityViolations(sources())).toEqual([]);
  });

  it.each(['Date.now()', 'setTimeout(f, 1)', 'Math.random()', "import fs from 'node:fs'"])(
    'a planted %s is caught',
    (text) => {
      expect(purityViolations([{ path: 'packages/kernel/src/planted.ts', text }])).toHaveLength(1);
    },
  );
});

describe('the text', () => {
  it('names no absolute path of a machine and nothing outside the project', () => {
    const wrong = /\/(?:work|root|home\/\w+)\//;
    const found = sources().filter(
      (file) => wrong.test(file.text) && file.path !== 'test/tidy.test.ts',
    );
    expect(found.map((file) => file.path)).toEqual([]);
  });

  it('has no file that nobody can hold in the head', () => {
    const long = sources()
      .filter((file) => !file.path.includes('/generated/'))
      .filter((file) => file.text.split('\n').length > 700);
    expect(long.map((file) => file.path)).toEqual([]);
  });
});
