import { type AlternativeName, alternativeNames, type PeerCertificate } from '@robustmq/auth';

/** Which name of a client's certificate is its user name. */
export type CertificateIdentity = 'cn' | 'san' | 'none';

/**
 * The user name that a certificate gives: the common name, or the first alternative name that is a DNS name,
 * an e-mail address or a URI. Undefined when it has none.
 */
export function identityOf(
  certificate: PeerCertificate | undefined,
  identity: CertificateIdentity,
): string | undefined {
  if (certificate === undefined || identity === 'none') return undefined;
  if (identity === 'cn') return certificate.commonName;
  return firstAlternativeName(certificate.subjectAltName ?? '');
}

const userNameKinds = ['DNS', 'email', 'URI'];

function firstAlternativeName(text: string): string | undefined {
  const isUserName = ({ kind, name }: AlternativeName): boolean =>
    userNameKinds.includes(kind) && name !== '';
  return alternativeNames(text).find(isUserName)?.name;
}
