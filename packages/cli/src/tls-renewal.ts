import type { Clock, Logger } from '@robustmq/core';
import { type CheckedTls, checkTlsFiles, ClusterTls, type TierRole } from '@robustmq/rpc';
import type { Registry } from 'prom-client';

import { FileRenewal } from './file-renewal.ts';
import { checkOwnHost } from './own-host.ts';
import type { Options } from './options.ts';
import { registerTlsMetrics } from './tls-metrics.ts';
import { loadTlsFiles, readTlsFiles, type TlsPaths, tlsPaths } from './tls-options.ts';

export interface TlsRenewalOptions {
  readonly clock: Clock;
  readonly logger: Logger;
  readonly registry: Registry;
}

/** TLS between the tiers of a role that runs for long: its files are renewed while they are in use. */
export class TlsRenewal implements Disposable {
  readonly tls: ClusterTls;
  readonly #renewal: FileRenewal;

  private constructor(
    paths: TlsPaths,
    given: Options,
    roles: readonly TierRole[],
    options: TlsRenewalOptions,
  ) {
    const { clock } = options;
    const first = checkTlsFiles(readTlsFiles(paths), clock.wallMs());
    checkOwnHost(first, given);
    const tls = new ClusterTls(first, roles);
    this.tls = tls;
    this.#renewal = new FileRenewal(
      {
        paths: Object.values(paths) as string[],
        async reload() {
          const next = checkTlsFiles(await loadTlsFiles(paths), clock.wallMs());
          if (isSame(next, tls.current)) return false;
          checkOwnHost(next, given);
          tls.replace(next);
          return true;
        },
        expiries: () => [
          { file: paths.cert, untilMs: tls.current.certificateUntilMs },
          { file: paths.ca, untilMs: tls.current.authorityUntilMs },
        ],
      },
      options,
    );
    registerTlsMetrics(options.registry, tls, () => this.#renewal.failures);
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

  [Symbol.dispose](): void {
    this.#renewal[Symbol.dispose]();
  }
}

function isSame({ contextOptions: a }: CheckedTls, { contextOptions: b }: CheckedTls): boolean {
  return a.ca === b.ca && a.cert === b.cert && a.key === b.key;
}
