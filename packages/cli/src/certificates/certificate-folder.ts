import { X509Certificate } from 'node:crypto';
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';

import { OperatingError } from '@robustmq/core';
import { identityOf } from '@robustmq/rpc';

import { type CertificateOrder, parseCertificateOrder } from './certificate-order.ts';
import type { KeyedCertificate } from './authority.ts';

/** What `--cluster-tls-dir` looks for in a folder. */
export const tlsFiles = { ca: 'ca.crt', cert: 'tls.crt', key: 'tls.key' } as const;

/**
 * `ca.crt` and `ca.key` of the authority, and for each holder a folder of its own with what it needs: the
 * authority's certificate, its certificate and its key.
 */
export class CertificateFolder {
  readonly path: string;

  constructor(path: string) {
    this.path = path;
  }

  /** Undefined when there is none. Throws INVALID_ARGUMENT when there is only half of it. */
  authority(): KeyedCertificate | undefined {
    const [certificate, privateKey] = [join(this.path, 'ca.crt'), join(this.path, 'ca.key')];
    if (!existsSync(certificate) && !existsSync(privateKey)) return undefined;
    try {
      return {
        certificate: readFileSync(certificate, 'utf8'),
        privateKey: readFileSync(privateKey, 'utf8'),
      };
    } catch (thrown) {
      throw new OperatingError(
        'INVALID_ARGUMENT',
        `the authority in ${this.path} needs ca.crt and ca.key: ${String(thrown)}`,
      );
    }
  }

  /** Throws when there is one already, so that two commands at once make one. */
  storeAuthority({ certificate, privateKey }: KeyedCertificate): void {
    mkdirSync(this.path, { recursive: true, mode: 0o700 });
    writeFileSync(join(this.path, 'ca.key'), privateKey, { mode: 0o600, flag: 'wx' });
    writeFileSync(join(this.path, 'ca.crt'), certificate, { flag: 'wx' });
  }

  holder(name: string): string {
    return join(this.path, name);
  }

  has(name: string): boolean {
    return existsSync(join(this.holder(name), tlsFiles.cert));
  }

  /** Names of all that have a certificate here, in order. */
  holders(): string[] {
    if (!existsSync(this.path)) return [];
    return readdirSync(this.path)
      .filter((name) => this.has(name))
      .toSorted();
  }

  /** What the holder's certificate was made for. */
  orderOf(name: string): CertificateOrder {
    const path = join(this.holder(name), tlsFiles.cert);
    const { subjectAltName = '' } = new X509Certificate(readFileSync(path));
    const { roles } = identityOf(subjectAltName);
    const hosts = subjectAltName
      .split(', ')
      .flatMap((entry) => /^(?:DNS|IP Address):(.+)$/.exec(entry)?.[1] ?? []);
    return parseCertificateOrder(`${roles.join('+')}/${name}=${hosts.join(',')}`);
  }

  /** Each file appears whole; whoever reads between the two finds a key that does not match, and waits. */
  store(name: string, issued: KeyedCertificate, authority: string): void {
    const folder = this.holder(name);
    mkdirSync(folder, { recursive: true, mode: 0o700 });
    replace(join(folder, tlsFiles.ca), authority, 0o644);
    replace(join(folder, tlsFiles.key), issued.privateKey, 0o600);
    replace(join(folder, tlsFiles.cert), issued.certificate, 0o644);
  }
}

function replace(path: string, content: string, mode: number): void {
  const next = `${path}.${process.pid}.new`;
  writeFileSync(next, content, { mode });
  renameSync(next, path);
}
