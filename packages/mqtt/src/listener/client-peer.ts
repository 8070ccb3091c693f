/** Names in a certificate that the client has proved to hold. */
export interface ClientCertificate {
  /** Undefined when it has none, or more than one. */
  readonly commonName: string | undefined;
  /** As Node writes it, for example `DNS:device-7, URI:urn:device:7`. */
  readonly subjectAltName: string | undefined;
}

/** Whom a connection is with. */
export interface ClientPeer {
  /** IP address of the client itself, also behind a proxy that tells it. */
  readonly address: string;
  readonly port: number;
  readonly certificate?: ClientCertificate | undefined;
  /** Name of the listener that it came through. */
  readonly listener: string;
}

/** Which name of a client's certificate is its user name. */
export type CertificateIdentity = 'cn' | 'san' | 'none';

/**
 * The user name that a certificate gives: the common name, or the first alternative name that is a DNS name,
 * an e-mail address or a URI. Undefined when it has none.
 */
export function identityOf(
  certificate: ClientCertificate | undefined,
  identity: CertificateIdentity,
): string | undefined {
  if (certificate === undefined || identity === 'none') return undefined;
  if (identity === 'cn') return certificate.commonName;
  return firstAlternativeName(certificate.subjectAltName ?? '');
}

/** One name and what follows it. Names with commas or quotes in them are written as JSON strings. */
const alternativeName = /(\w[\w ]*):("(?:[^"\\]|\\.)*"|[^,"]*)(?:, |$)/y;
const userNameKinds = ['DNS', 'email', 'URI'];

function firstAlternativeName(text: string): string | undefined {
  alternativeName.lastIndex = 0;
  // What stands within quotes could look like a name of its own, so they are read one after the other.
  for (;;) {
    const [found, kind = '', name = ''] = alternativeName.exec(text) ?? [];
    if (found === undefined) return undefined;
    if (!userNameKinds.includes(kind) || name === '') continue;
    return name.startsWith('"') ? (JSON.parse(name) as string) : name;
  }
}
