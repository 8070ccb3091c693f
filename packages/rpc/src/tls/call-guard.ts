import type { TLSSocket } from 'node:tls';
import { type Logger, OperatingError } from '@robustmq/core';
import type { AccessRules } from './access-rules.ts';
import type { ClusterTls } from './cluster-tls.ts';
import { describeIdentity, identityOf, type PeerIdentity } from './peer-identity.ts';

/** What grpc-js tells of a call's connection. */
interface GuardedCall {
  getPeer(): string;
  getAuthContext(): { readonly sslPeerCertificate?: { readonly subjectaltname?: string } };
}

export interface CallGuardOptions {
  readonly tls: ClusterTls;
  readonly rules: AccessRules;
  readonly logger: Logger;
}

/** Refusals that are remembered so that the log tells each once; then it tells them again. */
const toldMax = 1_000;

/** Admits callers to the methods that their certificates entitle them to. */
export class CallGuard {
  readonly #options: CallGuardOptions;
  readonly #told = new Set<string>();

  constructor(options: CallGuardOptions) {
    this.#options = options;
  }

  /** Who calls. Throws NOT_AUTHORIZED when it may not call `path`. Once per call or stream. */
  admit(path: string, call: GuardedCall): PeerIdentity {
    try {
      return this.#identify(path, call);
    } catch (thrown) {
      this.#options.tls.refused.calls++;
      if (thrown instanceof OperatingError) {
        const host = hostOfPeer(call.getPeer());
        this.#tellOnce(`${host} ${thrown.message}`, { peer: host }, thrown.message);
      }
      throw thrown;
    }
  }

  /** A connection that has failed its handshake: the peer learns little, so the log has to tell. */
  handshakeFailed(error: NodeJS.ErrnoException, socket: TLSSocket): void {
    // Its types say Error; it is a code.
    const unverified: unknown = socket.authorizationError;
    const reason = typeof unverified === 'string' ? unverified : error.code;
    // A port that is looked at and left, by a health check, say.
    if (reason === undefined || reason === 'ECONNRESET') return;
    this.#options.tls.refused.connections++;
    const peer = hostOfPeer(`${socket.remoteAddress ?? 'unknown'}:0`);
    const fields = { peer, reason };
    const message =
      'a connection was refused: its certificate is missing, expired or of another authority, or it is not TLS';
    this.#tellOnce(`${peer} ${reason}`, fields, message);
  }

  #identify(path: string, call: GuardedCall): PeerIdentity {
    const { tls, rules } = this.#options;
    const identity = identityOf(call.getAuthContext().sslPeerCertificate?.subjectaltname);
    const { cluster } = tls.identity;
    if (identity.cluster !== cluster) {
      throw refused(path, identity, `this is cluster ${cluster}`);
    }
    const callers = rules.get(path)?.callers ?? [];
    if (callers.some((role) => identity.roles.includes(role))) return identity;
    const needed =
      callers.length === 0 ? 'nobody may' : `it needs the role ${callers.join(' or ')}`;
    throw refused(path, identity, needed);
  }

  #tellOnce(key: string, fields: object, message: string): void {
    if (this.#told.has(key)) return;
    if (this.#told.size >= toldMax) this.#told.clear();
    this.#told.add(key);
    this.#options.logger.warn(fields, message);
  }
}

function refused(path: string, identity: PeerIdentity, reason: string): OperatingError {
  const who = describeIdentity(identity);
  return new OperatingError('NOT_AUTHORIZED', `${who} may not call ${path}: ${reason}`);
}

/** Ports change with each connection. */
function hostOfPeer(peer: string): string {
  return peer.slice(0, peer.lastIndexOf(':')).replace(/^::ffff:/, '');
}
