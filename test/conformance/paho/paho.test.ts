import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { describe, expect, it, vi } from 'vitest';

import { runPaho } from './paho.ts';
import { runSuiteFile } from './suite-run.ts';

const hasPython = spawnSync('python3', ['--version']).error === undefined;

/** A file as the suite has them: it reads its own options and hands over to unittest. */
const script = `
import getopt, sys, unittest

class Test(unittest.TestCase):
    def test_passes(self):
        self.assertEqual(port, 4711)
    def test_fails(self):
        self.assertEqual(port, 1)
    def test_breaks(self):
        raise RuntimeError("broken")
    def test_is_skipped(self):
        self.skipTest("not today")

if __name__ == "__main__":
    opts, args = getopt.gnu_getopt(sys.argv[1:], "p:", ["port="])
    port = int(opts[0][1])
    unittest.main()
`;

describe.skipIf(!hasPython)('a file of the suite', () => {
  async function run(text: string): ReturnType<typeof runSuiteFile> {
    const folder = mkdtempSync(join(tmpdir(), 'robustmq-suite-'));
    try {
      writeFileSync(join(folder, 'suite.py'), text);
      return await runSuiteFile(join(folder, 'suite.py'), 4711);
    } finally {
      rmSync(folder, { recursive: true });
    }
  }

  it('is run as it stands; only what passed has passed', async () => {
    const tests = await run(script);
    expect(tests.map(({ test, passed }) => `${test} ${passed}`).toSorted()).toEqual([
      'test_breaks false',
      'test_fails false',
      'test_is_skipped false',
      'test_passes true',
    ]);
    expect(tests.find(({ test }) => test === 'test_fails')?.wrong).toContain('4711 != 1');
  });

  it('that cannot be run is an error with what it printed', async () => {
    await expect(run('import a_module_that_is_not_there')).rejects.toThrow(
      'a_module_that_is_not_there',
    );
  });
});

it.each([
  ['none', []],
  ['another folder', ['--suite', tmpdir()]],
])('without the suite it is skipped, with the reason: %s', async (_name, args) => {
  const log = vi.spyOn(console, 'log').mockImplementation(() => {});
  expect(await runPaho(args)).toBeUndefined();
  expect(log.mock.calls.join()).toMatch(/skipped: .*git clone/);
  log.mockRestore();
});
