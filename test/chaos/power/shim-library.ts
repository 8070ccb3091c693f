import { spawnSync } from 'node:child_process';
import { join } from 'node:path';

/** Builds the shim as `library`; why it cannot be used here, or undefined. */
export function buildUndoShim(library: string): string | undefined {
  if (process.platform !== 'linux') return 'LD_PRELOAD is for Linux';
  const source = join(import.meta.dirname, 'undo-shim.c');
  const flags = ['-shared', '-fPIC', '-O1', '-Wall'];
  const { status } = spawnSync('cc', [...flags, '-o', library, source, '-ldl', '-lpthread']);
  return status === 0 ? undefined : 'no C compiler';
}
