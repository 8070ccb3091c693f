import { spawnSync } from 'node:child_process';

/**
 * Undefined when `command` is here, or could be installed with Debian's `packages`; else why not, and what to
 * do about it.
 */
export function commandMissing(command: string, ...packages: string[]): string | undefined {
  const has = (): boolean => spawnSync(command, ['--version']).error === undefined;
  if (has()) return undefined;
  const names = packages.join(' ');
  if (process.getuid?.() !== 0) {
    return `there is no ${command}, and only root can install it: apt-get install ${names}`;
  }
  spawnSync('apt-get', ['update', '-q'], { timeout: 50_000 });
  spawnSync('apt-get', ['install', '-y', '-q', ...packages], { timeout: 50_000 });
  return has() ? undefined : `there is no ${command}: apt-get install ${names} failed`;
}
