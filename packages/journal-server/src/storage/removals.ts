import type { Logger, SegmentId } from '@robustmq/core';
import type { Disk } from './disk.ts';
import { segmentFolder, segmentPath, unknownSegmentFiles } from './segment-file.ts';

export interface RemovalsOptions {
  readonly disk: Disk;
  readonly logger: Logger;
  readonly onFatal: (error: Error) => void;
}

/** Removes segment files in the background, on explicit order only. */
export class Removals {
  readonly #options: RemovalsOptions;
  /** Those that have not ended. */
  readonly #running = new Set<Promise<void>>();

  constructor(options: RemovalsOptions) {
    this.#options = options;
  }

  /** Removes the segment's file after `before`. */
  remove(id: SegmentId, before?: () => Promise<void>): void {
    this.#run(async () => {
      const { disk } = this.#options;
      await before?.();
      if (!(await disk.exists(segmentPath(id)))) return;
      await disk.unlink(segmentPath(id));
      await disk.syncFolder(segmentFolder(id));
    });
  }

  /** Resolves when every file whose removal was ordered is gone, durably. */
  async settle(): Promise<void> {
    while (this.#running.size > 0) await Promise.all(this.#running);
  }

  /** Files of segments that nobody knows are never removed: their manifests may have been lost. */
  reportUnknown(isKnown: (id: SegmentId) => boolean): void {
    const { disk, logger, onFatal } = this.#options;
    const report = async (): Promise<void> => {
      await this.settle();
      const unknown = await unknownSegmentFiles(disk, isKnown);
      if (unknown.length === 0) return;
      logger.warn(
        { count: unknown.length, files: unknown.slice(0, 10) },
        'segment files without a manifest: they are left alone, and count as unknown',
      );
    };
    report().catch(onFatal);
  }

  #run(work: () => Promise<void>): void {
    const done: Promise<void> = work()
      .catch(this.#options.onFatal)
      .finally(() => this.#running.delete(done));
    this.#running.add(done);
  }
}
