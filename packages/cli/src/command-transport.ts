import { grpcTransport, type Transport } from '@robustmq/rpc';

import type { Options } from './options.ts';
import { commandTls } from './tls-options.ts';

/** How commands reach the cluster: with TLS when its files are given. */
export function commandTransport(options: Options): Transport {
  return grpcTransport({ tls: commandTls(options, ['operator']) });
}
