import type { Clock, Logger } from '@robustmq/core';
import { type Disk, folderOf, isNoSpace } from './disk.ts';

export const QUARANTINE_FOLDER = 'quarantine';

export interface QuarantineOptions {
  readonly disk: Disk;
  readonly clock: Clock;
  readonly logger: Logger;
}

/**
 * Files that are no replicas any more, or never were: damaged ones that were replaced, and those that nobody
 * knows. Nothing here is ever removed but by a person. Names say when and what:
 * `20261128T101500Z-damaged-{segment}.log`.
 */
export class Quarantine {
  readonly #options: QuarantineOptions;
  #files = 0;
  #bytes = 0;

  private constructor(options: QuarantineOptions) {
    this.#options = options;
  }

  /** Counts what is in the folder, if there is one. */
  static async open(options: QuarantineOptions): Promise<Quarantine> {
    const { disk } = options;
    const quarantine = new Quarantine(options);
    for (const name of await disk.list(QUARANTINE_FOLDER)) {
      await quarantine.#count(`${QUARANTINE_FOLDER}/${name}`);
    }
    return quarantine;
  }

  get files(): number {
    return this.#files;
  }

  get bytes(): number {
    return this.#bytes;
  }

  /**
   * Moves a file here, durably; one that is not there was moved before. On a full disk it may stay where it is:
   * the next start finds that nobody knows it.
   */
  async take(path: string, what: string): Promise<void> {
    const { disk, logger } = this.#options;
    if (!(await disk.exists(path))) return;
    try {
      await this.#move(path, what);
    } catch (error) {
      if (!isNoSpace(error)) throw error;
      logger.warn({ file: path }, 'no room to move a segment file into quarantine');
    }
  }

  async #move(path: string, what: string): Promise<void> {
    const { disk, logger } = this.#options;
    await disk.makeFolder(QUARANTINE_FOLDER);
    await disk.syncFolder('');
    const kept = await this.#freeName(what);
    await disk.rename(path, kept);
    // The new name first: between the two syncs a crash may leave both.
    await disk.syncFolder(QUARANTINE_FOLDER);
    await disk.syncFolder(folderOf(path));
    await this.#count(kept);
    logger.warn({ file: path, kept }, 'a segment file is kept in quarantine');
  }

  /** A rename would replace what has that name. */
  async #freeName(what: string): Promise<string> {
    const { disk, clock } = this.#options;
    const when = new Date(Math.max(0, clock.wallMs())).toISOString();
    const stem = `${QUARANTINE_FOLDER}/${when.slice(0, 19).replaceAll(/[-:]/g, '')}Z-`;
    for (let copy = 1; ; copy++) {
      const name = copy === 1 ? `${stem}${what}` : `${stem}${copy}-${what}`;
      if (!(await disk.exists(name))) return name;
    }
  }

  async #count(path: string): Promise<void> {
    const file = await this.#options.disk.open(path, 'read');
    try {
      this.#bytes += await file.size();
      this.#files++;
    } finally {
      await file.close();
    }
  }
}
