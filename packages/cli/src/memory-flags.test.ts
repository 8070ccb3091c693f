import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import { RunningRole } from './command.fixture.ts';

const free = '127.0.0.1:0';
const quiet = ['--listen', free, '--http-listen', 'off', '--log-level', 'error'];

let folder: string;
let placement: RunningRole;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'robustmq-flags-'));
  placement = await RunningRole.start(['placement', '--data-dir', join(folder, 'p'), ...quiet]);
});
afterAll(async () => {
  await placement[Symbol.asyncDispose]();
  await rm(folder, { recursive: true });
});

function near(): string[] {
  return ['--placement', placement.addresses['grpc'] ?? '', ...quiet];
}

function journalArgs(): string[] {
  return ['journal', '--data-dir', join(folder, 'j'), ...near()];
}

function brokerArgs(): string[] {
  return ['broker', '--mqtt-listen', free, ...near()];
}

/** V8's memory flags that the running process has on its command line. */
async function memoryFlagsOf(role: RunningRole): Promise<string[]> {
  const line = await readFile(`/proc/${role.child.pid}/cmdline`, 'utf8');
  return line.split('\0').filter((part) => /^--(max.semi|heap.growing|external.memory)/.test(part));
}

// The process that was started is the one that serves: supervisors signal and watch its pid.
describe.skipIf(process.platform !== 'linux')("V8's memory flags", () => {
  it('are set for each role', async () => {
    await using journal = await RunningRole.start(journalArgs());
    await using broker = await RunningRole.start(brokerArgs());
    const wide = ['--max-semi-space-size=8', '--heap-growing-percent=100'];
    expect(await memoryFlagsOf(placement)).toEqual(wide);
    expect(await memoryFlagsOf(broker)).toEqual(wide);
    expect(await memoryFlagsOf(journal)).toEqual([
      '--max-semi-space-size=4',
      '--heap-growing-percent=300',
      '--external-memory-accounted-in-global-limit',
    ]);
  });

  it.each(['--max-semi-space-size=16', '--max_semi_space_size=16'])(
    'on the command line win: %s',
    async (flag) => {
      await using broker = await RunningRole.start(brokerArgs(), { flags: [flag] });
      expect(await memoryFlagsOf(broker)).toEqual([flag, '--heap-growing-percent=100']);
    },
  );

  it('in NODE_OPTIONS win', async () => {
    const environment = { NODE_OPTIONS: '--no-warnings --max-semi-space-size=16' };
    await using broker = await RunningRole.start(brokerArgs(), { environment });
    expect(await memoryFlagsOf(broker)).toEqual(['--heap-growing-percent=100']);
  });
});
