import { OperatingError } from '@robustmq/core';
import { describeIdentity, type PeerIdentity, type TierRole } from './peer-identity.ts';
import type { CheckedTls } from './tls-files.ts';

/** What a process shows its peers now. Connections that are open keep what they began with. */
export class ClusterTls {
  #current: CheckedTls;
  readonly #neededRoles: readonly TierRole[];
  readonly #onReplaced = new Set<(current: CheckedTls) => void>();
  /** Callers that were refused: at the handshake, and for want of a role. */
  readonly refused = { connections: 0, calls: 0 };

  /** Throws NOT_AUTHORIZED when the certificate lacks a role that this process needs. */
  constructor(first: CheckedTls, neededRoles: readonly TierRole[]) {
    this.#neededRoles = neededRoles;
    this.#checkRoles(first.identity);
    this.#current = first;
  }

  get current(): CheckedTls {
    return this.#current;
  }

  get identity(): PeerIdentity {
    return this.#current.identity;
  }

  /** From now on new connections use `next`. Throws, and changes nothing, when it is of another cluster. */
  replace(next: CheckedTls): void {
    this.#checkRoles(next.identity);
    if (next.identity.cluster !== this.identity.cluster) {
      throw new OperatingError(
        'NOT_AUTHORIZED',
        `the new certificate is ${describeIdentity(next.identity)}, this is ${describeIdentity(this.identity)}`,
      );
    }
    this.#current = next;
    for (const tell of this.#onReplaced) tell(next);
  }

  onReplaced(tell: (current: CheckedTls) => void): void {
    this.#onReplaced.add(tell);
  }

  #checkRoles(identity: PeerIdentity): void {
    const missing = this.#neededRoles.find((role) => !identity.roles.includes(role));
    if (missing === undefined) return;
    throw new OperatingError(
      'NOT_AUTHORIZED',
      `the certificate is ${describeIdentity(identity)}, and this process needs the role ${missing}; ` +
        `make one with "robustmq cluster certs ${missing}/NAME=HOST"`,
    );
  }
}
