import { existsSync } from 'node:fs';
import { mkdtemp, open, readFile, rm, writeFile } from 'node:fs/promises';
import { createServer, type Server } from 'node:net';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { spawnSync } from 'node:child_process';

import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import { runCommand, RunningRole } from './command.fixture.ts';

// What a newcomer meets: one line on standard error that says what is wrong and what to do, and code 1.

let folder: string;
let taken: Server;
/** HOST:PORT that another program has. */
let takenAddress: string;
let placement: RunningRole;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'robustmq-errors-'));
  taken = createServer();
  await new Promise<void>((resolve) => taken.listen(0, '127.0.0.1', resolve));
  const address = taken.address();
  takenAddress = `127.0.0.1:${typeof address === 'object' ? address?.port : 0}`;
  placement = await RunningRole.start(placementArgs('placement'));
});

afterAll(async () => {
  taken.close();
  await placement[Symbol.asyncDispose]();
  await rm(folder, { recursive: true });
});

const free = '127.0.0.1:0';

function placementArgs(name: string, ...more: string[]): string[] {
  const data = ['--data-dir', join(folder, name)];
  return ['placement', ...data, '--listen', free, '--http-listen', free, ...more];
}

function journalArgs(name: string, ...more: string[]): string[] {
  const near = ['--placement', placement.addresses['grpc'] ?? ''];
  const data = ['--data-dir', join(folder, name)];
  return ['journal', ...data, ...near, '--listen', free, '--http-listen', free, ...more];
}

function brokerArgs(...more: string[]): string[] {
  const near = ['--placement', placement.addresses['grpc'] ?? ''];
  const listen = ['--listen', free, '--http-listen', free, '--mqtt-listen', free];
  return ['broker', ...near, ...listen, ...more];
}

async function expectLine(args: readonly string[], line: RegExp): Promise<void> {
  const { code, errors } = await runCommand(args);
  expect(errors).toEqual([expect.stringMatching(line)]);
  expect(code).toBe(1);
}

describe('a port that is taken', () => {
  it.each([
    ['placement, gRPC', '--listen', (flag: string) => placementArgs('p', flag, takenAddress)],
    ['placement, HTTP', '--http-listen', (flag: string) => placementArgs('p', flag, takenAddress)],
    ['journal, gRPC', '--listen', (flag: string) => journalArgs('j', flag, takenAddress)],
    ['journal, HTTP', '--http-listen', (flag: string) => journalArgs('j', flag, takenAddress)],
    ['broker, gRPC', '--listen', (flag: string) => brokerArgs(flag, takenAddress)],
    ['broker, HTTP', '--http-listen', (flag: string) => brokerArgs(flag, takenAddress)],
    ['broker, MQTT', '--mqtt-listen', (flag: string) => brokerArgs(flag, takenAddress)],
  ])('%s', async (_name, flag, args) => {
    const line = `^robustmq: ${takenAddress} is taken by another program.* with ${flag} HOST:PORT$`;
    await expectLine(args(flag), new RegExp(line));
  });
});

describe('a data folder', () => {
  it('that another process uses: placement', async () => {
    await expectLine(placementArgs('placement'), /^robustmq: .*placement.* in use by another/);
  });

  it('that another process uses, of another version: journal', async () => {
    const args = journalArgs('journal');
    await using journal = await RunningRole.start(args);
    await expectLine(args, /^robustmq: .*journal is in use by another process/);
    await journal.stop();
    const file = join(folder, 'journal/node.json');
    const content = await readFile(file, 'utf8');
    await writeFile(file, content.replace('"formatVersion": 2', '"formatVersion": 7'));
    await expectLine(args, /^robustmq: .*has format version 7, this program reads 2/);
  });

  it('of another version: placement', async () => {
    const args = placementArgs('older');
    await using role = await RunningRole.start(args);
    expect(await role.stop()).toBe(0);
    const file = await open(join(folder, 'older/placement.db'), 'r+');
    const userVersionAt = 60;
    await file.write(Buffer.from([0, 0, 0, 7]), 0, 4, userVersionAt);
    await file.close();
    await expectLine(args, /^robustmq: .*has format version 7, this program reads version 1/);
  });
});

describe('what was typed', () => {
  it.each([
    [['broker', '--lisen', free], /unknown option '--lisen' \(Did you mean --listen\?\)/],
    [['brok'], /unknown command 'brok'/],
    [
      ['journal', '--unflushed-bytes-max', 'lots'],
      /--unflushed-bytes-max "lots": must be a number/,
    ],
    [['placement', '--listen', '0.0.0.0:7400'], /--insecure-cluster/],
    [['start', '--kafka-listen', free], /speaks MQTT only/],
    [['start', '--config', '/no/such/file'], /configuration file \/no\/such\/file: ENOENT/],
    [['topic', 'create', 'a', '--partitions', 'x'], /--partitions x: must be a whole number/],
  ])('%j', async (args, line) => {
    await expectLine(args, new RegExp(`^robustmq: .*${line.source}`));
  });

  it.each([[['status']], [['topic', 'list']]])('%j while placement is away', async (args) => {
    await expectLine(
      [...args, '--placement', '127.0.0.1:1'],
      /^robustmq: placement does not answer at 127\.0\.0\.1:1; is it running\?.*--placement/,
    );
  });
});

describe('an older Node', () => {
  const older = (process.env['PATH'] ?? '')
    .split(delimiter)
    .concat('/usr/local/bin', '/usr/bin')
    .map((path) => join(path, 'node'))
    .filter((path) => existsSync(path))
    .find((path) => {
      const version = spawnSync(path, ['--version']).stdout.toString();
      return Number(/^v(\d+)/.exec(version)?.[1]) < 24;
    });

  it.skipIf(older === undefined)('is told which one is needed', async () => {
    const { code, errors } = await runCommand(['start'], older);
    expect(errors).toEqual([expect.stringMatching(/^robustmq needs Node 24 or newer, this is /)]);
    expect(code).toBe(1);
  });
});
