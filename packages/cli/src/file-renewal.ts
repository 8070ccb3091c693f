import { stat } from 'node:fs/promises';

import { type Clock, type Logger, toOperatingError } from '@robustmq/core';

/** Polled: a watch on files misses what is mounted or linked anew. */
const lookEachMs = 5_000;
const dayMs = 86_400_000;
const warnBeforeMs = 30 * dayMs;

/** Those that look again at SIGHUP, behind one handler however many they are. */
const lookers = new Set<() => void>();

function lookAtHangup(): void {
  for (const look of lookers) look();
}

/** Certificate files that are in use. */
export interface RenewedFiles {
  readonly paths: readonly string[];
  /** Reads them and takes them up; false when they say what they said. Throws when they cannot be used. */
  reload(): Promise<boolean>;
  /** When what is in use expires. The first is named when it is renewed. */
  expiries(): readonly { readonly file: string; readonly untilMs: number }[];
}

/**
 * Takes up certificate files that have changed, at once at SIGHUP, and warns before they expire. Files that
 * cannot be used leave those in use that there were.
 */
export class FileRenewal implements Disposable {
  readonly #files: RenewedFiles;
  readonly #options: { readonly clock: Clock; readonly logger: Logger };
  /** Of the files as they were when they were last read; the first look reads them again. */
  #seen = '';
  #failures = 0;
  #warnedMs: number | undefined;
  #hangup = false;
  #looking = false;
  #disposed = false;
  #cancel: () => void = () => {};

  constructor(files: RenewedFiles, options: { clock: Clock; logger: Logger }) {
    this.#files = files;
    this.#options = options;
    if (lookers.size === 0) process.on('SIGHUP', lookAtHangup);
    lookers.add(this.#onHangup);
    void this.#look();
  }

  /** Changed files that could not be used. */
  get failures(): number {
    return this.#failures;
  }

  readonly #onHangup = (): void => {
    this.#hangup = true;
    void this.#look();
  };

  async #look(): Promise<void> {
    if (this.#looking) return;
    this.#looking = true;
    this.#cancel();
    do {
      const wanted = this.#hangup;
      this.#hangup = false;
      // Before they are read: what is written meanwhile is seen the next time.
      const found = await fingerprint(this.#files.paths);
      const changed = found !== this.#seen;
      this.#seen = found;
      if (changed || wanted) await this.#reload();
    } while (this.#hangup);
    this.#warnOfExpiry();
    this.#looking = false;
    if (this.#disposed) return;
    this.#cancel = this.#options.clock.setTimer(lookEachMs, () => void this.#look());
  }

  async #reload(): Promise<void> {
    const { logger } = this.#options;
    try {
      if (!(await this.#files.reload())) return;
      this.#warnedMs = undefined;
      const [first] = this.#files.expiries();
      const fields = first && { file: first.file, validUntil: timeOf(first.untilMs) };
      logger.info(fields ?? {}, 'TLS files renewed: new connections use them');
    } catch (thrown) {
      this.#failures++;
      const { message } = toOperatingError(thrown);
      logger.error(
        { error: message },
        'the new TLS files cannot be used; the old ones stay in use',
      );
    }
  }

  #warnOfExpiry(): void {
    const { clock, logger } = this.#options;
    const nowMs = clock.wallMs();
    if (this.#warnedMs !== undefined && Math.abs(nowMs - this.#warnedMs) < dayMs) return;
    for (const { file, untilMs } of this.#files.expiries()) {
      if (untilMs - nowMs >= warnBeforeMs) continue;
      this.#warnedMs = nowMs;
      const fields = { file, validUntil: timeOf(untilMs) };
      if (untilMs > nowMs) logger.warn(fields, 'a certificate expires soon: renew it');
      else
        logger.error(fields, 'a certificate has expired: no new connection can be made; renew it');
    }
  }

  [Symbol.dispose](): void {
    this.#disposed = true;
    this.#cancel();
    lookers.delete(this.#onHangup);
    if (lookers.size === 0) process.off('SIGHUP', lookAtHangup);
  }
}

/** Changes when a file is written, replaced or linked anew, and when one is missing. */
async function fingerprint(paths: readonly string[]): Promise<string> {
  const files = paths.map(async (path) => {
    try {
      const { ino, size, mtimeMs } = await stat(path);
      return `${ino}/${size}/${mtimeMs}`;
    } catch {
      return 'none'; // Reading it will say why.
    }
  });
  return (await Promise.all(files)).join(' ');
}

function timeOf(ms: number): string {
  return new Date(ms).toISOString();
}
