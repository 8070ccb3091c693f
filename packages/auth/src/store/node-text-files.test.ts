import {
  mkdtemp,
  readdir,
  readFile,
  readlink,
  rm,
  stat,
  symlink,
  writeFile,
} from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import { nodeTextFiles } from './node-text-files.ts';

describe('the disk', () => {
  const files = nodeTextFiles();
  let folder: string;
  let path: string;
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'files-'));
    path = join(folder, 'file');
    await writeFile(path, 'before', { mode: 0o600 });
  });
  afterEach(() => rm(folder, { recursive: true }));

  it('replaces a file, with who may read it, and leaves nothing beside it', async () => {
    await files.replace(path, 'after');
    expect(await readFile(path, 'utf8')).toBe('after');
    expect((await stat(path)).mode & 0o777).toBe(0o600);
    expect(await readdir(folder)).toEqual(['file']);
  });

  it('leaves a link a link', async () => {
    const link = join(folder, 'link');
    await symlink(path, link);
    await files.replace(link, 'after');
    expect(await readlink(link)).toBe(path);
    expect(await readFile(path, 'utf8')).toBe('after');
  });

  it('does not make a file that is not there', async () => {
    await expect(files.replace(join(folder, 'other'), 'x')).rejects.toThrow('ENOENT');
    expect(await readdir(folder)).toEqual(['file']);
  });

  it('has another stamp for a file that was replaced, and one for none', async () => {
    const before = await files.stamp(path);
    await files.replace(path, 'BEFORE');
    expect(await files.stamp(path)).not.toBe(before);
    expect(await files.stamp(join(folder, 'other'))).toBe('none');
  });
});
