import { grpcTransport, type TierRole, type Transport } from '@robustmq/rpc';

import type { Options } from './options.ts';
import { commandTls } from './tls-options.ts';

/** How commands reach the cluster: with TLS when its files are given. */
export function commandTransport(options: Options, role: TierRole = 'operator'): Transport {
  return grpcTransport({ tls: commandTls(options, [role]) });
}
