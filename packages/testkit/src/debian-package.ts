import { spawnSync } from 'node:child_process';

/**
 * Undefined when `command` is here, or could be installed with Debian's `packages`; else why not, and what to
 * do about it.
 */
export function commandMissing(command: string, ...packages: string[]): string | undefined {
  const has = (): boolean => spawnSync(command, ['--version']).error === undefined;
  return missing(command, has, packages);
}

/** Debian's own Python, which has the modules of Debian's packages. */
export const debianPython = '/usr/bin/python3';

/** The same for a module of {@link debianPython}. */
export function pythonModuleMissing(module: string, ...packages: string[]): string | undefined {
  const has = (): boolean => spawnSync(debianPython, ['-c', `import ${module}`]).status === 0;
  return missing(`Python module ${module}`, has, packages);
}

function missing(
  what: string,
  has: () => boolean,
  packages: readonly string[],
): string | undefined {
  if (has()) return undefined;
  const names = packages.join(' ');
  if (process.getuid?.() !== 0) {
    return `there is no ${what}, and only root can install it: apt-get install ${names}`;
  }
  spawnSync('apt-get', ['update', '-q'], { timeout: 50_000 });
  spawnSync('apt-get', ['install', '-y', '-q', ...packages], { timeout: 50_000 });
  return has() ? undefined : `there is no ${what}: apt-get install ${names} failed`;
}
