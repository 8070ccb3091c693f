import { open, readFile, realpath, rename, stat, unlink } from 'node:fs/promises';

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
  // A link stays a link.
  const target = await realpath(path);
  const { mode } = await stat(target);
  const beside = `${target}.${process.pid}.new`;
  try {
    const file = await open(beside, 'w', mode & 0o777);
    try {
      await file.writeFile(text);
      await file.sync();
    } finally {
      await file.close();
    }
    await rename(beside, target);
  } catch (thrown) {
    await unlink(beside).catch(() => {});
    throw thrown;
  }
}
