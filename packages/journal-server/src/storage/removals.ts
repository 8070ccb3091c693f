import type { Logger, SegmentId } from '@robustmq/core';
import type { Disk } from './disk.ts';
import type { Quarantine } from './quarantine.ts';
import { segmentFolder, segmentPath, unknownSegmentFiles } from './segment-file.ts';

export interface RemovalsOptions {
  readonly disk: Disk;
  readonly logger: Logger;
  readonly quarantine: Quarantine;
  readonly onFatal: (error: Error) => void;
}

/** Takes segment files away in the background: removes them on explicit order only, else keeps them aside. */
export class Removals {
  readonly #options: RemovalsOptions;
  /** Those that have not ended. */
  readonly #running = new Set<Promise<void>>();
  readonly #pending = new Set<SegmentId>();
  /** Looks for files that nobody knows. */
  #looking: Promise<void> = Promise.resolve();
  #isStopped = false;

  constructor(options: RemovalsOptions) {
    this.#options = options;
  }

  /** Removes a file after `before`. */
  remove(fileId: SegmentId, before?: () => Promise<void>): void {
    this.#run(fileId, async () => {
      const { disk } = this.#options;
      await before?.();
      if (!(await disk.exists(segmentPath(fileId)))) return;
      await disk.unlink(segmentPath(fileId));
      await disk.syncFolder(segmentFolder(fileId));
    });
  }

  /** Keeps the file of a damaged replica aside, which a copy has replaced. */
  keepAside(fileId: SegmentId, segmentId: SegmentId, before?: () => Promise<void>): void {
    this.#run(fileId, async () => {
      await before?.();
      const path = segmentPath(fileId);
      await this.#options.quarantine.take(path, `damaged-${segmentId}.log`);
    });
  }

  /** Resolves when every file that had to go is gone from its place, durably. */
  async settle(): Promise<void> {
    while (this.#running.size > 0) await Promise.all(this.#running);
  }

  /** Files of segments that nobody knows are never removed: their manifests may have been lost. */
  keepUnknownAside(isKnown: (fileId: SegmentId) => boolean): void {
    const { disk, logger, onFatal, quarantine } = this.#options;
    const isInUse = (fileId: SegmentId): boolean => isKnown(fileId) || this.#pending.has(fileId);
    const work = async (): Promise<void> => {
      await this.settle();
      const unknown = await unknownSegmentFiles(disk, isInUse);
      for (const { path, fileId } of unknown) {
        if (this.#isStopped) return;
        if (fileId !== undefined && isInUse(fileId)) continue;
        const name = path.slice(path.lastIndexOf('/') + 1);
        await quarantine.take(path, `unknown-${name}`);
      }
      if (unknown.length === 0) return;
      const files = unknown.slice(0, 10).map(({ path }) => path);
      logger.warn(
        { count: unknown.length, files },
        'segment files without a manifest: they are kept in quarantine, and count as unknown',
      );
    };
    this.#looking = work().catch(onFatal);
  }

  /** Resolves when nothing is moved any more. */
  async stop(): Promise<void> {
    this.#isStopped = true;
    await this.#looking;
    await this.settle();
  }

  #run(fileId: SegmentId, work: () => Promise<void>): void {
    this.#pending.add(fileId);
    const done: Promise<void> = work()
      .catch(this.#options.onFatal)
      .finally(() => {
        this.#running.delete(done);
        this.#pending.delete(fileId);
      });
    this.#running.add(done);
  }
}
