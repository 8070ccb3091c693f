import { isIP, type Socket } from 'node:net';
import { checkServerIdentity, connect, createSecureContext, type PeerCertificate } from 'node:tls';
import type { experimental } from '@grpc/grpc-js';
import { OperatingError } from '@robustmq/core';
import { ClosableCredentials } from '../grpc/closable-credentials.ts';
import type { AccessRules } from './access-rules.ts';
import type { ClusterTls } from './cluster-tls.ts';
import { describeIdentity, identityOf, type PeerIdentity, type TierRole } from './peer-identity.ts';

export interface ChannelCredentialsOptions {
  readonly tls: ClusterTls;
  readonly rules: AccessRules;
  /** Host under which the server is reached: its certificate has to name it. */
  readonly host: string;
}

/**
 * One client's: each new connection shows what `tls` has then, and the server has to be of this cluster and
 * have the role that serves what is called.
 */
export class ClusterChannelCredentials extends ClosableCredentials {
  readonly #options: ChannelCredentialsOptions;
  readonly #serverRoles = new Set<TierRole>();
  #server: PeerIdentity | undefined;

  constructor(options: ChannelCredentialsOptions) {
    super();
    this.#options = options;
  }

  /** Before each call. Throws NOT_AUTHORIZED when the server that is connected does not serve `path`. */
  expect(path: string): void {
    const role = this.#options.rules.get(path)?.servedBy;
    if (role === undefined || this.#serverRoles.has(role)) return;
    this.#serverRoles.add(role);
    if (this.#server !== undefined) this.#checkServer(this.#server);
  }

  override _isSecure(): boolean {
    return true;
  }

  protected override secure(socket: Socket): Promise<experimental.SecureConnectResult> {
    const { tls, host } = this.#options;
    const { promise, resolve, reject } = Promise.withResolvers<experimental.SecureConnectResult>();
    const secured = connect({
      socket,
      host,
      // An address is no server name (RFC 6066, section 3).
      ...(isIP(host) === 0 && { servername: host }),
      ALPNProtocols: ['h2'],
      secureContext: createSecureContext(tls.current.contextOptions),
      checkServerIdentity: (name, certificate) => this.#checkCertificate(name, certificate),
    });
    const closed = (): void => reject(new Error('the connection was closed in the TLS handshake'));
    // They stay: an error may come before HTTP/2 listens.
    secured.on('error', reject);
    secured.once('close', closed);
    secured.once('secureConnect', () => resolve({ socket: secured, secure: true }));
    return promise;
  }

  /** Why the server is not the one that was meant; undefined when it is. */
  #checkCertificate(name: string, certificate: PeerCertificate): Error | undefined {
    const otherHost = checkServerIdentity(name, certificate);
    if (otherHost !== undefined) return otherHost;
    try {
      const server = identityOf(certificate.subjectaltname);
      this.#checkServer(server);
      this.#server = server;
      return undefined;
    } catch (thrown) {
      return thrown instanceof Error ? thrown : new Error(String(thrown));
    }
  }

  #checkServer(server: PeerIdentity): void {
    const { tls, host } = this.#options;
    const isOurs = server.cluster === tls.identity.cluster;
    const missing = [...this.#serverRoles].find((role) => !server.roles.includes(role));
    if (isOurs && missing === undefined) return;
    const wanted = `a ${missing ?? 'server'} of cluster ${tls.identity.cluster}`;
    const message = `${host} is ${describeIdentity(server)}, not ${wanted}`;
    throw new OperatingError('NOT_AUTHORIZED', message);
  }
}
