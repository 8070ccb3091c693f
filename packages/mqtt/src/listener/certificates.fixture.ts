// oxlint-disable-next-line import/no-unassigned-import -- the X.509 library wants it to be there before
import 'reflect-metadata';

import { randomBytes, webcrypto, X509Certificate } from 'node:crypto';

import * as x509 from '@peculiar/x509';

import type { ListenerTls, ServerCertificate, ServerCertificates } from './listener-options.ts';

const algorithm = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' };
const hourMs = 3_600_000;

/** PEM texts. */
export interface IssuedCertificate {
  readonly cert: string;
  readonly key: string;
}

/** An authority for the servers and clients of a test, in memory. */
export class TestAuthority {
  /** PEM. */
  readonly ca: string;
  readonly #certificate: x509.X509Certificate;
  readonly #key: webcrypto.CryptoKey;

  private constructor(certificate: x509.X509Certificate, key: webcrypto.CryptoKey) {
    this.ca = `${certificate.toString('pem')}\n`;
    this.#certificate = certificate;
    this.#key = key;
  }

  static async create(name = 'test authority'): Promise<TestAuthority> {
    const keys = await generateKeys();
    const certificate = await x509.X509CertificateGenerator.createSelfSigned({
      name: `CN=${name}`,
      ...common(),
      keys,
      extensions: [
        new x509.BasicConstraintsExtension(true, 0, true),
        await x509.SubjectKeyIdentifierExtension.create(keys.publicKey),
      ],
    });
    return new TestAuthority(certificate, keys.privateKey);
  }

  /** `subject` as in `CN=device-7`; `names` are of `dns`, `ip` or `url`. */
  async issue(subject: string, names: x509.JsonGeneralNames = []): Promise<IssuedCertificate> {
    const keys = await generateKeys();
    const certificate = await x509.X509CertificateGenerator.create({
      subject,
      issuer: this.#certificate.subject,
      ...common(),
      publicKey: keys.publicKey,
      signingKey: this.#key,
      extensions: names.length === 0 ? [] : [new x509.SubjectAlternativeNameExtension(names)],
    });
    const pkcs8 = await webcrypto.subtle.exportKey('pkcs8', keys.privateKey);
    return {
      cert: `${certificate.toString('pem')}\n`,
      key: x509.PemConverter.encode(pkcs8, x509.PemConverter.PrivateKeyTag),
    };
  }

  /** What a listener on 127.0.0.1 shows, by host name: the first for all. */
  async server(...hosts: readonly string[]): Promise<ServerCertificates> {
    const one = async (host: string): Promise<ServerCertificate> => {
      const { cert, key } = await this.issue(`CN=${host}`, [
        { type: 'dns', value: host },
        { type: 'ip', value: '127.0.0.1' },
      ]);
      const contextOptions = { cert, key, ca: this.ca };
      return { certificate: new X509Certificate(cert), contextOptions };
    };
    const [first = 'localhost', ...others] = hosts;
    return [await one(first), ...(await Promise.all(others.map(one)))];
  }
}

/** TLS of a listener in the test's hands. */
export class ReplaceableTls implements ListenerTls {
  current: ServerCertificates;
  readonly clientCertificate: ListenerTls['clientCertificate'];
  #tell: ((next: ServerCertificates) => void) | undefined;

  constructor(
    current: ServerCertificates,
    clientCertificate: ListenerTls['clientCertificate'] = 'none',
  ) {
    this.current = current;
    this.clientCertificate = clientCertificate;
  }

  onReplaced(tell: (next: ServerCertificates) => void): void {
    this.#tell = tell;
  }

  replace(next: ServerCertificates): void {
    this.current = next;
    this.#tell?.(next);
  }
}

function generateKeys(): Promise<webcrypto.CryptoKeyPair> {
  return webcrypto.subtle.generateKey(algorithm, true, ['sign', 'verify']);
}

function common(): {
  serialNumber: string;
  notBefore: Date;
  notAfter: Date;
  signingAlgorithm: typeof algorithm;
} {
  const nowMs = Date.now();
  return {
    serialNumber: `01${randomBytes(15).toString('hex')}`,
    notBefore: new Date(nowMs - hourMs),
    notAfter: new Date(nowMs + hourMs),
    signingAlgorithm: algorithm,
  };
}
