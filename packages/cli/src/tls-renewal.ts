import { statSync } from 'node:fs';

import { type Clock, type Logger, toOperatingError } from '@robustmq/core';
import { checkTlsFiles, ClusterTls, type TierRole } from '@robustmq/rpc';
import type { Registry } from 'prom-client';

import type { Options } from './options.ts';
import { readTlsFiles, type TlsPaths, tlsPaths } from './tls-options.ts';
import { registerTlsMetrics } from './tls-metrics.ts';

/** Polled: a watch on files misses what is mounted or linked anew. */
const lookEachMs = 5_000;
const dayMs = 86_400_000;
const warnBeforeMs = 30 * dayMs;

export interface TlsRenewalOptions {
  readonly clock: Clock;
  readonly logger: Logger;
  readonly registry: Registry;
}

/** TLS of a role that runs for long: takes up files that have changed, and warns before they expire. */
export class TlsRenewal implements Disposable {
  readonly tls: ClusterTls;
  readonly #paths: TlsPaths;
  readonly #options: TlsRenewalOptions;
  /** Of the files as they were when they were last read. */
  #seen: string;
  #failures = 0;
  #warnedMs: number | undefined;
  #cancel: () => void = () => {};

  private constructor(paths: TlsPaths, roles: readonly TierRole[], options: TlsRenewalOptions) {
    this.#paths = paths;
    this.#options = options;
    this.#seen = fingerprint(paths);
    const first = checkTlsFiles(readTlsFiles(paths), options.clock.wallMs());
    this.tls = new ClusterTls(first, roles);
    registerTlsMetrics(options.registry, this.tls, () => this.#failures);
    process.on('SIGHUP', this.#reload);
    this.#look();
  }

  /** Undefined when no files are given. Throws when they cannot be used, or lack one of the roles. */
  static open(
    given: Options,
    roles: readonly TierRole[],
    options: TlsRenewalOptions,
  ): TlsRenewal | undefined {
    const paths = tlsPaths(given);
    return paths && new TlsRenewal(paths, roles, options);
  }

  readonly #look = (): void => {
    // Noted before they are read: what is written meanwhile is seen the next time.
    if (fingerprint(this.#paths) !== this.#seen) this.#reload();
    this.#warnOfExpiry();
    this.#cancel = this.#options.clock.setTimer(lookEachMs, this.#look);
  };

  readonly #reload = (): void => {
    const { logger, clock } = this.#options;
    this.#seen = fingerprint(this.#paths);
    try {
      this.tls.replace(checkTlsFiles(readTlsFiles(this.#paths), clock.wallMs()));
      this.#warnedMs = undefined;
      const { certificateUntilMs } = this.tls.current;
      const fields = { certificate: this.#paths.cert, validUntil: dayOf(certificateUntilMs) };
      logger.info(fields, 'certificate renewed: new connections use it');
    } catch (thrown) {
      this.#failures++;
      const { message } = toOperatingError(thrown);
      logger.error(
        { error: message },
        'the new TLS files cannot be used; the old ones stay in use',
      );
    }
  };

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
      const fields = { file, validUntil: dayOf(untilMs) };
      if (untilMs > nowMs) logger.warn(fields, 'a certificate expires soon: renew it');
      else
        logger.error(fields, 'a certificate has expired: no new connection can be made; renew it');
    }
  }

  [Symbol.dispose](): void {
    this.#cancel();
    process.off('SIGHUP', this.#reload);
  }
}

/** Changes when a file is written, replaced or linked anew; also while one is missing. */
function fingerprint(paths: TlsPaths): string {
  const files = Object.values(paths).map((path: string) => {
    const stat = statSync(path, { throwIfNoEntry: false });
    return stat === undefined ? 'none' : `${stat.ino}/${stat.size}/${stat.mtimeMs}`;
  });
  return files.join(' ');
}

function dayOf(ms: number): string {
  return new Date(ms).toISOString();
}
