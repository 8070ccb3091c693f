import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, rmSync, statfsSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';

import { type UndoFolders, undoEnvironment } from '../power/power-loss.ts';
import { buildUndoShim } from '../power/shim-library.ts';

/** A small disk of its own for each role, 1 GiB. */
const tmpfsOptions = ['-t', 'tmpfs', '-o', 'size=1g', 'tmpfs'];
const fillTries = 20;

/** The disks of the roles that keep something, and what can be done to them. */
export class NodeDisks implements Disposable {
  readonly #base = mkdtempSync(join(tmpdir(), 'robustmq-chaos-'));
  readonly #logs: string;
  readonly #library: string;
  readonly #mounted = new Set<string>();
  readonly #isSmall: boolean;
  /** Why there is no shim: nothing is undone then, and no sync is slow. */
  readonly shimMissing: string | undefined;

  /** @param isSmall a tmpfs for each, which can be filled. */
  constructor(isSmall: boolean) {
    this.#isSmall = isSmall;
    // In memory: the logs are written far more often than they are read.
    const memory = '/dev/shm';
    this.#logs = existsSync(memory) ? join(memory, basename(this.#base)) : join(this.#base, 'logs');
    this.#library = join(this.#base, 'shim.so');
    this.shimMissing = buildUndoShim(this.#library);
  }

  /** Why there can be no small disks here; undefined when there can. */
  static smallMissing(): string | undefined {
    const isRoot = process.platform === 'linux' && process.getuid?.() === 0;
    return isRoot ? undefined : 'only root can mount a tmpfs';
  }

  get isSmall(): boolean {
    return this.#isSmall;
  }

  /** Makes the role's disk, if it is not there. */
  folders(name: string): UndoFolders {
    const disk = join(this.#base, name);
    if (!existsSync(disk)) {
      mkdirSync(disk);
      if (this.#isSmall && spawnSync('mount', [...tmpfsOptions, disk]).status === 0) {
        this.#mounted.add(disk);
      }
    }
    return { root: join(disk, 'data'), shadow: join(disk, 'shadow'), undo: join(this.#logs, name) };
  }

  environment(name: string): Record<string, string> {
    if (this.shimMissing !== undefined) return {};
    const folders = this.folders(name);
    return { ...undoEnvironment(this.#library, folders), SHIM_SYNC: this.#control(name) };
  }

  /** How long each sync of the role takes in addition, ms; `fail`: it fails. */
  setSync(name: string, how: number | 'fail'): void {
    writeFileSync(this.#control(name), String(how));
  }

  /** Leaves about so many bytes free. */
  fill(name: string, freeBytes: number): void {
    const disk = join(this.#base, name);
    // What the role takes or gives back meanwhile makes one try fail.
    for (let tries = 0; tries < fillTries; tries++) {
      const { bavail, bsize } = statfsSync(disk);
      const bytes = bavail * bsize - freeBytes;
      if (bytes <= 0) return;
      const ballast = join(disk, `ballast-${tries}`);
      if (spawnSync('fallocate', ['-l', String(bytes), ballast]).status === 0) return;
      rmSync(ballast, { force: true });
    }
    throw new Error(`the disk of ${name} could not be filled`);
  }

  empty(name: string): void {
    for (let tries = 0; tries < fillTries; tries++) {
      rmSync(join(this.#base, name, `ballast-${tries}`), { force: true });
    }
  }

  [Symbol.dispose](): void {
    for (const disk of this.#mounted) spawnSync('umount', ['-l', disk]);
    for (const folder of [this.#base, this.#logs]) {
      rmSync(folder, { recursive: true, force: true });
    }
  }

  #control(name: string): string {
    return join(this.#base, `${name}.sync`);
  }
}
