import { open, readFile, rename, stat, unlink } from 'node:fs/promises';

import type { TextFiles } from './text-files.ts';

/** The disk of the machine. */
export function nodeTextFiles(): TextFiles {
  return { read: (path) => readFile(path), stamp, replace };
}

async function stamp(path: string): Promise<string> {
  try {
    const { ino, size, mtimeMs } = await stat(path);
    return `${ino}/${size}/${mtimeMs}`;
  } catch {
    return 'none'; // Reading it will say why.
  }
}

async function replace(path: string, text: string): Promise<void> {
  const { mode } = await stat(path);
  const beside = `${path}.new`;
  const file = await open(beside, 'wx', mode & 0o777);
  try {
    await file.writeFile(text);
    await file.sync();
  } finally {
    await file.close();
  }
  try {
    await rename(beside, path);
  } catch (thrown) {
    await unlink(beside);
    throw thrown;
  }
}
