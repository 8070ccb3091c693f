import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { afterAll, describe, expect, it } from 'vitest';

import { SeededRandom } from '../kill/seeded-random.ts';
import { losePower, type LossKind, undoEnvironment } from './power-loss.ts';
import { buildUndoShim } from './shim-library.ts';

const folder = mkdtempSync(join(tmpdir(), 'robustmq-power-'));
const library = join(folder, 'shim.so');
const reason = buildUndoShim(library);
afterAll(() => rmSync(folder, { recursive: true, force: true }));
let runs = 0;

/** Runs a script with the files of `before` in its folder, kills it at its end, and loses power. */
function after(script: string, before: Record<string, string>, kind: LossKind, seed = 1) {
  const own = join(folder, String(runs++));
  const folders = { root: join(own, 'data'), undo: join(own, 'undo'), shadow: join(own, 'shadow') };
  mkdirSync(folders.root, { recursive: true });
  for (const [name, text] of Object.entries(before)) writeFileSync(join(folders.root, name), text);
  const setup = `const fs = require('node:fs'); process.chdir(${JSON.stringify(folders.root)});
    const at = (name) => process.cwd() + '/' + name;
    const put = (name, text, where, sync) => {
      const fd = fs.openSync(at(name), fs.existsSync(at(name)) ? 'r+' : 'w');
      fs.writeSync(fd, text, where);
      if (sync) fs.fdatasyncSync(fd);
    };
    const syncFolder = () => fs.fsyncSync(fs.openSync(process.cwd(), 'r'));`;
  const end = `process.kill(process.pid, 'SIGKILL');`;
  const env = { ...process.env, ...undoEnvironment(library, folders) };
  const ran = spawnSync(process.execPath, ['-e', `${setup}\n${script}\n${end}`], { env });
  expect([ran.signal, ran.stderr.toString()]).toEqual(['SIGKILL', '']);
  losePower(folders, new SeededRandom(seed), kind);
  const names = readdirSync(folders.root).sort((a, b) => (a < b ? -1 : 1));
  return Object.fromEntries(
    names.map((name) => [name, readFileSync(join(folders.root, name), 'utf8')]),
  );
}

const title = `a loss of power${reason === undefined ? '' : ` (skipped: ${reason})`}`;
describe.skipIf(reason !== undefined)(title, () => {
  it('takes writes that no sync covers, and leaves those that one covers', () => {
    const script = `put('log', 'AB', 0, true); put('log', 'xy', 1, false); put('log', '!!!!', 6, false);`;
    expect(after(script, { log: 'abcd' }, 'everything')).toEqual({ log: 'ABcd' });
  });

  it('takes a cut that was not synced', () => {
    const script = `fs.truncateSync(at('log'), 1); fs.ftruncateSync(fs.openSync(at('log'), 'r+'), 2);`;
    expect(after(script, { log: 'abcd' }, 'everything')).toEqual({ log: 'abcd' });
  });

  it('takes names whose folder was not synced, and leaves the others', () => {
    const script = `put('kept', '1', 0, true); fs.renameSync(at('a'), at('b')); syncFolder();
      put('lost', '2', 0, true); fs.renameSync(at('b'), at('c')); fs.unlinkSync(at('d'));`;
    const before = { a: 'A', c: 'C', d: 'D' };
    const expected = { b: 'A', c: 'C', d: 'D', kept: '1' };
    expect(after(script, before, 'everything')).toEqual(expected);
  });

  it('leaves each sector in a state that it was in', () => {
    const sector = 'const of = (letter) => letter.repeat(8192);';
    const script = `${sector} put('log', of('b'), 0, true); put('log', of('e'), 8192, false); put('log', of('c'), 0, false); put('log', of('d'), 0, false);`;
    const seen = new Set<string>();
    for (let seed = 0; seed < 8; seed++) {
      const { log = '' } = after(script, { log: 'a'.repeat(8192) }, 'sectors', seed);
      for (let at = 0; at < log.length; at += 512) {
        const one = log.slice(at, at + 512);
        expect(one).toBe(one[0]?.repeat(one.length));
        seen.add(one[0] ?? '');
      }
    }
    expect(seen).toEqual(new Set(['b', 'c', 'd', 'e', '\0']));
  });
});
