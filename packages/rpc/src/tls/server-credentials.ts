import { ServerCredentials } from '@grpc/grpc-js';
import type { ClusterTls } from './cluster-tls.ts';

/** A peer that never finishes holds a connection for so long. */
const handshakeTimeout = 10_000;

/**
 * Servers show what `tls` has now and ask their callers for a certificate. Not the file watcher of grpc-js:
 * when it cannot read a file it takes no connection at all, and it looks neither at dates nor at the key.
 */
export class ClusterServerCredentials extends ServerCredentials {
  constructor(tls: ClusterTls) {
    super(
      { requestCert: true, rejectUnauthorized: true, handshakeTimeout },
      tls.current.contextOptions,
    );
    tls.onReplaced((next) => this.updateSecureContextOptions(next.contextOptions));
  }

  // oxlint-disable-next-line no-underscore-dangle -- the name that grpc-js calls
  _equals(other: ServerCredentials): boolean {
    return other === this;
  }
}
