import type { Authenticator } from '../authenticator.ts';
import { identityOf, type Login, type PeerCertificate } from '../principal.ts';
import type { UserStore } from '../store/stores.ts';
import { allow, ignore, type Verdict } from '../verdict.ts';
import { alternativeNames } from './alternative-names.ts';

/** What of a certificate is the user's name. */
export type CertificateName = 'common-name' | 'dns' | 'email' | 'uri';

const kinds = { dns: 'DNS', email: 'email', uri: 'URI' } as const;

/** Clients that the listener has verified the certificate of: it says who they are. */
export class CertificateAuthenticator implements Authenticator {
  readonly name = 'certificate';
  readonly #part: CertificateName;
  readonly #users: UserStore;

  /** A user of the store with that name gives groups; there need not be one. */
  constructor(part: CertificateName, users: UserStore) {
    this.#part = part;
    this.#users = users;
  }

  async check({ peer }: Login): Promise<Verdict> {
    const name = peer.certificate && nameIn(peer.certificate, this.#part);
    if (name === undefined || name === '') return ignore;
    const user = await this.#users.find(name);
    const { groups = [], superuser = false } = user ?? {};
    return allow(identityOf(name, { groups, superuser }));
  }
}

/** The first name of that kind. */
function nameIn(certificate: PeerCertificate, part: CertificateName): string | undefined {
  if (part === 'common-name') return certificate.commonName;
  const kind = kinds[part];
  return alternativeNames(certificate.subjectAltName ?? '').find((one) => one.kind === kind)?.name;
}
