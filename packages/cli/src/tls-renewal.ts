import { stat } from 'node:fs/promises';

import { type Clock, type Logger, toOperatingError } from '@robustmq/core';
import { type CheckedTls, checkTlsFiles, ClusterTls, type TierRole } from '@robustmq/rpc';
import type { Registry } from 'prom-client';

import { checkOwnHost } from './own-host.ts';
import type { Options } from './options.ts';
import { registerTlsMetrics } from './tls-metrics.ts';
import { loadTlsFiles, readTlsFiles, type TlsPaths, tlsPaths } from './tls-options.ts';

/** Polled: a watch on files misses what is mounted or linked anew. */
const lookEachMs = 5_000;
const dayMs = 86_400_000;
const warnBeforeMs = 30 * dayMs;

export interface TlsRenewalOptions {
  readonly clock: Clock;
  readonly logger: Logger;
  readonly registry: Registry;
}

/**
 * TLS of a role that runs for long: takes up files that have changed, at once at SIGHUP, and warns before
 * they expire. Files that cannot be used leave those in use that there were.
 */
export class TlsRenewal implements Disposable {
  readonly tls: ClusterTls;
  readonly #paths: TlsPaths;
  readonly #given: Options;
  readonly #options: TlsRenewalOptions;
  /** Of the files as they were when they were last read; the first look reads them again. */
  #seen = '';
  #failures = 0;
  #warnedMs: number | undefined;
  #hangup = false;
  #looking = false;
  #disposed = false;
  #cancel: () => void = () => {};

  private constructor(
    paths: TlsPaths,
    given: Options,
    roles: readonly TierRole[],
    options: TlsRenewalOptions,
  ) {
    this.#paths = paths;
    this.#given = given;
    this.#options = options;
    const first = checkTlsFiles(readTlsFiles(paths), options.clock.wallMs());
    checkOwnHost(first, given);
    this.tls = new ClusterTls(first, roles);
    registerTlsMetrics(options.registry, this.tls, () => this.#failures);
    process.on('SIGHUP', this.#onHangup);
    void this.#look();
  }

  /** Undefined when no files are given. Throws when they cannot be used, or do not fit the options. */
  static open(
    given: Options,
    roles: readonly TierRole[],
    options: TlsRenewalOptions,
  ): TlsRenewal | undefined {
    const paths = tlsPaths(given);
    return paths && new TlsRenewal(paths, given, roles, options);
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
      const found = await fingerprint(this.#paths);
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
    const { logger, clock } = this.#options;
    try {
      const next = checkTlsFiles(await loadTlsFiles(this.#paths), clock.wallMs());
      if (isSame(next, this.tls.current)) return;
      checkOwnHost(next, this.#given);
      this.tls.replace(next);
      this.#warnedMs = undefined;
      const fields = { file: this.#paths.cert, validUntil: timeOf(next.certificateUntilMs) };
      logger.info(fields, 'TLS files renewed: new connections use them');
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
    const { certificateUntilMs, authorityUntilMs } = this.tls.current;
    const ends = [
      { file: this.#paths.cert, untilMs: certificateUntilMs },
      { file: this.#paths.ca, untilMs: authorityUntilMs },
    ];
    for (const { file, untilMs } of ends) {
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
    process.off('SIGHUP', this.#onHangup);
  }
}

/** Changes when a file is written, replaced or linked anew, and when one is missing. */
async function fingerprint(paths: TlsPaths): Promise<string> {
  const files = Object.values(paths).map(async (path: string) => {
    try {
      const { ino, size, mtimeMs } = await stat(path);
      return `${ino}/${size}/${mtimeMs}`;
    } catch {
      return 'none'; // Reading it will say why.
    }
  });
  return (await Promise.all(files)).join(' ');
}

function isSame({ contextOptions: a }: CheckedTls, { contextOptions: b }: CheckedTls): boolean {
  return a.ca === b.ca && a.cert === b.cert && a.key === b.key;
}

function timeOf(ms: number): string {
  return new Date(ms).toISOString();
}
