import { spawn } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';

import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import { entry, RunningRole } from './command.fixture.ts';

let folder: string;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'robustmq-roles-'));
});
afterEach(() => rm(folder, { recursive: true }));

const free = '127.0.0.1:0';
const quiet = ['--log-level', 'error', '--http-listen', free];

function startPlacement(listen = free): Promise<RunningRole> {
  const data = ['--data-dir', join(folder, 'placement')];
  return RunningRole.start(['placement', ...data, '--listen', listen, ...quiet]);
}

function startJournal(placement: string): Promise<RunningRole> {
  const data = ['--data-dir', join(folder, 'journal')];
  const near = ['--placement', placement];
  return RunningRole.start(['journal', ...data, ...near, '--listen', free, ...quiet]);
}

function startBroker(placement: string, ...more: string[]): Promise<RunningRole> {
  const near = ['--placement', placement, '--mqtt-listen', free];
  return RunningRole.start(['broker', ...near, '--listen', free, ...quiet, ...more]);
}

/** Asks until the page answers with this status; its body then. */
async function pageWith(role: RunningRole, path: string, status: number): Promise<string> {
  for (;;) {
    const page = await role.page(path);
    if (page.status === status) return page.body;
    await pause(50);
  }
}

function grpcOf(role: RunningRole): string {
  return role.addresses['grpc'] ?? '';
}

interface Family {
  readonly name: string;
  readonly help: string;
  readonly type: string;
}

function familiesOf(text: string): Family[] {
  return [...text.matchAll(/^# HELP (\S+) ?(.*)\n# TYPE \S+ (\S+)$/gm)].map(
    ([, name = '', help = '', type = '']) => ({ name, help, type }),
  );
}

/** What breaks https://prometheus.io/docs/practices/naming, one line each. */
function namingFaults({ name, help, type }: Family): string[] {
  const faults: string[] = [];
  if (!/^[a-z][a-z0-9_]*$/.test(name)) faults.push(`${name}: not snake case`);
  if (help === '') faults.push(`${name}: no help text`);
  if ((type === 'counter') !== name.endsWith('_total')) {
    faults.push(`${name}: a ${type}; counters end in _total, nothing else does`);
  }
  if (/_(ms|millis|milliseconds|us|kb|mb|kib|mib)(_|$)/.test(name)) {
    faults.push(`${name}: not in base units`);
  }
  return faults;
}

async function expectWellNamed(role: RunningRole, prefixes: readonly string[]): Promise<void> {
  const { status, body } = await role.page('/metrics');
  expect(status).toBe(200);
  const families = familiesOf(body);
  const own = families.filter(({ name }) => name.startsWith('robustmq_'));
  expect(own.flatMap(namingFaults)).toEqual([]);
  expect([...new Set(own.map(({ name }) => name.split('_', 2).join('_')))].toSorted()).toEqual(
    prefixes,
  );
  expect(new Set(families.map(({ name }) => name)).size).toBe(families.length);
  const samples = body.split('\n').filter((line) => line !== '' && !line.startsWith('#'));
  const series = samples.map((line) => line.slice(0, line.lastIndexOf(' ')));
  expect(new Set(series).size).toBe(series.length);
}

describe('the roles', () => {
  it('name their metrics by convention, say truly whether they can serve, and drain at SIGTERM', async () => {
    await using placement = await startPlacement();
    const near = grpcOf(placement);
    await using journal = await startJournal(near);
    await using broker = await startBroker(near);
    const roles = [broker, journal, placement];
    await expectWellNamed(placement, ['robustmq_placement']);
    await expectWellNamed(journal, ['robustmq_journal']);
    await expectWellNamed(broker, ['robustmq_broker', 'robustmq_mqtt']);
    for (const role of roles) {
      expect(await role.page('/health/ready')).toEqual({ status: 200, body: 'ok\n' });
      expect(await role.page('/health/live')).toEqual({ status: 200, body: 'ok\n' });
    }

    // Without placement the others go on with what they know.
    await placement.stop('SIGKILL');
    expect(await journal.page('/health/ready')).toMatchObject({ status: 200 });
    expect(await broker.page('/health/ready')).toMatchObject({ status: 200 });
    await using secondPlacement = await startPlacement(near);

    // Without a journal a broker is of no use, but lives.
    await journal.stop('SIGKILL');
    expect(await pageWith(broker, '/health/ready', 503)).toMatch(/^no journal is up/);
    expect(await broker.page('/health/live')).toMatchObject({ status: 200 });
    await using secondJournal = await startJournal(near);
    await pageWith(broker, '/health/ready', 200);

    for (const role of [broker, secondJournal, secondPlacement]) expect(await role.stop()).toBe(0);
  });

  it('in one process share one registry, and stop at Ctrl-C', async () => {
    const args = ['--data-dir', folder, '--listen', free, '--mqtt-listen', free];
    await using role = await RunningRole.start(['start', ...args, ...quiet]);
    await expectWellNamed(role, [
      'robustmq_broker',
      'robustmq_journal',
      'robustmq_mqtt',
      'robustmq_placement',
    ]);
    expect(await role.page('/health/ready')).toMatchObject({ status: 200 });
    expect(await role.stop('SIGINT')).toBe(0);
  });

  it('of the development cluster end in order with it, brokers first', async () => {
    const args = ['--data-dir', folder, '--listen', free, '--mqtt-listen', free];
    await using dev = await RunningRole.start(['dev', ...args]);
    expect(await dev.stop('SIGINT')).toBe(0);
    const ended = dev.lines.flatMap((line) => /^(\w+)\S* +ended \(0\)$/.exec(line)?.[1] ?? []);
    expect(ended).toEqual(['broker', 'broker', 'journal', 'journal', 'journal', 'placement']);
  });

  it('that wait are alive, not ready', async () => {
    // A port that nobody else gets while the broker asks it for placement.
    const nobody = createServer((socket) => socket.destroy());
    await new Promise<void>((resolve) => nobody.listen(0, '127.0.0.1', resolve));
    const bound = nobody.address();
    const away = `127.0.0.1:${typeof bound === 'object' ? bound?.port : 0}`;
    const probe = createServer();
    await new Promise<void>((resolve) => probe.listen(0, '127.0.0.1', resolve));
    const own = probe.address();
    const http = `127.0.0.1:${typeof own === 'object' ? own?.port : 0}`;
    await new Promise((resolve) => probe.close(resolve));
    const ready = startBroker(away, '--http-listen', http).catch((error: unknown) => error);
    const page = async (path: string): Promise<Response> => {
      for (;;) {
        try {
          return await fetch(`http://${http}${path}`);
        } catch {
          await pause(50);
        }
      }
    };
    expect((await page('/health/live')).status).toBe(200);
    const waiting = await page('/health/ready');
    expect([waiting.status, await waiting.text()]).toEqual([503, 'it is starting\n']);
    // Its placement comes: now it is ready.
    await new Promise((resolve) => nobody.close(resolve));
    await using placement = await startPlacement(away);
    const broker = await ready;
    if (!(broker instanceof RunningRole)) throw broker;
    await using started = broker;
    expect((await started.page('/health/ready')).body).toMatch(/^no journal is up/);
    expect(grpcOf(placement)).toBe(away);
  });

  it('that wait end at SIGTERM, with 0', async () => {
    const args = ['--listen', free, '--placement', '127.0.0.1:1', '--mqtt-listen', free];
    const child = spawn(process.execPath, [entry, 'broker', ...args, '--log-level', 'warn'], {
      stdio: ['ignore', 'ignore', 'pipe'],
    });
    const ended = new Promise<number | null>((resolve) => child.once('close', resolve));
    // Its first line: placement does not answer.
    await new Promise((resolve) => child.stderr.once('data', resolve));
    child.kill('SIGTERM');
    expect(await ended).toBe(0);
  });
});
