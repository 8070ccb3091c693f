// oxlint-disable-next-line import/no-unassigned-import -- the X.509 library wants it to be there before
import 'reflect-metadata';

import {
  createPrivateKey,
  randomBytes,
  webcrypto,
  X509Certificate as NodeCertificate,
} from 'node:crypto';
import { isIP } from 'node:net';

import { OperatingError } from '@robustmq/core';
import { identityUri } from '@robustmq/rpc';
import * as x509 from '@peculiar/x509';

import type { CertificateOrder } from './certificate-order.ts';

/** PEM texts of a certificate and its key. */
export interface KeyedCertificate {
  readonly certificate: string;
  readonly privateKey: string;
}

/** From when until when, in ms since 1970. */
export interface Validity {
  readonly fromMs: number;
  readonly untilMs: number;
}

const algorithm = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' };
const { serverAuth, clientAuth } = x509.ExtendedKeyUsage;

/** A cluster's own authority: whoever has a certificate of it belongs to the cluster. */
export class Authority {
  readonly cluster: string;
  /** PEM; to be given to every node. */
  readonly certificate: string;
  readonly untilMs: number;
  readonly #certificate: x509.X509Certificate;
  readonly #key: webcrypto.CryptoKey;

  private constructor(certificate: x509.X509Certificate, key: webcrypto.CryptoKey) {
    this.#certificate = certificate;
    this.#key = key;
    this.cluster = certificate.subjectName.getField('O')[0] ?? '';
    this.certificate = `${certificate.toString('pem')}\n`;
    this.untilMs = certificate.notAfter.getTime();
  }

  static async create(cluster: string, validity: Validity): Promise<KeyedCertificate> {
    const keys = await generateKeys();
    const certificate = await x509.X509CertificateGenerator.createSelfSigned({
      serialNumber: serialNumber(),
      name: `CN=RobustMQ cluster authority, O=${cluster}`,
      ...dates(validity),
      signingAlgorithm: algorithm,
      keys,
      extensions: [
        new x509.BasicConstraintsExtension(true, 0, true),
        new x509.KeyUsagesExtension(
          x509.KeyUsageFlags.keyCertSign | x509.KeyUsageFlags.cRLSign,
          true,
        ),
        await x509.SubjectKeyIdentifierExtension.create(keys.publicKey),
      ],
    });
    return keyed(certificate, keys.privateKey);
  }

  /** Throws INVALID_ARGUMENT when they are no certificate and key of an authority, or do not match. */
  static async load({ certificate, privateKey }: KeyedCertificate): Promise<Authority> {
    let key;
    try {
      key = createPrivateKey(privateKey);
      if (!new NodeCertificate(certificate).checkPrivateKey(key)) {
        throw new Error('key and certificate do not belong together');
      }
      const der = key.export({ format: 'der', type: 'pkcs8' });
      const signer = await webcrypto.subtle.importKey('pkcs8', der, algorithm, false, ['sign']);
      return new Authority(new x509.X509Certificate(certificate), signer);
    } catch (thrown) {
      const reason = thrown instanceof Error ? thrown.message : String(thrown);
      throw new OperatingError('INVALID_ARGUMENT', `the authority cannot be used: ${reason}`);
    }
  }

  /** A certificate with a new key. Operators call and are never called. */
  async issue(order: CertificateOrder, validity: Validity): Promise<KeyedCertificate> {
    const keys = await generateKeys();
    const identity = { cluster: this.cluster, ...order };
    const names: x509.JsonGeneralNames = [
      ...order.hosts.map((value) => ({ type: isIP(value) > 0 ? 'ip' : 'dns', value }) as const),
      ...order.roles.map((role) => ({ type: 'url', value: identityUri(identity, role) }) as const),
    ];
    const calledToo = order.roles.some((role) => role !== 'operator');
    const certificate = await x509.X509CertificateGenerator.create({
      serialNumber: serialNumber(),
      subject: `CN=${order.name}, O=${this.cluster}`,
      issuer: this.#certificate.subject,
      ...dates({ ...validity, untilMs: Math.min(validity.untilMs, this.untilMs) }),
      signingAlgorithm: algorithm,
      publicKey: keys.publicKey,
      signingKey: this.#key,
      extensions: [
        new x509.BasicConstraintsExtension(false, undefined, true),
        new x509.KeyUsagesExtension(x509.KeyUsageFlags.digitalSignature, true),
        new x509.ExtendedKeyUsageExtension(calledToo ? [serverAuth, clientAuth] : [clientAuth]),
        new x509.SubjectAlternativeNameExtension(names),
        await x509.SubjectKeyIdentifierExtension.create(keys.publicKey),
        await x509.AuthorityKeyIdentifierExtension.create(this.#certificate),
      ],
    });
    return keyed(certificate, keys.privateKey);
  }
}

function generateKeys(): Promise<webcrypto.CryptoKeyPair> {
  return webcrypto.subtle.generateKey(algorithm, true, ['sign', 'verify']);
}

/** Positive, and beyond guessing. */
function serialNumber(): string {
  return `01${randomBytes(15).toString('hex')}`;
}

function dates({ fromMs, untilMs }: Validity): { notBefore: Date; notAfter: Date } {
  return { notBefore: new Date(fromMs), notAfter: new Date(untilMs) };
}

async function keyed(
  certificate: x509.X509Certificate,
  key: webcrypto.CryptoKey,
): Promise<KeyedCertificate> {
  const pkcs8 = await webcrypto.subtle.exportKey('pkcs8', key);
  return {
    certificate: `${certificate.toString('pem')}\n`,
    privateKey: `${x509.PemConverter.encode(pkcs8, x509.PemConverter.PrivateKeyTag)}\n`,
  };
}
