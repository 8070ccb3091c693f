import { createPrivateKey, X509Certificate } from 'node:crypto';
import { createSecureContext, type SecureContextOptions } from 'node:tls';
import { OperatingError } from '@robustmq/core';
import { identityOf, type PeerIdentity } from './peer-identity.ts';

/** A PEM file, with the name that messages call it by. */
export interface PemFile {
  readonly name: string;
  readonly content: string;
}

/** What a process shows its peers, and what it believes them by. */
export interface TlsFiles {
  /** One or more authorities. */
  readonly authorities: PemFile;
  /** The certificate, then those between it and its authority, if there are any. */
  readonly certificate: PemFile;
  readonly privateKey: PemFile;
}

/** Files that belong together and can be used now. */
export interface CheckedTls {
  readonly certificate: X509Certificate;
  readonly identity: PeerIdentity;
  /** Ends of validity, in ms since 1970; of the authorities the first. */
  readonly certificateUntilMs: number;
  readonly authorityUntilMs: number;
  readonly contextOptions: SecureContextOptions;
}

/** All peers are of this code: nothing older is needed. */
const minVersion = 'TLSv1.3';
const pemPattern = /-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g;

/**
 * Checks that the files can be read, belong together, are valid at `nowMs` and give a role. Throws
 * INVALID_ARGUMENT or NOT_AUTHORIZED, with the file that is wrong.
 */
export function checkTlsFiles(files: TlsFiles, nowMs: number): CheckedTls {
  const { authorities, certificate, privateKey } = files;
  const trusted = certificatesIn(authorities);
  const [own, ...between] = certificatesIn(certificate);
  const noAuthority = trusted.find((each) => !each.ca);
  if (noAuthority !== undefined) {
    throw invalid(
      authorities,
      `has a certificate that is none of an authority: ${nameOf(noAuthority)}`,
    );
  }
  for (const each of [own, ...between]) checkDates(certificate, each, nowMs);
  checkKey(privateKey, certificate, own);
  if (!isIssuedBy(own, trusted, between)) {
    throw invalid(certificate, `was not issued by an authority in ${authorities.name}`);
  }
  const contextOptions = {
    ca: authorities.content,
    cert: certificate.content,
    key: privateKey.content,
    minVersion,
  } as const;
  tryContext(certificate, contextOptions);
  return {
    certificate: own,
    identity: identityIn(certificate, own),
    certificateUntilMs: Date.parse(own.validTo),
    authorityUntilMs: Math.min(...trusted.map((each) => Date.parse(each.validTo))),
    contextOptions,
  };
}

function certificatesIn(file: PemFile): [X509Certificate, ...X509Certificate[]] {
  try {
    const [first, ...others] = (file.content.match(pemPattern) ?? []).map(
      (pem) => new X509Certificate(pem),
    );
    if (first !== undefined) return [first, ...others];
  } catch (thrown) {
    throw invalid(file, `has a certificate that cannot be read: ${messageOf(thrown)}`);
  }
  throw invalid(file, 'has no certificate in PEM');
}

function checkDates(file: PemFile, certificate: X509Certificate, nowMs: number): void {
  const { validFrom, validTo } = certificate;
  if (Date.parse(validTo) <= nowMs) {
    throw invalid(file, `expired on ${validTo}; renew it with "robustmq cluster certs --renew"`);
  }
  if (Date.parse(validFrom) > nowMs) {
    throw invalid(file, `is valid from ${validFrom} only; is the clock right?`);
  }
}

function checkKey(file: PemFile, certificateFile: PemFile, own: X509Certificate): void {
  let belongs: boolean;
  try {
    belongs = own.checkPrivateKey(createPrivateKey(file.content));
  } catch (thrown) {
    throw invalid(file, `has no private key that can be read: ${messageOf(thrown)}`);
  }
  if (!belongs) throw invalid(file, `does not belong to ${certificateFile.name}`);
}

/** Walks up; each step uses one certificate up, so that a circle ends. */
function isIssuedBy(
  certificate: X509Certificate,
  trusted: readonly X509Certificate[],
  between: readonly X509Certificate[],
): boolean {
  const issued = (by: X509Certificate): boolean =>
    certificate.checkIssued(by) && certificate.verify(by.publicKey);
  if (trusted.some(issued)) return true;
  const next = between.find(issued);
  return (
    next !== undefined &&
    isIssuedBy(
      next,
      trusted,
      between.filter((each) => each !== next),
    )
  );
}

function identityIn(file: PemFile, own: X509Certificate): PeerIdentity {
  try {
    return identityOf(own.subjectAltName);
  } catch (thrown) {
    throw invalid(file, messageOf(thrown));
  }
}

function tryContext(file: PemFile, options: SecureContextOptions): void {
  try {
    createSecureContext(options);
  } catch (thrown) {
    throw invalid(file, `cannot be used: ${messageOf(thrown)}`);
  }
}

function nameOf(certificate: X509Certificate): string {
  return certificate.subject.replaceAll('\n', ', ');
}

function messageOf(thrown: unknown): string {
  return thrown instanceof Error ? thrown.message : String(thrown);
}

function invalid(file: PemFile, reason: string): OperatingError {
  return new OperatingError('INVALID_ARGUMENT', `${file.name} ${reason}`);
}
