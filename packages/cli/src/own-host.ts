import { isIP } from 'node:net';

import { hostOf, OperatingError } from '@robustmq/core';
import type { CheckedTls } from '@robustmq/rpc';

import { isEveryAddress } from './exposure.ts';
import type { Options } from './options.ts';
import { required } from './required.ts';

/**
 * Throws INVALID_ARGUMENT when the others would not believe this process: the certificate has to name the
 * host under which it is reached. One that listens on every address tells none.
 */
export function checkOwnHost({ certificate }: CheckedTls, options: Options): void {
  const host = options['advertise-host'] ?? hostOf(required(options, 'listen'));
  if (isEveryAddress(host)) return;
  const named = isIP(host) > 0 ? certificate.checkIP(host) : certificate.checkHost(host);
  if (named !== undefined) return;
  throw new OperatingError(
    'INVALID_ARGUMENT',
    `the certificate does not name ${host}, under which the others reach this process (--advertise-host, ` +
      `else --listen); it is for ${certificate.subjectAltName}`,
  );
}
